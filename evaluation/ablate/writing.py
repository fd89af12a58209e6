"""A study's results as files for other programs: a row for each accuracy, a row for each difference."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..scoreboard.command import put
from .findings import Effect, Findings, about

Row = dict[str, Any]


def results(found: Findings) -> list[Row]:
    """Tidy: of each cell, network ("trained", "initialized", "calibrated" or "pixels") and protocol one row, accuracies in [0,
    1]. The columns factor.NAME have an arm's levels."""
    plan, rows = found.plan, []
    for (arm, seed), made in sorted(found.made.items(), key=lambda each: (list(plan.trials).index(each[0][0]), each[0][1])):
        rows += _rows(found, arm, plan.runs[arm].method, seed, made)
    for name, made in found.others.items():
        arm, _, number = name.partition("-untrained-")
        rows += _rows(found, arm if number else "", plan.runs[arm].method if number else "", int(number or 0), made)
    return rows


def effects(found: Findings, every: bool = True) -> list[Row]:
    """Of each difference one row, of accuracies in [0, 1], with its 95 % interval. every: effects of factors and
    pairs too, which take some seconds."""
    rows = []
    for protocol in found.protocols:
        more = [*found.main_effects(protocol), *found.interactions(protocol)] if every else []
        for effect in (*found.differences(protocol), *more):
            kind, *names = effect.of
            rows.append({"study": found.plan.study.name, "kind": kind, "of": " ".join(names), "against": _against(found, effect),
                         "protocol": protocol, "is_metric": protocol == found.metric, "accuracy": effect.accuracy,
                         "difference": effect.difference.mean, "low": effect.difference.low, "high": effect.difference.high,
                         "level": effect.difference.level, "seeds": len(effect.seeds), "pairs_of_arms": effect.pairs})
    return rows


def _against(found: Findings, effect: Effect) -> str:
    return {"arm": found.plan.reference, "factor": "the factor's base", "pair": "the sum of both alone"}[effect.of[0]]


def _rows(found: Findings, arm: str, method: str, seed: int, made: Any) -> list[Row]:
    plan, rows = found.plan, []
    levels = {f"factor.{name}": plan.level(arm, name) if arm else "" for name in plan.factors}
    for state, protocols in made.figures.items():
        for protocol, figures in protocols.items():
            right = made.correct.get((state, protocol))
            rows.append({"study": plan.study.name, "arm": arm, "reference": arm == plan.reference, **levels, "method": method,
                         "network": state, "seed": seed, "protocol": protocol, "is_metric": protocol == found.metric,
                         "accuracy": figures["top1"], "top5": figures.get("top5"),
                         "pictures": None if right is None else len(right), **about(made)})
    return rows


def as_csv(rows: Sequence[Row]) -> str:
    """With a line of names; nothing where there is no row. None is an empty field."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def keep(out: Path, name: str, rows: Sequence[Row]) -> list[Path]:
    """out/NAME.csv, and NAME.parquet where pyarrow is there (`pip install 'viewmill[parquet]'`); the files written."""
    put(out / f"{name}.csv", as_csv(rows))
    if not rows or find_spec("pyarrow") is None:
        return [out / f"{name}.csv"]
    import pyarrow
    import pyarrow.parquet

    temporary = out / f".{name}.parquet.{os.getpid()}"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), temporary)
    os.replace(temporary, out / f"{name}.parquet")
    return [out / f"{name}.csv", out / f"{name}.parquet"]
