"""A grid of arms as a picture: pairs of levels, each alone on the diagonal; or two factors, one down and one across."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..figures import figure as figures
from ..figures.chart import literal, pixels_of
from ..scoreboard.table import TITLES
from .findings import Findings
from .table import level_named

LONGEST = 14
"""Of a row's or column's name; longer ones are turned."""


@dataclass(frozen=True)
class Grid:
    """accuracy (R, C), NaN where no arm is, in [0, 1]; what rows and columns are; about: what is seen, in a sentence or two."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    accuracy: np.ndarray
    about: str


def grid_of(found: Findings, protocol: str) -> Grid | None:
    """The grid of a design pairwise or full, of any number of factors; None for others, and where nothing is made yet. A full
    design of three factors and more is told by its first two, as the mean over the others."""
    study = found.plan.study
    if study.listed or study.design not in ("pairwise", "full") or not found.answers.get(protocol):
        return None
    return _pairwise(found, protocol) if study.design == "pairwise" else _full(found, protocol)


def _pairwise(found: Findings, protocol: str) -> Grid:
    plan = found.plan
    base = {factor: plan.level(plan.reference, factor) for factor in plan.factors}
    settings = [(factor.name, level.name) for factor in plan.study.factors for level in factor.levels
                if level.name != base[factor.name]]
    by = {frozenset((factor, plan.level(arm, factor)) for factor in plan.factors if plan.level(arm, factor) != base[factor]): arm
          for arm in plan.trials}
    values = np.full((len(settings), len(settings)), np.nan)
    for row, one in enumerate(settings):
        for column, two in enumerate(settings):
            accuracy = found.accuracy(protocol, by.get(frozenset({one, two}), ""))
            values[row, column] = np.nan if accuracy is None else accuracy
    names = tuple(level_named(*each) for each in settings)
    none = found.accuracy(protocol, plan.reference)
    alone = f" With none of them: {100 * none:.1f}." if none is not None else ""
    return Grid(names, names, values, f"Each alone on the diagonal, with another elsewhere.{alone}")


def _full(found: Findings, protocol: str) -> Grid:
    plan = found.plan
    first, second, *others = plan.study.factors
    rows, columns = ([level.name for level in factor.levels] for factor in (first, second))
    values = np.full((len(rows), len(columns)), np.nan)
    for row, one in enumerate(rows):
        for column, two in enumerate(columns):
            here = [found.accuracy(protocol, arm) for arm in plan.trials
                    if plan.level(arm, first.name) == one and plan.level(arm, second.name) == two]
            there = [each for each in here if each is not None]
            values[row, column] = np.mean(there) if there else np.nan
    mean = f" Means over {', '.join(factor.name for factor in others)}." if others else ""
    return Grid(tuple(level_named(first.name, row) for row in rows),
                tuple(level_named(second.name, column) for column in columns), values,
                f"{first.name} down, {second.name} across.{mean}")


def draw(found: Findings, protocol: str, path: Path, command: Sequence[str]) -> bool:
    """Write the grid as a PNG that says of itself what it shows; whether there is one."""
    grid = grid_of(found, protocol)
    if grid is None or np.isnan(grid.accuracy).all():
        return False
    from matplotlib.figure import Figure

    percent = 100 * grid.accuracy
    height, width = percent.shape
    drawn = Figure(figsize=(2.2 + 0.72 * width, 1.6 + 0.55 * height), layout="constrained")
    axes = drawn.subplots()
    shown = axes.imshow(percent, cmap="viridis", aspect="auto")
    turned = max(map(len, grid.columns)) > LONGEST / 2
    axes.set_xticks(range(width), [literal(name) for name in grid.columns], rotation=40 if turned else 0,
                    ha="right" if turned else "center")
    axes.set_yticks(range(height), [literal(name) for name in grid.rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    low, high = float(np.nanmin(percent)), float(np.nanmax(percent))
    for row in range(height):
        for column in range(width):
            value = percent[row, column]
            if not np.isnan(value):
                dark = value < low + 0.6 * (high - low)
                axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=9, color="white" if dark else "black")
    drawn.colorbar(shown, ax=axes, label=f"{TITLES[protocol]}, %", shrink=0.9)
    figures.save(pixels_of(drawn), path, title=f"{found.plan.study.name}: {TITLES[protocol]}",
                 caption=f"{found.plan.study.question} {grid.about}", command=command)
    return True
