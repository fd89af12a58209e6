"""When a run saves, what, and what it says and does where the disk does not take it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.amp.grad_scaler import GradScaler

from ..rows import ShardedRows, whole_rows
from . import checkpoint, pieces, process
from .config import CheckpointConfig
from .errors import RunFailure, of_the_disk
from .failing import refuse_not_finite, standing
from .schedule import Plan
from .staging import copied


class Saver:
    """Writes a run's checkpoints to out/checkpoints: rank 0 whole ones, or all ranks together their parts.

    A disk that does not take one ends no run: the half-written file goes, the last good checkpoint stays, `warn` is given one
    line, and the next is tried when it is due. facts: of the run, saved with each. step: of the checkpoint that the run goes on
    from, -1 without. shared_out: whether ranks hold a part of the weights each.
    """

    def __init__(self, out: Path, config: CheckpointConfig, world: process.World, facts: Mapping[str, Any], step: int,
                 warn: Callable[[str], None], *, shared_out: bool = False) -> None:
        self._out, self._folder, self._config, self._world = out, out / "checkpoints", config, world
        self._facts, self._warn = dict(facts), warn
        self._tried, self._at = step, time.monotonic()  # on all ranks alike, whoever fails
        self._failure = ""
        self._writing: _Writing | None = None
        self._parts = config.form == "parts" or (config.form == "auto" and shared_out)
        self._group: Any = dist.new_group(backend="gloo") if self._parts and world.size > 1 else None
        if world.rank == 0:
            checkpoint.sweep(self._folder)

    def due(self, steps: Plan, step: int) -> bool:
        """Whether a checkpoint belongs after step number `step`: by steps, by epochs or by the clock, whichever comes first. Rank
        0 asks, after each step, and hears of a write that failed meanwhile."""
        if self._writing is not None and not self._writing.is_alive():
            self.settle()
        of = self._config
        return ((of.steps is not None and step % of.steps == 0)
                or (of.epochs is not None and steps.crosses(step, of.epochs))
                or (of.minutes is not None and time.monotonic() - self._at >= 60 * of.minutes))

    def save(self, step: int, method: nn.Module, optimizer: torch.optim.Optimizer, loader: checkpoint.Stateful,
             scaler: GradScaler | None, moving: Mapping[str, Any]) -> None:
        """The state after a step, unless that was tried already; moving: what else belongs to it. All ranks call it together.
        With config.background it returns once the state is copied, and the one before is written. Raises RunFailure rather than
        save what is not finite."""
        if step == self._tried:
            return
        self.settle()
        refuse_not_finite(method, step, self._out, self._world)
        facts = self._facts | dict(moving) | {"step": step, "parameters": checkpoint.parameters_of(method, optimizer)}
        facts |= {} if scaler is None else {"scaler": scaler.state_dict()}
        states = process.gather(self._world, checkpoint.random_state())
        write: Callable[[], Any]
        if self._parts:
            own = {name: part.local for name, part in method.named_modules() if isinstance(part, ShardedRows)}
            state = checkpoint.snapshot(method, optimizer, loader, states, {}) | facts
            state = copied(state, whole=self._world.rank == 0) | {"rows": copied(own)}
            write = partial(checkpoint.save_parts, self._folder, state, self._config.keep, self._group)
        else:
            state = checkpoint.snapshot(pieces.whole(method), pieces.whole(optimizer), loader, states, whole_rows(method)) | facts
            state = copied(state) if self._config.background and self._world.rank == 0 else state
            write = partial(checkpoint.save, self._folder, state, self._config.keep)
        self._tried, self._at = step, time.monotonic()
        if self._parts or self._world.rank == 0:
            self._writing = _Writing(step, write)
            if self._config.background:
                self._writing.start()
            else:
                self._writing.run()
                self.settle()

    def settle(self) -> None:
        """Wait for what is being written, and say what came of it."""
        if self._writing is None:
            return
        done, self._writing = self._writing, None
        if done.is_alive():
            done.join()
        if done.error is None:
            self._failure = ""
            return
        if (found := of_the_disk(done.error)) is None:
            raise done.error
        self._failure = (f"the checkpoint of step {done.step} could not be written to {self._folder}: "
                         f"{found.strerror or found}; {standing(self._out)}")
        self._warn(f"{self._failure}; the run goes on, and tries again when the next is due")

    def close(self) -> None:
        """Wait for what is being written, however the run ends, so that it is not lost."""
        with suppress(Exception):  # which must not hide why the run ends
            self.settle()

    def finish(self) -> None:
        """At the end of a run, by all ranks together: wait for what is being written. Raises RunFailure where the last checkpoint
        could not be."""
        self.settle()
        failure = process.gather(self._world, self._failure)[0]
        if failure:
            raise RunFailure(f"{failure}; make room, and the same command goes on from there")


class _Writing(threading.Thread):
    """A checkpoint on its way to the disk. error: what came of it, None where it stands."""

    def __init__(self, step: int, write: Callable[[], Any]) -> None:
        super().__init__(name=f"viewmill-checkpoint-{step}", daemon=True)
        self.step = step
        self.error: Exception | None = None
        self._write = write

    def run(self) -> None:
        try:
            self._write()
        except Exception as error:
            self.error = error
        finally:
            del self._write  # and the copy with it
