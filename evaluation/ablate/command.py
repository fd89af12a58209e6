"""`viewmill ablate STUDY [KEY=VALUE]...`: the arms of a study made, and what they say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...models.training.config import describe
from ...models.training.manual import rows
from ...pipelines.source import open_source
from ..scoreboard.cells import Cell, Read, Store
from ..scoreboard.command import Course, make, put
from ..scoreboard.settings import BenchConfig, parts
from . import heat_map, page, slurm, table, writing
from .findings import arm_of, findings_of
from .planning import AblateConfig, Plan, fit, planned
from .reading import load, names
from .stopping import stopped

PARTS = "parts"
"""Beneath out: what tells apart those that make parts of a study at one time."""


def main(words: Sequence[str], read_run: Read) -> int:
    """0: every cell that the study's own rules want is made; 1: some could not be; 130 or 0 after SIGINT or SIGTERM, resumable.
    read_run: `train.read`."""
    asked = [word for word in words if "=" not in word and not word.startswith("-")]
    if not words or {"--help", "-h"} & set(words):
        print(manual(asked))
        return 0
    unknown = [word for word in words if word.startswith("-") and "=" not in word]
    if unknown:
        raise ValueError(f"unknown option {unknown[0]!r}; viewmill ablate --help lists what there is")
    if len(asked) != 1:
        raise ValueError("which study? viewmill ablate STUDY.yaml data=... test_data=... [KEY=VALUE]..., or in place of the file "
                         f"one of {', '.join(names())}")
    plan = planned(load(asked[0]), [word for word in words if "=" in word], read_run, ("ablate", *words))
    data, _ = parts(plan.settings.config)
    fit(plan, len(open_source(data)))
    if plan.own.slurm is not None:
        print(slurm.write(plan, Path(plan.own.slurm)), flush=True)
        return 0
    if plan.own.check:
        print(said(plan), flush=True)
        return 0
    return make(plan.settings, read_run, course(plan))


def course(plan: Plan) -> Course:
    """How the cells of a plan are made: within its budget, without arms that were stopped, or a part of them."""
    lock = "" if plan.own.part is None else f"{PARTS}/{plan.own.part.replace('/', '-of-')}"
    return Course(hold=lambda cell, cells, store: held(plan, cell, cells, store),
                  publish=lambda *what: publish(plan, *what), of=plan.own.has, lock=lock)


def held(plan: Plan, cell: Cell, cells: Sequence[Cell], store: Store) -> str | None:
    """Why a cell is not to be made now, or None."""
    if plan.own.stop != "no" and cell.kind == "trained" and cell.seed > 0:
        out = stopped(findings_of(plan, cells, store), plan.own.stop, plan.settings.config.seeds)
        if cell.seed >= out.get(arm_of(cell), cell.seed + 1):
            return f"stop={plan.own.stop} after {out[arm_of(cell)]} seeds"
    if plan.own.budget_minutes is not None:
        spent = [float(made.about.get("making_s") or 0.0) for each in cells if (made := store.load(each.name)) is not None]
        next_one = max(_like(cell, cells, store), default=0.0)
        if sum(spent) + next_one > 60 * plan.own.budget_minutes:
            return (f"the budget of {plan.own.budget_minutes:g} minutes: {sum(spent) / 60:.1f} are spent, and the next takes "
                    f"about {next_one / 60:.1f}")
    return None


def _like(cell: Cell, cells: Sequence[Cell], store: Store) -> list[float]:
    """What making one like it took: the arm's other seeds, or else all of its kind, of which the mean."""
    took = {each.name: float(made.about.get("making_s") or 0.0) for each in cells
            if each.kind == cell.kind and (made := store.load(each.name)) is not None}
    own = [seconds for name, seconds in took.items() if table.found_arm(name) == arm_of(cell)]
    return own or ([sum(took.values()) / len(took)] if took else [])


