"""The pictures that lie in a run's folder: figures that say what they show, and what its method painted while it learnt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..figures.figure import Figure, read
from ..gallery import FOLDER
from . import commands
from .album import Album
from .markup import Markup, joined, tag
from .runs import Run
from .table import command_line, swatch

MOST_SHEETS = 8
"""Of one run's gallery: the first, the last, and those that lie most evenly between."""

_SKIPPED = frozenset(["checkpoints", "tensorboard", "features", FOLDER])


def found(run: Run) -> list[tuple[Path, Figure]]:
    """Every PNG of a run's folder that says of itself what it shows, by path."""
    pictures = [path for path in sorted(run.folder.rglob("*.png")) if not _SKIPPED & set(path.relative_to(run.folder).parts[:-1])]
    return [(path, figure) for path in pictures if (figure := read(path)) is not None]


def figures(runs: Sequence[Run], album: Album) -> Markup | None:
    """Of several runs those of one title beside each other, in the order of the first run that has them; None where there are
    none."""
    by: dict[str, list[tuple[Run, Path, Figure]]] = {}
    for run in runs:
        for path, figure in found(run):
            by.setdefault(figure.title, []).append((run, path, figure))
    several = len(runs) > 1
    rows = list(by.values()) if several else [[each for these in by.values() for each in these]] if by else []
    made = [tag("div", [_figure(*each, album, several) for each in these], class_="figures") for these in rows]
    return joined(made) if made else None


def _figure(run: Run, path: Path, figure: Figure, album: Album, several: bool) -> Markup:
    address, name = album.file(path), commands.relative(path, run.folder)
    of = tag("span", swatch(run.place), run.name, class_="of") if several else None
    text = [tag("h3", figure.title, of), tag("p", figure.caption, class_="note") if figure.caption else None]
    line = command_line(name, figure.line) if figure.command else tag("p", tag("code", name), class_="note")
    return tag("figure", shown(address, figure.title, figure.caption, figure.size_px, path), tag("figcaption", text, line),
               class_="picture", data_run=run.place if several else None)


def shown(address: str | None, title: str, caption: str, size_px: tuple[int, int], path: Path) -> Markup:
    """A picture that can be enlarged; or, where the album did not take it, where it is."""
    if address is None:
        return tag("p", f"{path} is not shown, this page would become too large", class_="empty")
    image = tag("img", src=address, alt=caption or title, width=size_px[0], height=size_px[1])
    return tag("button", image, type="button", class_="enlarge", aria_label=f"Enlarge: {title}")


def painted(runs: Sequence[Run], album: Album) -> Markup | None:
    """What methods painted, a slider through the steps; None where none did."""
    made = [gallery for run in runs if (gallery := _gallery(run, album, len(runs) > 1)) is not None]
    return joined(*made) if made else None


def sheets(run: Run) -> list[tuple[int, Path]]:
    """(step, sheet) of those of a run's gallery that are shown, by step."""
    all_of_them = []
    for path in sorted((run.folder / FOLDER).glob("step-*.png")):
        step = path.stem.removeprefix("step-")
        if step.isdecimal():
            all_of_them.append((int(step), path))
    all_of_them.sort()
    if len(all_of_them) <= MOST_SHEETS:
        return all_of_them
    last = len(all_of_them) - 1
    return [all_of_them[round(number * last / (MOST_SHEETS - 1))] for number in range(MOST_SHEETS)]


def _gallery(run: Run, album: Album, several: bool) -> Markup | None:
    # The last first, should they not all fit.
    kept = [(step, path, address) for step, path in reversed(sheets(run)) if (address := album.file(path)) is not None][::-1]
    if not kept:
        return None
    of = tag("span", swatch(run.place), run.name, class_="of") if several else None
    last = len(kept) - 1
    pictures = []
    for number, (step, _, address) in enumerate(kept):
        picture = tag("img", src=address, alt=f"what {run.method} made of the run's first images, step {step}")
        look = "sheet now" if number == last else "sheet"
        pictures.append(tag("figure", picture, tag("figcaption", f"step {step:,}"), class_=look, data_step=step))
    newest = f"{kept[-1][0]:,}"
    through = tag("input", type="range", min=0, max=last, value=last, step=1, aria_valuetext=f"step {newest}")
    slider = tag("label", "Step", through, tag("output", newest), class_="slider") if last else None
    line = command_line("Of the newest checkpoint", commands.again(run, f"pictures={run.folder}/pictures.png"))
    return tag("div", of, slider, tag("div", pictures, class_="sheets"), line, class_="gallery",
               data_run=run.place if several else None)
