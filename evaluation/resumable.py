"""A training of some steps inside an evaluation: saved now and then and when it is stopped, and gone on with by itself."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist

from ..models.training import checkpoint, process
from ..models.training.errors import RunFailure

SAY_S = 10.0


class Work(Protocol):
    """What is trained. All of its randomness is in its state, or a pure function of the step."""

    def step(self, number: int) -> dict[str, float] | None:
        """Step `number`, from 0; numbers to show, where they are at hand."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def folder_of(job: Mapping[str, Any], out: Path, what: str) -> Path:
    """out/WHAT/JOB. job: plain data that says all of what is done to what; another job has another folder."""
    return out / what / blake2b(json.dumps(job, sort_keys=True).encode(), digest_size=8).hexdigest()


class Stopped(RunFailure):
    """By a signal, after everything was saved: the same command goes on."""

    def __init__(self, number: int, what: str, step: int, total: int, folder: Path) -> None:
        self.signal = number
        super().__init__(f"{what} stopped by {signal.Signals(number).name} after step {step} of {total}, saved in {folder}; give "
                         "the same command again to go on")


def work_through(work: Work, total: int, out: Path, job: Mapping[str, Any], world: process.World, *, what: str,
                 minutes: float = 5.0, say: Callable[[str], None] = print, random: bool = False) -> None:
    """All steps from where the last time left off to `total`. The latest state is kept in out/WHAT/JOB/checkpoints.

    random: the global generators are part of the state, too, those of each rank. All ranks call this together; the state is
    taken to be the same on all of them, and rank 0 writes it. Raises Stopped on SIGTERM or SIGINT, after saving.
    """
    own = folder_of(job, out, what)
    folder, step = own / "checkpoints", 0
    state = _of_rank_0(world, _latest(own) if world.rank == 0 else None)
    if state is not None:
        work.load_state_dict(state["work"])
        step = state["step"]
        if random and world.rank < len(state["random"]):
            checkpoint.set_random_state(state["random"][world.rank])
        if world.rank == 0 and step < total:
            say(f"{what}: going on after step {step} of {total}")

    def save() -> None:
        states = process.gather(world, checkpoint.random_state()) if random else []
        if world.rank == 0:
            checkpoint.save(folder, {"method": f"viewmill eval {what}", "step": step, "job": dict(job), "random": states,
                                     "work": work.state_dict()}, keep=1)

    saved_at = said_at = began = time.monotonic()
    first = step
    with process.stop_signals() as stop:
        while step < total:
            numbers = work.step(step)
            step += 1
            now = time.monotonic()
            if world.rank == 0 and numbers is not None and now - said_at >= SAY_S:
                said_at = now
                shown = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
                say(f"{what}: step {step} of {total}, {shown}, {(step - first) / (now - began):.3g} steps/s")
            due = int(world.rank == 0 and now - saved_at >= 60 * minutes)
            due, stopped = process.agree(world, due, stop.signal)
            if due or stopped or step == total:
                save()
                saved_at = time.monotonic()
            if stopped and step < total:
                raise Stopped(stopped, what, step, total, folder)


def _latest(own: Path) -> dict[str, Any] | None:
    found = checkpoint.find(own, "auto")
    return None if found is None else found[1]


def _of_rank_0(world: process.World, value: Any) -> Any:
    """Rank 0's value on every rank. The files are its own: others may look before they are there, or on another disk."""
    if world.size == 1:
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0, device=torch.device("cpu"))
    return held[0]
