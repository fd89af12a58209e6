"""How fast views come, against bare decoding of the same files and other libraries: paired rounds in one run on one machine.

    viewmill bench dino simclr_pil data='imagenet/train-*.tar' --peers

Every arm is a trainer process of its own that shows the same files with the same number of threads or workers. A round takes
so many batches from each, bare decoding just before; batches that were ready before the clock starts do not count, and an
arm that is not measured has full queues and rests. Ratios are medians of the ratios round by round.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace

from ...augment.recipe import Recipe
from ..memory import available_bytes
from ..source import Source
from .arms import Arm, ArmFailed
from .chart import draw_chart
from .files import Files, Folder, at_least, chosen
from .machine import machine, versions, warnings
from .messages import Spec
from .peers import PEERS
from .processes import PeakMemory
from .report import LEGEND, ArmReport, BenchReport, LeftOut, RecipeReport, crowded, loaded, restless
from .rounds import Group, measure
from .settings import Settings, manual, settings_of

__all__ = ["LEGEND", "BenchReport", "Settings", "bench", "draw_chart", "loaded", "manual", "progress", "settings_of"]

DECODE = "bare decode"


def quiet(line: str) -> None:
    """Says nothing."""


def progress() -> Callable[[str], None]:
    """Says one line on a terminal, always the newest; nothing where nobody looks."""
    def say(line: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)

    return say


def bench(source: Source, recipes: Sequence[Recipe], settings: Settings, say: Callable[[str], None] = quiet,
          done: Callable[[str], None] = quiet) -> BenchReport:
    """Measure. say: told what is going on; done: given each recipe's table as soon as there is one.

    Raises ValueError, in one line, for fewer files than a batch; an arm that cannot do a recipe, or breaks, is left out with
    its reason.
    """
    seen = machine()
    names = {name for peer in settings.named_peers for name in PEERS[peer].versions}
    report = BenchReport(seen, versions(sorted(names)), {**asdict(settings), "threads": settings.thread_budget,
                                                         "batches": settings.counted})
    with Folder() as folder:
        encoded = chosen(source, settings.images)
        files = folder.write(encoded, settings.thread_budget)
        at_least(files, settings.batch_size)
        for recipe in recipes:
            if settings.scaling:
                from .scaling import scaling, table

                for each in scaling(recipe, files, encoded, folder, settings, say):
                    report.scaling.append(each)
                    done(table(each))
            else:
                report.recipes.append(_of_recipe(recipe, files, settings, warnings(seen), say))
                done(report.recipes[-1].table())
    return report


def _of_recipe(recipe: Recipe, files: Files, settings: Settings, warned: list[str], say: Callable[[str], None]) -> RecipeReport:
    left_out: list[LeftOut] = []
    specs = _specs(recipe, files, settings, left_out)
    stages = _stages(specs, left_out, say) if settings.stages else {}
    free = available_bytes()
    with ExitStack() as stack:
        arms: dict[str, Arm] = {}
        peak: dict[str, int | None] = {}
        for label, spec in list(specs.items()):
            say(f"{recipe}: starting {label}")
            try:
                arm = arms[label] = stack.enter_context(Arm(spec, label))
                if settings.memory:
                    with PeakMemory(arm.pid) as memory:
                        arm.take(0, arm.ready.ahead + settings.counted)
                    peak[label] = memory.bytes
                arm.rest(1.0)
            except ArmFailed as error:
                _leave_out(label, error, specs, left_out)
        group = Group(arms[DECODE], [arm for label, arm in arms.items() if label != DECODE])
        seen = measure([group], settings.rounds, lambda _: settings.counted, settings.busy, say)
        made = [ArmReport(_name(arm), _title(arm), arm.spec.kind, settings.counted * settings.batch_size, seen[label],
                          peak.get(label), arm.ready.notes) for label, arm in arms.items()]
    warned = [*warned, *crowded(peak.values(), free), *restless(made)]
    return RecipeReport(str(recipe), recipe.fingerprint, _views(recipe), str(files), settings.thread_budget, settings.batch_size,
                        settings.counted, made, left_out, stages, warned)


def _specs(recipe: Recipe, files: Files, settings: Settings, left_out: list[LeftOut]) -> dict[str, Spec]:
    """By label; decoding first."""
    decode = Spec("decode", "", recipe, files, settings.batch_size, settings.thread_budget, settings.prefetch)
    found = {DECODE: decode}
    found.update({f"viewmill {name}": replace(decode, kind="viewmill", name=name) for name in settings.engines})
    for name in settings.named_peers:
        missing = PEERS[name].missing()
        if missing:
            left_out.append(LeftOut(name, missing))
        else:
            found[name] = replace(decode, kind="peer", name=name)
    return found


def _stages(specs: dict[str, Spec], left_out: list[LeftOut], say: Callable[[str], None]) -> dict[str, dict[str, float]]:
    from ..engines import engine

    found = {}
    for label, spec in specs.items():
        if spec.kind != "viewmill":
            continue
        say(f"{spec.recipe}: {label} by stage")
        name = engine(spec.name, spec.recipe).name if spec.name == "auto" else spec.name
        try:
            with Arm(replace(spec, kind="stages", name=name), label) as arm:
                found[f"viewmill {name}"] = arm.ready.stages or {}
        except ArmFailed as error:
            left_out.append(LeftOut(f"stages of viewmill {name}", str(error)))
    return found


def _leave_out(label: str, error: ArmFailed, specs: dict[str, Spec], left_out: list[LeftOut]) -> None:
    """Raises ValueError for bare decoding, without which nothing else means anything."""
    if label == DECODE:
        raise ValueError(f"bare decoding failed: {error}") from error
    del specs[label]
    left_out.append(LeftOut(label, str(error)))


def _name(arm: Arm) -> str:
    return f"viewmill {arm.ready.engine}" if arm.spec.kind == "viewmill" else arm.label


def _title(arm: Arm) -> str:
    return PEERS[arm.spec.name].title if arm.spec.kind == "peer" else _name(arm)


def _views(recipe: Recipe) -> str:
    return " + ".join(f"{group.count} x {group.height}" if group.height == group.width else
                      f"{group.count} x ({group.height}, {group.width})" for group in recipe.groups.values()) + " px"
