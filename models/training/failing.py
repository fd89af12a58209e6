"""What is said of a run that cannot go on, or should not go on so, and what of it still stands."""

from __future__ import annotations

import shlex
from pathlib import Path

import torch
from torch import nn

from . import checkpoint, pieces, process
from .config import RunConfig, shown
from .errors import RunFailure, speaker


def refuse_not_finite(method: nn.Module, step: int, out: Path, world: process.World) -> None:
    """Raise RunFailure rather than save weights that a gradient already spoiled; on all ranks alike, whoever holds them."""
    spoiled = [name for name, value in method.state_dict().items()
               if value.is_floating_point() and not bool(torch.isfinite(pieces.local(value)).all())]
    found = [name for names in process.gather(world, spoiled) for name in names]
    if found:
        raise RunFailure(not_finite(found[0], step, out))


def not_finite(what: str, step: int, out: Path) -> str:
    way_out = "try a lower optimizer.lr, a longer schedule.warmup_epochs, or clip_grad=1"
    return f"{what} is not finite at step {step}; {standing(out)}; {way_out}"


def standing(out: Path) -> str:
    """What is left of a run that fails."""
    good = checkpoint.written(out / "checkpoints")
    return f"the last good checkpoint, {good[-1].name}, still stands" if good else "no checkpoint had been written"


def too_late(asked: str, within_s: float, out: Path) -> str:
    """That a run did not stop in time, and what it stopped at. asked: the signal's name."""
    return (f"{speaker()} {asked} came, and the step or what follows it did not end within stop_within_s={within_s:g} s, so this "
            f"process does; {standing(out)}; the same command goes on")


def starving(share: float, config: RunConfig) -> str:
    """That a run waits for its data, and how to find out why."""
    return (f"waiting for data takes {share:.0%} of the time, more than data_wait_budget={config.data_wait_budget:g}; see why: "
            f"viewmill bench --diagnose {config.method} data={shlex.quote(shown(config.data))}, with this run's keys")
