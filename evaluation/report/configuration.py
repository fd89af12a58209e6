"""The configuration of runs, key by key: what was changed from the published numbers, and in what runs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...models import METHODS
from ...models.training.config import RunConfig, describe, shown
from . import commands
from .commands import Read
from .markup import Markup, joined, tag
from .recipes import together
from .runs import Run, flat
from .table import Cell, Column, command_line, swatch, table

OWN = frozenset(["method", "data", "out"])
"""Of every run its own: nothing of it is published, and folders that differ are no difference."""

_NOT_SHOWN = frozenset(["op", "name", "p", "scope", "share"])
"""Of an op: what stands in its title, and how its draws are shared."""

_OF_A_START = ("config", "ranks", "device", "threads", "commit", "versions", "host")
_ABSENT = object()


def section(runs: Sequence[Run], read: Read) -> Markup:
    """A table of all keys, of which a switch shows those that differ alone; and each run's command."""
    made, changed, all_keys = _compared(runs) if len(runs) > 1 else _changed(runs[0], read)
    what = "that differ between runs" if len(runs) > 1 else "that are not the published ones"
    box = tag("input", type="checkbox", checked=True, data_only="marked")
    switch = tag("label", box, tag("span", f"Only the {changed} of {all_keys} keys {what}"), class_="switch")
    search = tag("input", type="search", placeholder="Find a key", aria_label="Find a key", class_="find")
    trained = [(f"{run.name}: trained by" if len(runs) > 1 else "Trained by", commands.training(run, read)) for run in runs]
    lines = [command_line(title, command.line, command.refused) for title, command in trained]
    tools = tag("div", switch if 0 < changed < all_keys else None, search, class_="tools")
    filtered = tag("div", made, class_="filtered compared" if len(runs) > 1 else "filtered")
    return joined(tools, filtered, tag("div", lines, id="trained-by"))


def differences(runs: Sequence[Run]) -> list[str]:
    """The keys in which runs differ, in their order; a key that a run does not have differs from one that another has."""
    flats = together([run.flat() for run in runs])
    return [key for key in _keys(flats) if key not in ("out",) and any(each.get(key, _ABSENT) != flats[0].get(key, _ABSENT)
                                                                       for each in flats)]


def _compared(runs: Sequence[Run]) -> tuple[Markup, int, int]:
    flats, other = together([run.flat() for run in runs]), set(differences(runs))
    keys, columns = _keys(flats), [Column("Key"), *(Column(run.name, run=run.place) for run in runs)]
    rows = []
    for key in keys:
        values = [each.get(key, _ABSENT) for each in flats]
        usual = _commonest(values)
        cells = [Cell(said(value), _number(value), code=True, marked=key in other and value != usual) for value in values]
        rows.append([Cell(_named(key), code=True), *cells])
    looks = ["marked" if key in other else "" for key in keys]
    return table(columns, rows, "Configuration of each run", looks, "key-by-key"), len(other), len(keys)


def _changed(run: Run, read: Read) -> tuple[Markup, int, int]:
    default_of, about = commands.published(run, read), meanings(run.method)
    now, before = together([run.flat(), default_of or {}])
    keys, marked = list(now), set()
    columns = [Column("Key"), Column("This run"), Column("Published"), Column("Meaning", wide=True)]
    rows = []
    for key in keys:
        default = before.get(key, _ABSENT) if key not in OWN else _ABSENT
        if default_of is not None and key not in OWN and default != now[key]:
            marked.add(key)
        rows.append([Cell(_named(key), code=True), Cell(said(now[key]), _number(now[key]), code=True, marked=key in marked),
                     Cell(said(default), _number(default), code=True), Cell(about.get(key, ""))])
    looks = ["marked" if key in marked else "" for key in keys]
    return table(columns, rows, "Configuration", looks, "key-by-key"), len(marked), len(keys)


def recipes(runs: Sequence[Run]) -> Markup | None:
    """The views of each recipe in words; one for runs that share it."""
    by: dict[str, list[Run]] = {}
    for run in runs:
        by.setdefault(str({key: value for key, value in run.flat().items() if key.startswith("recipe.")}), []).append(run)
    made = [_recipe(these, len(by) > 1) for these in by.values() if these[0].about.get("recipe", {}).get("views")]
    return tag("div", made, class_="recipes") if made else None


def _recipe(runs: Sequence[Run], several: bool) -> Markup:
    recipe = runs[0].about["recipe"]
    of = [tag("span", swatch(run.place), run.name, class_="of") for run in runs] if several else []
    views = []
    for view in recipe["views"]:
        size = view.get("size_px")
        side = f"{'×'.join(map(str, size)) if isinstance(size, list) else size} px"
        ops = [_op(op) for op in view.get("ops") or ()]
        views.append(tag("div", tag("h4", f"{view.get('count')} × {side} {view.get('group', '')}"), tag("ul", ops, class_="ops")))
    return tag("div", tag("h3", "Recipe ", tag("code", recipe.get("name") or "unnamed"), of), views, class_="recipe")


def _op(op: Mapping[str, Any]) -> Markup:
    chance = op.get("p")
    fields = [(name, value) for name, value in op.items() if name not in _NOT_SHOWN and value is not None]
    text = ", ".join(f"{name} {said(value)}" for name, value in fields)
    chance_said = tag("span", f"p {chance:g}", class_="chance") if isinstance(chance, int | float) and chance < 1 else None
    name = tag("span", str(op.get("name") or op["op"]), class_="op")
    return tag("li", tag("details", tag("summary", name, chance_said), tag("p", text)) if text else [name, chance_said])


def changes(run: Run) -> list[tuple[dict[str, Any], list[str]]]:
    """(start, keys that changed since the start before, each "key before → now") of every start of a run."""
    found: list[tuple[dict[str, Any], list[str]]] = []
    before: dict[str, Any] | None = None
    for start in run.starts:
        now = flat({name: start[name] for name in _OF_A_START if name in start})
        other = []
        for key in _keys([before, now]) if before is not None else []:
            old, new = (each.get(key, _ABSENT) for each in (before or {}, now))
            other += [f"{key.removeprefix('config.')} {said(old)} → {said(new)}"] if old != new else []
        found.append((start, other))
        before = now
    return found


def meanings(method: str) -> dict[str, str]:
    """What each key of a run means, as `viewmill train METHOD --help` says it."""
    common = {key: meaning for key, _, meaning in describe(RunConfig)}
    own = {f"model.{key}": meaning for key, _, meaning in describe(METHODS[method].config())} if method in METHODS else {}
    return common | own


def _keys(flats: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of all, in the order of the first that has them, those of one part together, and the recipe's last."""
    keys = list(dict.fromkeys(key for each in flats for key in each))
    parts = list(dict.fromkeys(key.partition(".")[0] for key in keys))
    return sorted(keys, key=lambda key: (key.startswith("recipe"), parts.index(key.partition(".")[0])))


def _commonest(values: Sequence[Any]) -> Any:
    """The value that most have, of several the first; where no two agree, none of them."""
    counts = [sum(value == other for other in values) for value in values]
    return values[counts.index(max(counts))] if max(counts) > 1 else object()


def said(value: Any) -> str:
    """A value as it is typed after key=; a dash where there is none."""
    return "—" if value is _ABSENT else f"{value:.6g}" if isinstance(value, float) else shown(value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _named(key: str) -> Markup:
    """With places where a long key may be broken."""
    return joined(*((part, Markup("<wbr>")) for part in key.replace(".", ".\0").split("\0")))
