"""The table: one row a method, made of whatever cells there are by now, and what is stale, missing or failed."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ... import __version__
from ...models import method_info
from .cells import Cell, Made, Store
from .intervals import better_of, paired
from .making import Failed
from .settings import PROTOCOLS, Arm, Settings

TITLES = {"knn": "kNN", "linear": "linear", "finetune": "fine-tuned", "layers": "best layer"}


def table_of(settings: Settings, cells: Sequence[Cell], store: Store, failed: Sequence[Failed] = ()) -> dict[str, Any]:
    """JSON-able: "rows" by arm, "pixels", "stale", "missing" and "failed" cells, and the command. Accuracies in [0, 1].

    A method's figures are over the seeds of which both networks, trained and untrained, are there. A stale cell counts only
    with stale=keep.
    """
    states = {cell.name: store.state(cell) for cell in cells}
    counted = {"made", "stale"} if settings.config.stale == "keep" else {"made"}
    made = {cell.name: found for cell in cells if states[cell.name] in counted and (found := store.load(cell.name)) is not None}
    names = {state: [name for name, its in states.items() if its == state] for state in ("stale", "missing")}
    rows = [_row(settings, arm, states, made) for arm in settings.arms]
    pixels = made["pixels"].figures["pixels"] if "pixels" in made else {}
    return {"rows": rows, "pixels": {name: figures["top1"] for name, figures in pixels.items()}, **names,
            "failed": [asdict(each) for each in failed], "kept": settings.config.stale == "keep",
            "command": shlex.join(["viewmill", *settings.typed]), "title": settings.title,
            "checked": [name for name, found in made.items() if "checked" in found.about],
            "split": settings.config.split, "seeds": settings.config.seeds, "viewmill": __version__, "origins": _origins(made)}


def _row(settings: Settings, arm: Arm, states: Mapping[str, str], made: Mapping[str, Made]) -> dict[str, Any]:
    info = method_info(arm.method)
    names = {seed: (f"{arm.name}-trained-{seed}", f"{arm.untrained}-untrained-{seed}") for seed in range(settings.config.seeds)}
    pairs = {seed: (made[trained], made[untrained]) for seed, (trained, untrained) in names.items()
             if trained in made and untrained in made}
    cells = [name for pair in names.values() for name in pair if name in states]
    row: dict[str, Any] = {"method": arm.method, "arm": arm.name, "metric": info.metric, "words": list(arm.words),
                           "seeds": list(pairs), "cells": len(cells), "made": sum(name in made for name in cells),
                           "protocols": {}}
    for name in PROTOCOLS:
        judged = _judged(settings, name, pairs)
        if judged is not None:
            row["protocols"][name] = judged
    about = [trained.about for trained, _ in pairs.values()]
    for key in ("pretext", "images_per_s", "data_wait", "training_s", "judging_s"):
        values = [each[key] for each in about if each.get(key) is not None]
        row[key] = float(np.mean(values)) if values else None
    health = [each.get("health", {}) for each in about]
    row["health"] = {key: float(np.mean([each[key] for each in health])) for key in (health[0] if health else {})
                     if all(key in each for each in health)}
    return row


def _judged(settings: Settings, name: str, pairs: Mapping[int, tuple[Made, Made]]) -> dict[str, Any] | None:
    """Of one protocol: mean accuracies and the gain over the better untrained network, which is one for all seeds."""
    of = {seed: pair for seed, pair in pairs.items()
          if ("trained", name) in pair[0].correct and ("initialized", name) in pair[1].correct}
    if not of:
        return None
    # With stale cells kept, some may have been tested on fewer pictures: those of the commonest number are compared.
    size = Counter(len(pair[0].correct["trained", name]) for pair in of.values()).most_common(1)[0][0]
    of = {seed: pair for seed, pair in of.items()
          if {len(made.correct[state, n]) for made in pair for state, n in made.correct if n == name} == {size}}
    if not of:
        return None
    trained = np.stack([pair[0].correct["trained", name] for pair in of.values()])
    states = [state for state in ("initialized", "calibrated") if all((state, name) in pair[1].correct for pair in of.values())]
    untrained = [np.stack([pair[1].correct[state, name] for pair in of.values()]) for state in states]
    better = better_of(*untrained)
    gain = paired(trained, untrained[better], resamples=settings.config.resamples)
    return {"trained": float(trained.mean()), "untrained": float(untrained[better].mean()), "which": states[better],
            **{state: float(each.mean()) for state, each in zip(states, untrained, strict=True)},
            "by_seed": {str(seed): float(right.mean()) for seed, right in zip(of, trained, strict=True)},
            "gain": {"mean": gain.mean, "low": gain.low, "high": gain.high, "level": gain.level}, "pictures": size}


def _origins(made: Mapping[str, Made]) -> list[dict[str, Any]]:
    """Machines and versions that cells come from, with how many each made."""
    keys = ("cpu", "cores", "viewmill", "torch", "timm")
    seen = Counter(tuple(found.about.get(key) for key in keys) for found in made.values())
    return [{**dict(zip(keys, values, strict=True)), "cells": count} for values, count in seen.most_common()]


def in_markdown(table: Mapping[str, Any]) -> str:
    """The table for people: percent; untrained in parentheses; the metric that counts bold, with its gain in points."""
    protocols = [name for name in PROTOCOLS if any(name in row["protocols"] for row in table["rows"])]
    heads = ["run" if table["title"] else "method", *(TITLES[name] for name in protocols), "pretext", "images/s", "waits", "std",
             "RankMe", "seeds"]
    lines = [*_head(table), "", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in table["rows"]:
        health = row["health"]
        entries = [row["arm"], *(_entry(row, name) for name in protocols), _percent(row["pretext"]),
                   "" if row["images_per_s"] is None else f"{row['images_per_s']:,.0f}", _percent(row["data_wait"]),
                   _number(health.get("health_std"), ".2f"), _number(health.get("health_rankme"), ".1f"),
                   f"{len(row['seeds'])} of {table['seeds']}"]
        lines.append("| " + " | ".join(entries) + " |")
    if table["pixels"]:
        entries = ["raw pixels", *(_percent(table["pixels"].get(name)) for name in protocols), *[""] * 6]
        lines.append("| " + " | ".join(entries) + " |")
    return "\n".join([*lines, "", *_notes(table)]) + "\n"


def _entry(row: Mapping[str, Any], name: str) -> str:
    of = row["protocols"].get(name)
    if of is None:
        return "**?**" if name == row["metric"] else ""
    text = f"{100 * of['trained']:.1f} ({100 * of['untrained']:.1f})"
    if name != row["metric"]:
        return text
    gain = of["gain"]
    return f"**{text}, {100 * gain['mean']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]**"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _head(table: Mapping[str, Any]) -> list[str]:
    where = "; ".join(f"{each['cells']} cells on {each['cores']} cores of {each['cpu']}, viewmill {each['viewmill']}, torch "
                      f"{each['torch']}, timm {each['timm']}" for each in table["origins"]) or "no cell is made yet"
    dev = "Not to be published: tested on training pictures, to choose settings. " if table["split"] == "dev" else ""
    title = [table["title"], ""] if table["title"] else []
    return [*title, f"`{table['command']}`", "", f"{dev}Seeds 0 to {table['seeds'] - 1}; {where}.", "",
            "Accuracy on the test pictures in percent, mean over seeds, and in parentheses the untrained network's: of the same "
            "first weights, as initialized or with calibrated batch norms, whichever is better by that metric. Bold: the metric "
            "that was named for the method beforehand, and by how many points training gains, with the 95 % interval of a paired "
            "bootstrap over seeds and test pictures. Pretext: accuracy on the method's own task, in the last tenth of training. "
            "Waits: share of the time without a batch, in percent. Std, RankMe: of the features of training views at the end."]


def _notes(table: Mapping[str, Any]) -> list[str]:
    lines = ["Trained by:", "",
             *(f"- {row['arm']}: `viewmill train {row['method']} {' '.join(row['words'])}`"
               + ("" if row["training_s"] is None else f" ({row['training_s']:.0f} s, then judged in {row['judging_s']:.0f} s)")
               for row in table["rows"])]
    if table["checked"]:
        lines += ["", f"Made by earlier code, and checked: {len(table['checked'])} cells. Of each run's seed 0 the first steps "
                  "of training and all answers of judging come out the same to the bit with today's code."]
    if table["stale"]:
        what = "shown as they are" if table["kept"] else "not shown, to be made again"
        lines += ["", f"Stale, made by another configuration or other code, {what}: {', '.join(table['stale'])}."]
    if table["missing"]:
        lines += ["", f"Missing: {', '.join(table['missing'])}."]
    if table["failed"]:
        lines += ["", *(f"Failed: {each['name']}: {each['why']}" for each in table["failed"])]
    return lines
