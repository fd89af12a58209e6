"""What a run saw, as a table, and as JSON with every round's number."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .figures import Spread, paired, spread
from .rounds import Round

FORMAT = 1
KEPT = ("name", "title", "kind", "images", "peak_bytes", "notes")
"""Of an arm, besides its rounds; all else is computed."""
RESTLESS = 0.05
"""Of a core: more that idle arms used beside one that was measured is worth a warning."""
WIDE = 0.5
"""Spread of a ratio, in medians, from which a run is called restless."""


@dataclass(frozen=True)
class ArmReport:
    """kind: "decode", "viewmill" or "peer"; images: of one round; peak_bytes: of all its processes (the sum
    of proportional set sizes, pages of files once), None where the system does not tell."""

    name: str
    title: str
    kind: str
    images: int
    rounds: list[Round]
    peak_bytes: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def ms(self) -> Spread:
        """Milliseconds an image by the clock."""
        return spread([1000 * each.alone / self.images for each in self.rounds])

    @property
    def rate(self) -> float:
        """Images a second."""
        return 1000 / self.ms.median

    @property
    def cpu_ms(self) -> Spread | None:
        """Processor time an image, of all processes."""
        seen = [1000 * each.cpu / self.images for each in self.rounds if each.cpu is not None]
        return spread(seen) if seen else None

    @property
    def trainer_ms(self) -> Spread:
        """Processor time an image that the arm takes from its trainer's process."""
        return spread([1000 * each.trainer_cpu / self.images for each in self.rounds])

    @property
    def ratio(self) -> Spread:
        """Its time over bare decoding's, of the same round."""
        return paired([each.alone for each in self.rounds], [each.decode for each in self.rounds])

    @property
    def beside_busy(self) -> Spread | None:
        """Its rate beside a busy trainer over its rate alone, of the same round."""
        both = [each for each in self.rounds if each.busy is not None]
        return paired([each.alone for each in both], [each.busy or 0.0 for each in both]) if both else None

    @property
    def others(self) -> float:
        """The largest share of a core that idle arms used while this one was measured."""
        return max([each.others / each.alone for each in self.rounds if each.others is not None], default=0.0)

    def as_dict(self) -> dict[str, Any]:
        computed = {name: getattr(self, name) for name in ("ms", "cpu_ms", "trainer_ms", "ratio", "beside_busy")}
        return {**asdict(self), "images_per_second": self.rate,
                **{name: None if value is None else asdict(value) for name, value in computed.items()}}


@dataclass(frozen=True)
class LeftOut:
    name: str
    why: str


@dataclass(frozen=True)
class RecipeReport:
    """fingerprint: of the recipe, changes included; files: in words; stages: {engine: {stage: ms an image of one thread}}."""

    recipe: str
    fingerprint: str
    views: str
    files: str
    threads: int
    batch_size: int
    batches: int
    arms: list[ArmReport]
    left_out: list[LeftOut] = field(default_factory=list)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def first_engine(self) -> ArmReport | None:
        return next((arm for arm in self.arms if arm.kind == "viewmill"), None)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "arms": [arm.as_dict() for arm in self.arms]}

    def table(self) -> str:
        lines = [f"{self.recipe}: {self.views}",
                 f"{self.threads} threads or workers; {self.files}, in memory; {len(self.arms[0].rounds)} paired rounds of "
                 f"{self.batches} batches of {self.batch_size}, float32", ""]
        rows = [["", "images/s", "ms an image", "times the decode", "beside busy", "CPU ms", "trainer's", "peak MB",
                 "/ viewmill"]]
        best = self.first_engine
        for arm in sorted(self.arms, key=lambda arm: -arm.rate):
            against = "" if best is None or arm is best else _times(
                paired([each.alone for each in arm.rounds], [each.alone for each in best.rounds]).median)
            rows.append([arm.name, f"{arm.rate:.0f}", str(arm.ms), str(arm.ratio) if arm.kind != "decode" else "1",
                         "" if arm.beside_busy is None else f"{arm.beside_busy.median:.2f}",
                         "" if arm.cpu_ms is None else f"{arm.cpu_ms.median:.2f}", f"{arm.trainer_ms.median:.2f}",
                         "not measured" if arm.peak_bytes is None else f"{arm.peak_bytes / 1e6:.0f}", against])
        lines += aligned(rows)
        lines += [f"  {engine} by stage, CPU ms an image in one thread: "
                  + ", ".join(f"{stage} {ms:.3f}" for stage, ms in found.items()) for engine, found in self.stages.items()]
        lines += [f"  {arm.name}: {note}" for arm in self.arms if arm.kind == "peer" for note in arm.notes]
        lines += [f"  left out: {each.name}: {each.why}" for each in self.left_out]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)


