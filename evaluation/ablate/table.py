"""The table of a study for people, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..scoreboard.intervals import Interval
from ..scoreboard.table import TITLES
from .findings import Effect, Findings
from .study import BASE

MOST = 20
"""Of effects of pairs: those furthest from zero."""


def in_markdown(found: Findings, table: Mapping[str, Any], stopped: Mapping[str, int], effects: bool = True) -> str:
    """table: of the scoreboard, for what is missing, stale or failed and where cells come from. stopped: arms by the seeds after
    which they were. effects: those of factors and pairs too."""
    plan = found.plan
    protocols = found.protocols or [found.metric]
    heads = ["arm", *(each for name in protocols for each in (TITLES[name], "difference [95 %]")), "gain", "seeds"]
    gains = {row["arm"]: row["protocols"].get(found.metric) for row in table.get("rows", [])}
    source = [f"After {plan.study.source}.", ""] if plan.study.source else []
    lines = [plan.study.question, "", *source, f"`{table['command']}`", "", *_head(found, table), "",
             "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for arm in plan.trials:
        entries = [f"**{arm}**" if arm == plan.reference else arm]
        for protocol in protocols:
            accuracy = found.accuracy(protocol, arm)
            effect = None if arm == plan.reference else found.difference(protocol, arm)
            entries += ["" if accuracy is None else f"{100 * accuracy:.1f}", "" if effect is None else points(effect.difference)]
        there = len(found.seeds(found.metric, arm))
        after = f", stopped after {stopped[arm]}" if arm in stopped else ""
        gain = gains.get(arm)
        entries.append("" if gain is None else f"{100 * gain['gain']['mean']:+.1f}")
        lines.append("| " + " | ".join([*entries, f"{there} of {table['seeds']}{after}"]) + " |")
    if effects:
        for protocol in protocols:
            lines += _effects(f"Main effects by {TITLES[protocol]}", found.main_effects(protocol))
            lines += _effects(f"Pairs by {TITLES[protocol]}: together, beyond the sum of both alone",
                              _furthest(found.interactions(protocol)))
    return "\n".join([*lines, "", *notes(found, table, stopped)]) + "\n"


def points(interval: Interval) -> str:
    """-1.2 [-1.8, -0.7], in points of per cent; bold where the interval does not hold zero."""
    said = f"{100 * interval.mean:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
    return f"**{said}**" if interval.excludes_zero else said


def named(effect: Effect) -> str:
    """What an effect is of, in words."""
    kind, *names = effect.of
    if kind == "arm":
        return names[0]
    if kind == "factor":
        return level_named(names[0], names[1])
    return f"{level_named(names[0], names[1])} with {level_named(names[2], names[3])}"


def level_named(factor: str, level: str) -> str:
    return factor if level in (factor, BASE) else f"{factor} {level}"


def notes(found: Findings, table: Mapping[str, Any], stopped: Mapping[str, int]) -> list[str]:
    """What is to be known of the table, a paragraph each."""
    plan, lines = found.plan, ["Trained by:", ""]
    for arm in plan.settings.arms:
        lines.append(f"- {arm.name}: `viewmill train {arm.method} {' '.join(arm.words)}`")
    same = {factor.name: plan.trials[plan.reference].levels.get(factor.name) for factor in plan.study.factors}
    own = [f"{name} {level}" for name, level in same.items() if level]
    if own:
        lines += ["", f"{plan.reference} is also: {', '.join(own)}."]
    if stopped:
        when = ", ".join(f"{arm} after {seeds}" for arm, seeds in stopped.items())
        lines += ["", f"Stopped by stop={plan.own.stop}: {when} (seeds). Figures of arms with unlike seeds are not of the same "
                  "runs; differences are over the seeds that both have."]
    names = [name for name in table["missing"] if found_arm(name) not in stopped]
    if table["stale"]:
        what = "shown as they are" if table["kept"] else "not shown, to be made again"
        lines += ["", f"Stale, {what}: {', '.join(table['stale'])}."]
    if names:
        lines += ["", f"Missing: {', '.join(names)}."]
    lines += ["", *(f"Failed: {each['name']}: {each['why']}" for each in table["failed"])] if table["failed"] else []
    return lines


def found_arm(cell: str) -> str:
    """Of a cell's name, the arm's."""
    return cell.rpartition("-")[0].removesuffix("-trained").removesuffix("-untrained")


def _head(found: Findings, table: Mapping[str, Any]) -> list[str]:
    where = "; ".join(f"{each['cells']} cells on {each['cores']} cores of {each['cpu']}, viewmill {each['viewmill']}, torch "
                      f"{each['torch']}, timm {each['timm']}" for each in table["origins"]) or "no cell is made yet"
    dev = "Tested on training pictures, to choose settings (split=dev). " if table["split"] == "dev" else ""
    return [f"{dev}Seeds 0 to {table['seeds'] - 1}; {where}.", "",
            "Accuracy on the test pictures in percent, mean over seeds, and by how many points it differs from "
            f"**{found.plan.reference}** of the same seeds: the same first weights where the arm's network has them, order and "
            "draws; in brackets the 95 % interval of a bootstrap over seeds and test pictures, paired in both; bold where it "
            "does not hold zero. Of many arms some are bold by chance. Gain: over the untrained network, by the metric. "
            f"{TITLES[found.metric]} was named for the method beforehand."]


def _furthest(effects: Sequence[Effect]) -> list[Effect]:
    return sorted(effects, key=lambda effect: -abs(effect.difference.mean))[:MOST]


def _effects(title: str, effects: Sequence[Effect]) -> list[str]:
    if not effects:
        return []
    rows = [f"| {named(each)} | {points(each.difference)} | {each.pairs} | {len(each.seeds)} |" for each in effects]
    return ["", f"{title}:", "", "| of | points [95 %] | pairs of arms | seeds |", "|---|---|---|---|", *rows]
