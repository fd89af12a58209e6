"""What other people's trainers gain by our loader: images/s of their data loading, before and after one line is changed.

    viewmill bench plug-in data='imagenet/train-*.tar' trainers=lightly-dino,timm

Before: the trainer's own data set, transform, collate and DataLoader, with as many workers as there are cores. After: `adapt` in
its place, with the same views. Each is a process of its own, and is measured like any arm: in turn, round by round, each right
after bare decoding, batches that were ready before the clock starts not counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ....augment import presets
from ....augment.op import nearest
from ...placement import cores
from ...source import Source, open_source
from ...specimens import FileSource, photographs
from ...words import key, key_lines, split, values_of
from ..arms import Arm, ArmFailed
from ..figures import Spread, paired, spread
from ..files import Files, Folder, at_least, chosen
from ..machine import machine, versions
from ..messages import Spec
from ..rounds import Group, measure
from .trainers import SIDES, TRAINERS, write_pictures

COUNTED = 12
"""Batches of each side over all rounds."""


@dataclass(frozen=True)
class Settings:
    """Raises ValueError, in one line, for a value that cannot be."""

    trainers: str = key("all", f"which, separated by commas: {', '.join(TRAINERS)}")
    threads: int = key(0, "workers before, threads after; 0: all cores")
    rounds: int = key(5, "each measures every side once, in turn")
    batch_size: int = key(64, "images in a batch")
    images: int = key(256, "how many files of the data are used, spread evenly")

    def __post_init__(self) -> None:
        for name, least in (("threads", 0), ("rounds", 1), ("batch_size", 1), ("images", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} needs a whole number >= {least}, got {getattr(self, name)}")
        for name in self.named:
            if name not in TRAINERS:
                raise ValueError(f"trainers: there is no {name!r}; {nearest(name, list(TRAINERS))}")

    @property
    def named(self) -> tuple[str, ...]:
        return tuple(TRAINERS) if self.trainers == "all" else tuple(dict.fromkeys(filter(None, self.trainers.split(","))))

    @property
    def thread_budget(self) -> int:
        return self.threads or cores()


@dataclass(frozen=True)
class Gain:
    """Of one trainer: seconds of each round before and after, for so many images each; why: it was left out."""

    trainer: str
    images: int
    before: list[float]
    after: list[float]
    why: str = ""

    def rates(self, seconds: list[float]) -> Spread:
        """Images/s."""
        return spread([self.images / each for each in seconds])

    @property
    def faster(self) -> Spread:
        """Round by round."""
        return paired(self.before, self.after)

    def line(self) -> str:
        if self.why:
            return f"{self.trainer:16s} left out: {self.why}"
        before, after = (self.rates(seconds) for seconds in (self.before, self.after))
        return f"{self.trainer:16s} {_rate(before):26s} {_rate(after):26s} {self.faster}"


def plug_in(source: Source, settings: Settings, say: Callable[[str], None]) -> list[Gain]:
    """Measure. Raises ValueError for fewer files than a batch."""
    with Folder() as folder:
        files = folder.write(chosen(source, settings.images), settings.thread_budget)
        at_least(files, settings.batch_size)
        write_pictures(files)
        return [_of(name, files, settings, say) for name in settings.named]


def _of(name: str, files: Files, settings: Settings, say: Callable[[str], None]) -> Gain:
    missing = TRAINERS[name].missing()
    if missing:
        return Gain(name, 0, [], [], missing)
    decode = Spec("decode", "", presets.recipe("simclr_pil"), files, settings.batch_size, settings.thread_budget)
    counted = -(-max(COUNTED // settings.rounds, 1) // settings.thread_budget) * settings.thread_budget
    try:
        with ExitStack() as stack:
            arms = []
            for label, kind, which in (("decode", "decode", ""), *((side, "trainer", f"{name} {side}") for side in SIDES)):
                say(f"{name}: starting {label}")
                spec = Spec(kind, which, decode.recipe, files, settings.batch_size, settings.thread_budget)
                arms.append(stack.enter_context(Arm(spec, label)))
                arms[-1].rest(1.0)
            if arms[1].ready.notes != arms[2].ready.notes:
                why = f"its batches are {arms[1].ready.notes[0]}, ours {arms[2].ready.notes[0]}"
                return Gain(name, 0, [], [], why)
            group = Group(arms[0], arms[1:])
            seen = measure([group], settings.rounds, lambda _: counted, False, lambda line: say(f"{name}: {line}"))
    except ArmFailed as error:
        return Gain(name, 0, [], [], str(error))
    before, after = ([each.alone for each in seen[side]] for side in SIDES)
    return Gain(name, counted * settings.batch_size, before, after)


def _rate(rates: Spread) -> str:
    return f"{rates.median:,.0f} ({rates.low:,.0f} to {rates.high:,.0f})"


def manual() -> str:
    return "\n".join(["usage: viewmill bench plug-in [data=...] [KEY=VALUE]...", "",
                      "Images/s of other trainers' data loading, before and after one line is changed: medians of paired rounds,",
                      "with the smallest and largest. Without data: 64 made photographs of 375 x 500 px.", "", "keys:",
                      f"  {'data=':22s} images: tar shards (path, brace pattern, glob) or a folder of images",
                      f"  {'out=':22s} FILE.json: keep every round's seconds", *key_lines(Settings), "", "trainers:",
                      *(f"  {name:22s} {each.title}; {each.missing() or 'installed'}" for name, each in TRAINERS.items())])


def main(words: Sequence[str], say: Callable[[str], None]) -> int:
    """The command. Raises ValueError, one line."""
    if {"--help", "-h"} & set(words):
        print(manual())
        return 0
    places, given, _ = split(words, ())
    if places:
        raise ValueError(f"bench plug-in takes KEY=VALUE, got {places[0]!r}: trainers={places[0]}?")
    data, out = given.pop("data", None), given.pop("out", None)
    settings = Settings(**values_of(Settings, given, ("data", "out")))
    if out is not None and not Path(out).resolve().parent.is_dir():
        raise ValueError(f"out={out}: there is no folder {Path(out).resolve().parent}")
    source = open_source(data) if data is not None else FileSource(photographs(64))
    found = plug_in(source, settings, say)
    say("")
    print(f"{'images/s':16s} {'before':26s} {'after':26s} times as fast")
    for gain in found:
        print(gain.line())
    print(f"{settings.batch_size} images a batch, {settings.rounds} rounds, {settings.thread_budget} workers before, as many "
          f"threads after; {machine()['cpu']}")
    if out is not None:
        names = sorted({name for each in settings.named for name in TRAINERS[each].versions})
        kept: dict[str, Any] = {"machine": machine(), "versions": versions(names), "settings": asdict(settings),
                                "gains": [asdict(gain) for gain in found]}
        Path(out).write_text(json.dumps(kept, indent=1) + "\n")
    return 0