def publish(plan: Plan, out: Path, made: dict[str, Any], cells: Sequence[Cell], store: Store, final: bool) -> str:
    """Everything in the folder but the cells; in between only what takes no time. Of a part: nothing, as others write too."""
    if plan.own.part is not None:
        return f"part       {plan.own.part} of {len(cells)} cells is made; the same command without part= collects what all made"
    found = findings_of(plan, cells, store)
    put(out / "results.csv", writing.as_csv(writing.results(found)))
    if not final:
        return ""
    out_of = stopped(found, plan.own.stop, plan.settings.config.seeds)
    files = [*writing.keep(out, "results", writing.results(found)), *writing.keep(out, "effects", writing.effects(found))]
    text = table.in_markdown(found, made, out_of)
    put(out / "table.md", text)
    put(out / "table.json", json.dumps(made | {"stopped": out_of}, indent=1) + "\n")
    maps = {protocol: out / f"heat-map-{protocol}.png" for protocol in found.protocols}
    drawn = {protocol: path for protocol, path in maps.items()
             if heat_map.draw(found, protocol, path, ("viewmill", *plan.settings.typed))}
    files += [out / "table.md", *drawn.values(), page.write(found, made, out_of, out, drawn)]
    return text + f"\nfiles      {', '.join(map(str, files))}"


def said(plan: Plan) -> str:
    """A study in words, and what making it takes."""
    config = plan.settings.config
    lines = [f"study      {plan.study.name}: {plan.study.question}",
             *([f"source     {plan.study.source}"] if plan.study.source else []),
             f"arms       {len(plan.trials)}, seeds 0 to {config.seeds - 1}: {len(plan.trials) * config.seeds} trainings"]
    for arm in plan.settings.arms:
        lines.append(f"  {arm.name}{' (the reference)' if arm.name == plan.reference else ''}: viewmill train {arm.method} "
                     f"{' '.join(arm.words)}")
    return "\n".join([*lines, f"out        {config.out}", "nothing was made: leave check=true out to begin"])


def manual(asked: Sequence[str] = ()) -> str:
    """asked: studies that are told with their arms, in short."""
    lines = [HEAD, "Studies that come with it:"]
    for name in asked or names():
        study = load(name)
        lines.append(f"  {study.name}: {study.question}")
    lines += ["", "Keys:", *rows(describe(AblateConfig())), *rows(describe(BenchConfig(data="", test_data="")))]
    return "\n".join(lines)


HEAD = """Usage: viewmill ablate STUDY.yaml data=... test_data=... [KEY=VALUE]...

Train the arms of a study with several seeds, and say by how much each differs from the base run, with the interval of a bootstrap
that is paired in seeds and test pictures: arms of one seed have the same order, the same draws where the change does not touch
them, and the same first weights where their networks have them in common. Everything malformed is refused before anything runs.

  viewmill ablate study.yaml data='cifar10/train-*.tar' test_data='cifar10/test-*.tar' out=runs/study
  viewmill ablate moco_momentum data='cifar10/train-*.tar' test_data='cifar10/test-*.tar' seeds=2 budget_minutes=60

A study is a file like this, its keys those of `viewmill train` (docs/ablations.md has all forms):

  question: What do gray pictures and temperature do for SimCLR?
  method: simclr
  base: {epochs: 1}
  factors:
    gray: {key: recipe.global.grayscale.p, levels: [0, 0.2, 0.5]}
    no-jitter: {recipe.global.jitter: none}
  design: one-at-a-time            # or pairwise, leave-one-out, full
  settings: {seeds: 3, protocols: [knn, linear]}

out/ gets results.csv and effects.csv (and the same as .parquet with pyarrow), table.md, a heat map of designs with pairs, and
report.html. Stopped or killed, the same command goes on: what is there is not made again, unless its configuration or code has
changed. train.KEY=VALUE is a word of every training. The study's settings are defaults of the keys below.
"""
