"""The report of a study as one HTML file: differences with their intervals, the table, grids, effects, and of each arm the
views that its network saw beside what it came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ... import __version__
from ...pipelines.preview import pictured_image, pictured_views, remake
from ...pipelines.source import Source, open_source
from ..figures.figure import read as read_figure
from ..report import figures, views
from ..report.album import Album
from ..report.markup import Inside, Markup, joined, tag
from ..report.numbers import ticks
from ..report.page import bar, document, enlarged, kept
from ..report.table import Cell, Column, command_line
from ..report.table import table as html_table
from ..scoreboard.intervals import Interval
from ..scoreboard.settings import parts
from ..scoreboard.table import TITLES
from . import table as words
from .findings import Effect, Findings

MOST_VIEWS = 12
"""Of one image, beyond which one picture of each arm is enough."""

ALIKE = "The views are those of {}, as its recipe is the same."


def write(found: Findings, made: Mapping[str, Any], stopped: Mapping[str, int], out: Path, maps: Mapping[str, Path]) -> Path:
    """out/report.html. made: the scoreboard's table; maps: the heat map of each protocol."""
    study, plan, album = found.plan.study, found.plan, Album()
    sections: list[tuple[str, str, Inside]] = [
        ("differences", "Differences", _differences(found)),
        ("arms", "Arms", _table(found, made, stopped)),
        ("grid", "Grid", _maps(maps, album)),
        ("effects", "Effects", _effects(found)),
        ("views", "Views", _views(found, album)),
        ("notes", "Notes", [tag("p", note, class_="note") for note in words.notes(found, made, stopped) if note]),
    ]
    there = [(name, title, inside) for name, title, inside in sections if inside]
    hero = tag("header", tag("p", study.name, class_="overline"), tag("h1", "Ablation"), tag("p", study.question, class_="lead"),
               tag("p", f"After {study.source}.", class_="paper") if study.source else None, class_="hero")
    footer = tag("footer", command_line(f"This study, by viewmill {__version__}", made["command"]))
    body = joined(bar(there), tag("main", hero, [tag("section", tag("h2", title), inside, id=name, aria_label=title)
                                                 for name, title, inside in there], footer, id="main"), enlarged())
    kept(document(f"{study.name}: {len(plan.trials)} arms", body), out / "report.html")
    return out / "report.html"


def _differences(found: Findings) -> Inside:
    """By the metric: a line of points, a dot with its interval for each arm."""
    effects = found.differences(found.metric)
    if not effects:
        return tag("p", "Nothing can be compared yet.", class_="empty")
    about = (f"Points of {TITLES[found.metric]} accuracy from {found.plan.reference}, over the same seeds and test pictures; the "
             "95 % interval of a bootstrap paired in both.")
    return [tag("p", about, class_="about"), _dots(effects)]


def _dots(effects: Sequence[Effect]) -> Markup:
    low = min(0.0, *(each.difference.low for each in effects))
    high = max(0.0, *(each.difference.high for each in effects))
    marks = ticks(100 * low, 100 * high, 6)

    def at(points: float) -> float:
        return 100 * (points - marks[0]) / (marks[-1] - marks[0])

    rows = []
    for each in effects:
        of = each.difference
        left, right = at(100 * of.low), at(100 * of.high)
        colour = 0 if not of.excludes_zero else 2 if of.mean > 0 else 1
        drawn = tag("div", tag("i", class_="whisker", style=f"left:{left:.2f}%;width:{right - left:.2f}%"),
                    tag("i", class_="dot", style=f"left:{at(100 * of.mean):.2f}%"), class_=f"c{colour}", style="--lane:0")
        label = tag("span", words.named(each), tag("b", f"{100 * of.mean:+.1f}"), class_="what")
        rows.append(tag("div", label, tag("div", drawn, class_="track", style="--lanes:1"), class_="row"))
    grid = tag("div", [tag("i", style=f"left:{at(mark):.2f}%") for mark in marks], class_="grid-lines")
    said = [tag("span", f"{mark:+g}" if mark else "0", style=f"left:{at(mark):.2f}%") for mark in marks]
    return tag("div", grid, rows, tag("div", said, class_="axis"), class_="dots-plot", style="--label:15rem", aria_hidden="true")


