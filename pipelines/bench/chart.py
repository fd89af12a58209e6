"""The chart of a report: images/s of bare decoding, viewmill and the peers, one panel for each recipe."""

from __future__ import annotations

from pathlib import Path

from .report import BenchReport

COLOURS = {"decode": "#999999", "viewmill": "#0072b2", "peer": "#e69f00"}
"""Okabe and Ito's, told apart by the colour-blind, and by lightness in gray print; every bar has its name beside it as well."""
KINDS = {"decode": "bare decoding, no views", "viewmill": "viewmill", "peer": "other libraries"}


def draw_chart(report: BenchReport, path: Path) -> None:
    """A PNG. Raises ValueError for a report without recipes, as of --scaling alone."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    if not report.recipes:
        raise ValueError("a chart needs measured recipes, and this report has none")
    order: dict[str, tuple[str, str]] = {}
    for recipe in report.recipes:
        for arm in sorted(recipe.arms, key=lambda arm: (("decode", "viewmill", "peer").index(arm.kind), -arm.rate)):
            order.setdefault(arm.name, (arm.kind, arm.title))
    names = sorted(order, key=lambda name: ("decode", "viewmill", "peer").index(order[name][0]))
    width = 2.6 + 2.5 * len(report.recipes)
    figure = Figure(figsize=(max(7.0, width), 1.25 + 0.3 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(report.recipes), sharey=True, squeeze=False)[0]
    for axes, recipe in zip(panels, report.recipes, strict=True):
        found = {arm.name: arm for arm in recipe.arms}
        rates = [found[name].rate if name in found else 0.0 for name in names]
        bars = axes.barh(range(len(names)), rates, 0.74, color=[COLOURS[order[name][0]] for name in names])
        texts = [f"{found[name].rate:.0f}" if name in found else "cannot" for name in names]
        axes.bar_label(bars, texts, padding=3, fontsize=8)
        axes.set_yticks(range(len(names)), [_wrapped(order[name][1]) for name in names], fontsize=8)
        axes.set_title(f"{recipe.recipe}\n{recipe.views}", fontsize=8.5)
        axes.set_xlim(0, 1.18 * max(rates))
        axes.tick_params(axis="x", labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    first = report.recipes[0]
    figure.supxlabel(f"images/s, all views of each; {first.threads} threads or workers on {report.machine['cores']} cores, "
                     f"{report.machine['cpu']}; {first.files}", fontsize=8)
    kinds = [kind for kind in KINDS if any(order[name][0] == kind for name in names)]
    figure.legend(handles=[Patch(color=COLOURS[kind], label=KINDS[kind]) for kind in kinds], loc="outside upper left", ncols=3,
                  frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def _wrapped(title: str) -> str:
    """"a, b" on two lines where it is long."""
    return title.replace(", ", ",\n", 1) if len(title) > 28 else title
