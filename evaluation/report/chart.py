"""One chart: lines in an SVG that stretches, ticks and words in HTML over it, so that text keeps its size at any width."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .markup import Markup, joined, tag
from .numbers import round_percent, short, smoothed, ticks

MOST_POINTS = 300
"""Of a line as it is drawn; more are put together in as many buckets, drawn as their mean over a band from least to largest."""
NOISY = 40
"""From so many points on a smoothed line is drawn over the points."""
SIDE = 1000

Point = tuple[int, float, float]
"""(step, epoch, value)"""


@dataclass(frozen=True)
class Series:
    """label: what a pointer is told. colour: number of the run. key: what the legend says of the line, if anything. dashed: the
    second of two kinds. smooth: a value of every line of the log, which may be noise; else one measured now and then, drawn as
    dots."""

    label: str
    points: Sequence[Point]
    colour: int = 0
    key: str = ""
    dashed: bool = False
    smooth: bool = False


@dataclass(frozen=True)
class Level:
    """A line across: what it is, and where."""

    label: str
    value: float
    colour: int | None = None


@dataclass(frozen=True)
class Chart:
    """title; note: what it says, in a sentence; shares: values are shares of one, shown in per cent; floor: the least that the
    axis begins at. names: which metrics of the log it shows."""

    title: str
    series: Sequence[Series]
    note: str = ""
    shares: bool = False
    floor: float | None = None
    levels: Sequence[Level] = ()
    names: Sequence[str] = ()
    wide: bool = False


@dataclass(frozen=True)
class Axes:
    """Where values lie in the plot, from 0 to SIDE, the second from the top."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, epoch: float, value: float) -> str:
        across = (epoch - self.x[0]) / (self.x[1] - self.x[0])
        up = (value - self.y[0]) / (self.y[1] - self.y[0])
        return f"{SIDE * across:.1f} {SIDE * (1 - up):.1f}"


@dataclass
class _Line:
    """Of a series, what is drawn: steps, epochs and values; low, high: of each bucket; mean: the smoothed line."""

    steps: list[int]
    epochs: list[float]
    values: list[float]
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)


def draw(chart: Chart) -> Markup:
    """A figure with its title, its newest values, the plot, and the drawn values as JSON, for a pointer or the arrow keys."""
    series = [each for each in chart.series if each.points]
    values = [point[2] for each in series for point in each.points] + [level.value for level in chart.levels]
    epochs = [point[1] for each in series for point in each.points]
    low, high = min(values), max(values)
    if chart.floor is not None:
        low = min(low, chart.floor)
    y_ticks, x_ticks = ticks(low, high), ticks(0, max(epochs) or 1.0)
    x_ticks = [tick for tick in x_ticks if tick <= max(epochs) * 1.0001 or len(x_ticks) < 3]
    axes = Axes((0.0, max(max(epochs), 1e-9)), (y_ticks[0], y_ticks[-1]))
    lines = [_line(each) for each in series]
    said: Callable[[float], str] = round_percent if chart.shares else short
    return tag(
        "figure", _head(chart, series, said),
        tag("div", _svg(chart, series, lines, axes, y_ticks), _words(axes, x_ticks, y_ticks, chart, said),
            class_="plot", tabindex="0", role="group", aria_roledescription="chart",
            aria_label=f"{chart.title} by epoch: {'; '.join(_in_words(each, said) for each in series)}"),
        tag("script", _data(series, lines, axes, chart), type="application/json"),
        class_="chart wide" if chart.wide else "chart", data_names=" ".join(chart.names))


def _head(chart: Chart, series: Sequence[Series], figure: Callable[[float], str]) -> Markup:
    newest = series[0].points[-1][2] if len({each.colour for each in series}) == 1 else None
    keys = [(each.key, f"key{' dashed' if each.dashed else ''}") for each in series if each.key]
    return tag("figcaption", tag("span", chart.title, class_="name"),
               tag("span", figure(newest), class_="newest") if newest is not None else None,
               tag("p", chart.note, class_="note") if chart.note else None,
               tag("ul", [tag("li", tag("i", class_=look), said) for said, look in keys], class_="keys") if keys else None)


def _svg(chart: Chart, series: Sequence[Series], lines: Sequence[_Line], axes: Axes, y_ticks: Sequence[float]) -> Markup:
    parts = [tag("path", d="".join(f"M{axes.at(axes.x[0], tick)}H{SIDE}" for tick in y_ticks), class_="grid")]
    for level in chart.levels:
        colour = "" if level.colour is None else f" c{level.colour}"
        parts.append(tag("path", d=f"M{axes.at(axes.x[0], level.value)}H{SIDE}", class_=f"level{colour}"))
    for each, line in zip(series, lines, strict=True):
        parts.append(tag("g", _drawn(each, line, axes), class_=f"c{each.colour}", data_run=each.colour))
    return tag("svg", parts, viewBox=f"0 0 {SIDE} {SIDE}", preserveAspectRatio="none", aria_hidden="true")


