"""Where a dense task runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...models.training.process import World
from ..task import ALONE


@dataclass(frozen=True)
class Surroundings:
    """out: the folder of what an interrupted run goes on from. threads: that make pictures ready."""

    out: Path
    world: World = ALONE
    threads: int = 1
    seed: int = 0
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    say: Callable[[str], None] = print