def _table(found: Findings, made: Mapping[str, Any], stopped: Mapping[str, int]) -> Inside:
    protocols, plan = found.protocols or [found.metric], found.plan
    figures_of = [Column(title, number=True) for name in protocols for title in (TITLES[name], "Difference")]
    columns = [Column("Arm"), *figures_of, Column("Seeds", number=True)]
    rows = []
    for arm in plan.trials:
        cells = [Cell(arm, strong=arm == plan.reference)]
        for protocol in protocols:
            accuracy = found.accuracy(protocol, arm)
            effect = None if arm == plan.reference else found.difference(protocol, arm)
            cells += [Cell("") if accuracy is None else Cell(f"{100 * accuracy:.2f} %", accuracy), _cell(effect)]
        seeds = len(found.seeds(found.metric, arm))
        cells.append(Cell(f"{seeds} of {made['seeds']}", seeds, f"stopped after {stopped[arm]}" if arm in stopped else ""))
        rows.append(cells)
    return html_table(columns, rows, "Accuracy of each arm, and its difference from the reference")


def _cell(effect: Effect | None) -> Cell:
    if effect is None:
        return Cell("")
    return Cell(_said(effect.difference), effect.difference.mean, strong=effect.difference.excludes_zero)


def _said(interval: Interval) -> str:
    return f"{100 * interval.mean:+.2f} [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"


def _maps(maps: Mapping[str, Path], album: Album) -> Inside:
    made = []
    for path in maps.values():
        figure = read_figure(path)
        if figure is not None:
            caption = tag("figcaption", tag("h3", figure.title), tag("p", figure.caption, class_="note"))
            picture = figures.shown(album.file(path), figure.title, figure.caption, figure.size_px, path)
            made.append(tag("figure", picture, caption, class_="picture"))
    return tag("div", made, class_="figures") if made else None


def _effects(found: Findings) -> Inside:
    made: list[Inside] = []
    for protocol in found.protocols:
        for title, effects in ((f"Main effects, {TITLES[protocol]}", found.main_effects(protocol)),
                               (f"Pairs beyond the sum of both alone, {TITLES[protocol]}", found.interactions(protocol))):
            if effects:
                rows = [[Cell(words.named(each)), _cell(each), Cell(str(each.pairs), each.pairs)] for each in effects]
                columns = [Column("Of"), Column("Points", number=True), Column("Pairs of arms", number=True)]
                made += [tag("h3", title), html_table(columns, rows, title)]
    return made or None


def _views(found: Findings, album: Album) -> Inside:
    """Of each arm the first images of seed 0's first epoch, those of the reference first; or why they cannot be shown."""
    plan = found.plan
    about = ("The same images for all arms, as seed 0 saw them first: what the change does not touch is drawn alike. Frames on "
             "an image show where its views lie.")
    try:
        source = open_source(parts(plan.settings.config)[0])
    except (ValueError, OSError) as error:
        return tag("p", f"The views cannot be made here: {' '.join(str(error).split())}", class_="empty")
    shown: dict[str, str] = {}
    made: list[Inside] = [tag("p", about, class_="about")]
    for arm in sorted(plan.trials, key=lambda arm: arm != plan.reference):
        recipe = plan.recipes[arm]
        first = shown.setdefault(str({**recipe.to_dict(), "name": ""}), arm)
        accuracy, effect = found.accuracy(found.metric, arm), None
        if arm != plan.reference:
            effect = found.difference(found.metric, arm)
        score = "not made yet" if accuracy is None else f"{TITLES[found.metric]} {100 * accuracy:.2f} %"
        if effect is not None:
            score += f", {_said(effect.difference)}"
        inside: Inside = tag("p", ALIKE.format(first), class_="note") if first != arm else _samples(found, arm, source, album)
        made.append(tag("div", tag("h3", arm, tag("span", score, class_="of")), inside, class_="of-run"))
    return made


def _samples(found: Findings, arm: str, source: Source, album: Album) -> Markup:
    plan, recipe = found.plan, found.plan.recipes[arm]
    run = plan.runs[arm]
    count = plan.own.samples if len(recipe.instances) <= MOST_VIEWS else 1
    try:
        made = remake(source, recipe, samples=count, seed=0, shuffle=run.loader.shuffle, lanes=run.loader.lanes,
                      window=run.loader.window)
        samples = [views.sample(album, pictured_image(made, recipe, row, source, views.LARGE_PX),
                                pictured_views(made, recipe, row)) for row in range(len(made.images))]
    except Exception as error:  # a recipe that only its method can render to the end: the rest of the report stands
        return tag("p", f"They cannot be shown here: {' '.join(str(error).split())}", class_="empty")
    return tag("div", samples, class_="samples few" if len(recipe.instances) <= views.FEW else "samples")