def _drawn(series: Series, line: _Line, axes: Axes) -> list[Markup]:
    parts = []
    if line.low:
        there = [axes.at(*pair) for pair in zip(line.epochs, line.high, strict=True)]
        back = [axes.at(*pair) for pair in zip(line.epochs, line.low, strict=True)]
        parts.append(tag("path", d=f"M{'L'.join([*there, *reversed(back)])}Z", class_="band"))
    elif line.mean:
        parts.append(tag("path", d=_path(axes, line.epochs, line.values), class_="faint"))
    dashed = " dashed" if series.dashed else ""
    parts.append(tag("path", d=_path(axes, line.epochs, line.mean or line.values), class_=f"line{dashed}"))
    if not series.smooth or len(line.values) == 1:
        dots = "".join(f"M{axes.at(*pair)}h0" for pair in zip(line.epochs, line.values, strict=True))
        parts.append(tag("path", d=dots, class_="dots"))
    return parts


def _path(axes: Axes, epochs: Sequence[float], values: Sequence[float]) -> str:
    return "M" + "L".join(axes.at(*pair) for pair in zip(epochs, values, strict=True))


def _words(axes: Axes, x_ticks: Sequence[float], y_ticks: Sequence[float], chart: Chart,
           said: Callable[[float], str]) -> list[Markup]:
    span_y, span_x = axes.y[1] - axes.y[0], axes.x[1] - axes.x[0]
    across = [tag("span", said(tick), class_="y", style=f"bottom:{100 * (tick - axes.y[0]) / span_y:.2f}%") for tick in y_ticks]
    below = [tag("span", short(tick) if tick else "epoch 0", class_="x" if tick else "x first",
                 style=f"left:{100 * (tick - axes.x[0]) / span_x:.2f}%") for tick in x_ticks]
    # To the right, where a line that learns has left it.
    levels = [tag("span", level.label, class_="said", style=f"bottom:{100 * (level.value - axes.y[0]) / span_y:.2f}%")
              for level in {each.label: each for each in chart.levels}.values()]
    return [*across, *below, *levels]


def _line(series: Series) -> _Line:
    points = list(series.points)
    values = [point[2] for point in points]
    mean = smoothed(values) if series.smooth and len(points) >= NOISY else []
    if len(points) <= MOST_POINTS:
        return _Line([p[0] for p in points], [p[1] for p in points], values, mean=mean)
    line = _Line([], [], [])
    width = len(points) / MOST_POINTS
    for bucket in range(MOST_POINTS):
        here = slice(math.floor(bucket * width), math.floor((bucket + 1) * width))
        middle = points[(here.start + here.stop) // 2]
        line.steps.append(middle[0])
        line.epochs.append(middle[1])
        line.values.append(sum(values[here]) / (here.stop - here.start))
        line.low.append(min(values[here]))
        line.high.append(max(values[here]))
        line.mean += [mean[(here.start + here.stop) // 2]] if mean else []
    return line


def _data(series: Sequence[Series], lines: Sequence[_Line], axes: Axes, chart: Chart) -> Markup:
    """For the script: of each series its label, run, steps, epochs, values, and how high up the plot each lies, all rounded."""
    span = axes.y[1] - axes.y[0]
    said = [{"label": each.label, "run": each.colour, "step": line.steps, "epoch": [round(epoch, 3) for epoch in line.epochs],
             "value": [float(f"{value:.4g}") for value in line.values],
             "up": [round((value - axes.y[0]) / span, 3) for value in line.mean or line.values]}
            for each, line in zip(series, lines, strict=True)]
    text = json.dumps({"end": axes.x[1], "shares": chart.shares, "series": said}, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # nothing in it may end the script


def _in_words(series: Series, said: Callable[[float], str]) -> str:
    values = [point[2] for point in series.points]
    label = f"{series.label} " if series.label else ""
    if len(values) == 1:
        return f"{label}{said(values[0])}"
    return f"{label}from {said(values[0])} to {said(values[-1])}, least {said(min(values))}, most {said(max(values))}"


def charts(title: str, which: Sequence[Chart]) -> Markup | None:
    """Those that have anything to show, side by side."""
    shown = [chart for chart in which if any(each.points for each in chart.series)]
    if not shown:
        return None
    return tag("div", joined(*(draw(chart) for chart in shown)), class_="charts", aria_label=title, role="group")
