"""Ablations on the small budget: each a file that says what is asked and which runs answer it; `viewmill bench study`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from ....augment.op import nearest
from ....models.training.config import describe
from ....models.training.manual import rows
from ..settings import Arm, BenchConfig, Settings, config_of, small


@dataclass(frozen=True)
class Study:
    """question: what is asked, in a sentence or two. runs: (name, method, words), in the order of the table; a run trains by the
    small run of its method, then by its words. A run stands beside the untrained network of the first that has its method."""

    question: str
    runs: tuple[tuple[str, str, tuple[str, ...]], ...]

    def arms(self, further: Sequence[str] = ()) -> tuple[Arm, ...]:
        """further: words for all."""
        first: dict[str, str] = {}
        return tuple(Arm(name, method, (*small(method), *words, *further), first.setdefault(method, name))
                     for name, method, words in self.runs)


def names() -> list[str]:
    return sorted(found.name for found in iter_modules(__path__))


def study(name: str) -> Study:
    """Raises ValueError for an unknown study, naming the nearest."""
    if name not in names():
        raise ValueError(f"unknown study {name!r}; {nearest(name, names())}")
    found: Study = import_module(f".{name}", __package__).STUDY
    for run, _, _ in found.runs:
        assert re.fullmatch(r"[\w.+-]+", run), f"{name}: a run's name becomes a file's: {run!r}"
    return found


def read(words: Sequence[str]) -> Settings:
    """What `NAME data=... test_data=... [KEY=VALUE]...` asks for. Raises ValueError, one line."""
    asked = [word for word in words if "=" not in word]
    if len(asked) != 1:
        raise ValueError(f"which study? viewmill bench study NAME data=... [KEY=VALUE ...], NAME one of {', '.join(names())}")
    found = study(asked[0])
    for_all = [word.removeprefix("train.") for word in words if word.startswith("train.")]
    own = [word for word in words if "=" in word and not word.startswith("train.")]
    keys = {word.partition("=")[0] for word in own}
    own = [*([] if "protocols" in keys else ["protocols=[]"]), *([] if "out" in keys else [f"out=runs/{asked[0]}"]), *own]
    return Settings(config_of(own, ["train.KEY"]), found.arms(for_all), tuple(own), ("study", *words), title=found.question)


def manual() -> str:
    lines = [HEAD, "Studies:"]
    for name in names():
        found = study(name)
        lines += [f"  {name}: {found.question}",
                  *(f"    {run:<24} {method} {' '.join(words)}" for run, method, words in found.runs)]
    return "\n".join([*lines, "", "Keys:", *rows(describe(BenchConfig(data="", test_data="")))])


HEAD = """Usage: viewmill bench study NAME data=... test_data=... [KEY=VALUE]...

Train the runs of a study on 32 px pictures, each by the small run of its method with a few words changed, and judge them by the
method's metric beside its untrained network, as `viewmill bench methods` does: with several seeds, kept, resumable, in
out/table.md. train.KEY=VALUE is a word of every training.

  viewmill bench study moco_momentum data='cifar10/train-*.tar' test_data='cifar10/test-*.tar' out=runs/moco_momentum
"""
