"""Tables that a script can sort, and commands that can be copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .markup import Inside, Markup, tag


@dataclass(frozen=True)
class Column:
    """number: its cells stand to the right. wide: left out on a narrow screen. run: of that run, in its colour."""

    title: str
    number: bool = False
    wide: bool = False
    run: int | None = None


@dataclass(frozen=True)
class Cell:
    """value: what it is sorted by, in place of its text. small: said beside it. code: in the type of a keyboard. marked: set off
    from its neighbours."""

    text: Inside
    value: float | None = None
    small: str = ""
    strong: bool = False
    code: bool = False
    marked: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], title: str, row_classes: Sequence[str] = (),
          name: str | None = None) -> Markup:
    """title: what it holds, for those who cannot see it. row_classes: one for each row. Headers are buttons, which sort; the
    first cell of a row is its header."""
    head = tag("tr", [_head(column) for column in columns])
    body = [tag("tr", [_cell(cell, column, place == 0) for place, (cell, column) in enumerate(zip(row, columns, strict=True))],
                class_=row_classes[number] if row_classes else None) for number, row in enumerate(rows)]
    made = tag("table", tag("caption", title), tag("thead", head), tag("tbody", body), class_="sortable", id=name)
    return tag("div", made, class_="scroll", tabindex="0", role="region", aria_label=title)


def _head(column: Column) -> Markup:
    button = tag("button", None if column.run is None else swatch(column.run), column.title, type="button")
    return tag("th", button, scope="col", class_=_look(column) or None, aria_sort="none")


def _cell(cell: Cell, column: Column, first: bool) -> Markup:
    inside = tag("code", cell.text) if cell.code else tag("strong", cell.text) if cell.strong else cell.text
    small = tag("small", cell.small) if cell.small else None
    look = f"{_look(column)}{' marked' if cell.marked else ''}".strip()
    if first:
        return tag("th", inside, small, scope="row", class_=look or None, data_value=cell.value)
    return tag("td", inside, small, class_=look or None, data_value=cell.value)


def _look(column: Column) -> str:
    return f"{'number' if column.number else ''}{' wide-only' if column.wide else ''}".strip()


def command_line(title: str, command: str, refused: Sequence[str] = ()) -> Markup:
    """What it makes, and the command, with a button that copies it. refused: keys that it leaves out."""
    if refused:
        title += f" (nearly: this version takes no such {', '.join(refused)})"
    copy = tag("button", "Copy", type="button", class_="copy", aria_label=f"Copy the command of {title}")
    return tag("div", tag("span", title, class_="makes"), tag("div", tag("code", command), copy, class_="command"),
               class_="command-line")


def swatch(place: int) -> Markup:
    """The colour of a run."""
    return tag("i", class_=f"key c{place}")
