"""What evaluations found, as a table and as dots with their intervals, each with the command that finds it again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..command import FIGURES
from . import commands
from .markup import Markup, joined, tag
from .numbers import duration, percent, round_percent, ticks, wilson
from .runs import Run
from .table import Cell, Column, command_line, table

NAMES = {"knn": "kNN", "finetune": "fine-tuning", "svm": "SVM", "fewshot": "few-shot", "semi": "few labels"}
TITLES = {**FIGURES, "by_k": "top-1, k", "by_labels": "top-1, labels", "sets": "", "miou": "mIoU"}
MOST_LABELS = 24
"""Of a table of figures, such as one of each class: a longer one stays in its file."""

_NO_FIGURE = frozenset(["seconds", "epochs", "config", "chosen", "shares"])
_FIRST = ("top1", "mean", "miou")
_COUNTED = re.compile(r"top\d+|by_k|by_labels")
"""Of figures: those that are a share of the test pictures answered rightly, and so have an interval."""
_IN_PERCENT = re.compile(r"top\d|by_|map_|sets |mean$|mean_|miou|iou |pixel_|accuracy|purity|box |mask |voc ")


@dataclass(frozen=True)
class Finding:
    """One number of one evaluation. first: whether it is the one that counts there. in_percent: how it is told. low, high: its
    95 % interval, where it is a share of answers or the result has one."""

    run: Run
    file: str
    name: str
    figure: str
    value: float
    first: bool
    in_percent: bool = False
    low: float | None = None
    high: float | None = None

    @property
    def what(self) -> str:
        return f"{self.name} {self.figure}"

    @property
    def result(self) -> dict[str, Any]:
        return self.run.results[self.file]


def findings(runs: Sequence[Run]) -> list[Finding]:
    """All numbers of all results, in the order of files; of each the one that counts comes first."""
    return [each for run in runs for file in run.results for each in _of(run, file)]


def _of(run: Run, file: str) -> Iterator[Finding]:
    result = run.results[file]
    name = NAMES.get(result["eval"], result["eval"]) if file == f"{result['eval']}.json" else file.removesuffix(".json")
    answers, kept, numbers = result.get("test_pictures"), result.get("interval"), _numbers(result)
    first = next((each for each in (result.get("metric"), *_FIRST, *numbers) if each in numbers), None)
    for figure, value in sorted(numbers.items(), key=lambda each: each[0] != first):
        low, high = kept if figure == first and isinstance(kept, list) and len(kept) == 2 else (None, None)
        if kept is None and _COUNTED.match(figure) and isinstance(answers, int) and answers > 0 and 0 <= value <= 1:
            low, high = wilson(value, answers)
        yield Finding(run, file, name, _title(figure), value, figure == first, bool(_IN_PERCENT.match(figure)), low, high)


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """Every float that is no setting, those in tables as "table label"."""
    found = {}
    for name, value in result.items():
        if name in _NO_FIGURE:
            continue
        if isinstance(value, float):
            found[name] = value
        elif isinstance(value, dict) and len(value) <= MOST_LABELS:
            entries = {label: each.get("value") if isinstance(each, dict) else each for label, each in value.items()}
            if all(each is None or isinstance(each, float) for each in entries.values()):
                # A negative one stands for none, as where no thing is of a size.
                found |= {f"{name} {label}": each for label, each in entries.items() if each is not None and each >= 0}
    return found


def _title(figure: str) -> str:
    head, _, label = figure.partition(" ")
    return f"{TITLES.get(head, head.replace('_', ' '))} {label}".strip()


def section(runs: Sequence[Run]) -> Markup | None:
    """The dots, the table, and the commands; None without results."""
    found = findings(runs)
    if not found:
        return None
    return joined(dots([each for each in found if each.first], runs), _table(found, runs), _commands(runs))


def _table(found: Sequence[Finding], runs: Sequence[Run]) -> Markup:
    if len(runs) == 1:
        columns = [Column("Evaluation"), Column("Figure"), Column("Value", number=True),
                   Column("95 % interval", number=True, wide=True), Column("Test pictures", number=True, wide=True),
                   Column("Learnt from", number=True, wide=True), Column("Took", number=True, wide=True)]
        rows = [[Cell(each.name), Cell(each.figure, strong=each.first), Cell(said(each), each.value, strong=each.first),
                 Cell(_interval(each), each.low), _count(each.result, "test_pictures"), _count(each.result, "pictures"),
                 Cell(duration(each.result["seconds"]), each.result["seconds"]) if "seconds" in each.result else Cell("")]
                for each in found]
        return table(columns, rows, "What evaluations found")
    whats = list(dict.fromkeys((each.name, each.figure) for each in found))
    by = {(each.name, each.figure, each.run.place): each for each in found}
    columns = [Column("Evaluation"), Column("Figure"), *(Column(run.name, number=True, run=run.place) for run in runs)]
    rows = []
    for name, figure in whats:
        values = [by.get((name, figure, run.place)) for run in runs]
        strong = any(each is not None and each.first for each in values)
        cells = [Cell("") if each is None else Cell(said(each), each.value, _half(each), strong) for each in values]
        rows.append([Cell(name), Cell(figure, strong=strong), *cells])
    return table(columns, rows, "What evaluations found of each run")


def said(finding: Finding) -> str:
    """In per cent what is told so, else as it was kept."""
    return percent(finding.value, 2) if finding.in_percent else f"{finding.value:.4f}"


def _interval(finding: Finding) -> str:
    return "" if finding.low is None or finding.high is None else f"{100 * finding.low:.2f} to {100 * finding.high:.2f}"


def _half(finding: Finding) -> str:
    return "" if finding.low is None or finding.high is None else f"± {100 * (finding.high - finding.low) / 2:.2f}"


def _count(result: Mapping[str, Any], name: str) -> Cell:
    value = result.get(name)
    return Cell(f"{value:,}", value) if isinstance(value, int) else Cell("")


def _commands(runs: Sequence[Run]) -> Markup:
    lines = []
    for run in runs:
        for file, result in run.results.items():
            of = f"{run.name}: " if len(runs) > 1 else ""
            chosen = result.get("chosen")
            note = f"; chosen: {', '.join(f'{key} {value}' for key, value in chosen.items())}" if isinstance(chosen, dict) else ""
            long = [f"{key} has {len(value):,} entries" for key, value in result.items()
                    if isinstance(value, dict) and len(value) > MOST_LABELS and key != "config"]
            note += f"; {', '.join(long)}, in the file" if long else ""
            step = re.search(r"step (\d+)$", str(result.get("name", "")))
            older = f"; of step {int(step[1]):,}, the run is at {run.step:,}" if step and int(step[1]) != run.step else ""
            again = commands.evaluating(result)
            lines.append(command_line(f"{of}eval/{file}{note}{older}", again.line, again.refused))
    return tag("details", tag("summary", "Commands that make these numbers again"), lines, class_="commands")


def dots(found: Sequence[Finding], runs: Sequence[Run]) -> Markup | None:
    """What counts in each evaluation, on one line of shares: a dot for each run, with its interval."""
    shares = [each for each in found if each.low is not None and each.high is not None]
    if not shares:
        return None
    low, high = min(each.low or 0.0 for each in shares), max(each.high or 0.0 for each in shares)
    marks = ticks(low, high, 5)
    span = marks[-1] - marks[0]

    def at(value: float) -> str:
        return f"{100 * (value - marks[0]) / span:.2f}%"

    rows = []
    for name in dict.fromkeys(each.what for each in shares):
        here = [each for each in shares if each.what == name]
        marked = []
        for lane, each in enumerate(here):
            left, right, of = each.low or 0.0, each.high or 0.0, each.run.place
            whisker = tag("i", class_="whisker", style=f"left:{at(left)};width:{100 * (right - left) / span:.2f}%")
            dot = tag("i", class_="dot", style=f"left:{at(each.value)}")
            marked.append(tag("div", whisker, dot, class_=f"c{of}", data_run=of, style=f"--lane:{lane}"))
        label = tag("span", name, tag("b", said(here[0])) if len(runs) == 1 else None, class_="what")
        rows.append(tag("div", label, tag("div", marked, class_="track", style=f"--lanes:{len(here)}"), class_="row"))
    axis = [tag("span", round_percent(mark), style=f"left:{at(mark)}") for mark in marks]
    grid = tag("div", [tag("i", style=f"left:{at(mark)}") for mark in marks], class_="grid-lines")
    return tag("div", grid, rows, tag("div", axis, class_="axis"), class_="dots-plot", aria_hidden="true")
