"""When a run saves, what, and what it says and does where the disk does not take it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from ..rows import whole_rows
from . import checkpoint, pieces, process
from .config import CheckpointConfig
from .errors import RunFailure
from .failing import refuse_not_finite, standing
from .schedule import Plan


class Saver:
    """Writes a run's checkpoints to out/checkpoints; all ranks hold one, rank 0 writes.

    A disk that does not take one ends no run: the half-written file goes, the last good checkpoint stays, `warn` is given one
    line, and the next is tried when it is due. facts: of the run, saved with each. step: of the checkpoint that the run goes on
    from, -1 without.
    """

    def __init__(self, out: Path, config: CheckpointConfig, world: process.World, facts: Mapping[str, Any], step: int,
                 warn: Callable[[str], None]) -> None:
        self._out, self._folder, self._config, self._world = out, out / "checkpoints", config, world
        self._facts, self._warn = dict(facts), warn
        self._tried, self._at = step, time.monotonic()  # on all ranks alike, whoever fails
        self._failure = ""
        if world.rank == 0:
            checkpoint.sweep(self._folder)

    def due(self, steps: Plan, step: int) -> bool:
        """Whether a checkpoint belongs after step number `step`: by steps, by epochs or by the clock, whichever comes first. Rank
        0 asks."""
        of = self._config
        return ((of.steps is not None and step % of.steps == 0)
                or (of.epochs is not None and steps.crosses(step, of.epochs))
                or (of.minutes is not None and time.monotonic() - self._at >= 60 * of.minutes))

    def save(self, step: int, method: nn.Module, optimizer: torch.optim.Optimizer, loader: checkpoint.Stateful,
             scaler: GradScaler | None, moving: Mapping[str, Any]) -> None:
        """The state after a step, unless that was tried already; moving: what else belongs to it. All ranks call it together.
        Raises RunFailure rather than save what is not finite."""
        if step == self._tried:
            return
        refuse_not_finite(method, step, self._out, self._world)
        states, rows = process.gather(self._world, checkpoint.random_state()), whole_rows(method)
        weights, moments = pieces.whole(method), pieces.whole(optimizer)
        self._tried, self._at = step, time.monotonic()
        if self._world.rank:
            return
        state = checkpoint.snapshot(weights, moments, loader, states, rows) | self._facts | dict(moving) | {"step": step}
        state |= {} if scaler is None else {"scaler": scaler.state_dict()}
        try:
            checkpoint.save(self._folder, state, self._config.keep)
        except (OSError, RuntimeError) as error:  # torch hides the first behind the second
            if (reason := of_the_disk(error)) is None:
                raise
            self._failure = (f"the checkpoint of step {step} could not be written to {self._folder}: {reason}; "
                             f"{standing(self._out)}")
            self._warn(f"{self._failure}; the run goes on, and tries again when the next is due")
        else:
            self._failure = ""

    def finish(self) -> None:
        """At the end of a run, by all ranks together. Raises RunFailure where the last checkpoint could not be written."""
        failure = process.gather(self._world, self._failure)[0]
        if failure:
            raise RunFailure(f"{failure}; make room, and the same command goes on from there")


def of_the_disk(error: BaseException) -> str | None:
    """What the operating system said, where an error came of that; None where it did not."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            return seen.strerror or str(seen)
        seen = seen.__cause__ or seen.__context__
    return None