LEGEND = """\
ms an image, times the decode: the median round, with the smallest and largest; beside busy: its rate beside a trainer that
runs pure Python, over its rate alone; CPU ms: processor time an image of all its processes, trainer's: of the trainer's own;
peak MB: of all its processes, what they share counted once; / viewmill: its time over that of viewmill's first engine."""


@dataclass(frozen=True)
class BenchReport:
    """machine, versions, settings: what is needed to read the figures. scaling: see `scaling`."""

    machine: dict[str, Any]
    versions: dict[str, str]
    settings: dict[str, Any]
    recipes: list[RecipeReport] = field(default_factory=list)
    scaling: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self), "recipes": [recipe.as_dict() for recipe in self.recipes]}

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.as_dict(), indent=1))

    def about(self) -> str:
        seen = ", ".join(f"{key} {value}" for key, value in self.machine.items())
        return f"machine: {seen}\nversions: " + ", ".join(f"{key} {value}" for key, value in self.versions.items())

    def __str__(self) -> str:
        from .scaling import table

        blocks = [recipe.table() for recipe in self.recipes]
        if blocks:
            blocks.append(LEGEND)
        return "\n\n".join([*blocks, *(table(each) for each in self.scaling), self.about()])


def loaded(path: Path) -> BenchReport:
    """A report that `save` kept. Raises ValueError, in one line, for another file."""
    try:
        kept = json.loads(path.read_text())
        if kept["format"] != FORMAT:
            raise ValueError(f"{path}: a report of format {kept['format']}, this version reads {FORMAT}: measure again")
        recipes = []
        for each in kept["recipes"]:
            arms = [ArmReport(rounds=[Round(**r) for r in arm["rounds"]], **{name: arm[name] for name in KEPT})
                    for arm in each["arms"]]
            recipes.append(RecipeReport(**{**each, "arms": arms, "left_out": [LeftOut(**one) for one in each["left_out"]]}))
        return BenchReport(kept["machine"], kept["versions"], kept["settings"], recipes, kept["scaling"])
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a report of viewmill bench ({type(error).__name__}: {error})") from None


def restless(arms: list[ArmReport]) -> list[str]:
    """What the rounds themselves say against their own figures."""
    found = []
    for arm in arms:
        if arm.others > RESTLESS:
            found.append(f"while {arm.name} was measured, idle arms used up to {arm.others:.2f} of a core")
        if arm.kind != "decode" and arm.ratio.width > WIDE:
            found.append(f"{arm.name}: its ratio to decoding went from {arm.ratio.low:.2f} to {arm.ratio.high:.2f}: "
                         "the machine was not quiet, take more rounds")
    return found


def crowded(peak_bytes: Iterable[int | None], available: int) -> list[str]:
    """available: bytes that the machine could give before the arms were started, which all live at once."""
    held = sum(each or 0 for each in peak_bytes)
    return [f"the arms together held {held / 1e9:.1f} GB, of {available / 1e9:.1f} GB that were free: measure fewer at once"] \
        if held > available else []


def aligned(rows: list[list[str]]) -> list[str]:
    """The first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  " + "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                             for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]


def _times(value: float) -> str:
    return f"{value:.2f}"
