"""Steps that would spoil a run: how they are noticed, and what is done about them."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..vector_quantizer import VectorQuantizer
from . import checkpoint, pieces, process, resuming
from .config import FaultsConfig
from .errors import RunFailure
from .failing import not_finite, standing

Action = Literal["", "skip", "rewind"]

TO_SIGMA = 1.4826
"""Of a normal law, the standard deviation over the median distance from the median."""
LEAST_SHARE = 0.01
"""The least spread, as a share of the median: losses that hardly move make no spike of every change."""


class Guard:
    """Looks at a run's steps before they move anything; all ranks hold one, and decide alike.

    `remember` before a batch goes through, `judge` and `judge_gradients` afterwards: "" the step is taken; "skip": `undo`, and
    nothing of the batch is left but its place in the data; "rewind": `undo` and `rewind`, too. on: whether any of it is asked
    for; otherwise only a loss that is not finite is noticed, and ends the run. goes_back: whether it may ask for a rewind.
    """

    def __init__(self, config: FaultsConfig, world: process.World, method: nn.Module, out: Path) -> None:
        self._config, self._world, self._method, self._out = config, world, method, out
        self.on = config.nan != "stop" or config.spike is not None
        self.goes_back = "rewind" in (config.nan, config.at_spike if config.spike is not None else "")
        self.reason = ""
        self._losses: deque[float] = deque(maxlen=config.window)
        self._skipped, self._rewound, self._row = 0, 0, 0
        self._latest = math.nan
        self._before = Before(method) if self.on else None

    def remember(self) -> None:
        if self._before is not None:
            self._before.take()

    def undo(self) -> None:
        """Whatever the batch moved on its way through, as it was; what is drawn at random goes on."""
        if self._before is not None:
            self._before.put_back()

    def judge(self, loss: Tensor, step: int) -> Action:
        """loss: of this rank's images. step: the number of the step under way. Raises RunFailure where the run is to stop."""
        if not self.on:
            (bad,) = process.agree(self._world, int(not torch.isfinite(loss.detach()).all()))
            if bad:
                raise RunFailure(not_finite("the loss", step, self._out))
            return ""
        self._latest = process.mean_over_ranks(self._world, {"loss": float(loss.detach())})["loss"]
        if not math.isfinite(self._latest):
            return self._refused(self._config.nan, "the loss is not finite", step)
        if self._config.spike is not None and (words := leaps(self._latest, self._losses, self._config)):
            return self._refused(self._config.at_spike, words, step)
        return ""

    def judge_gradients(self, step: int) -> Action:
        """They are there, and not clipped."""
        gradients = [pieces.local(p.grad) for p in self._method.parameters() if p.grad is not None]
        norms = torch.stack(torch._foreach_norm(gradients)) if gradients else torch.zeros(1)
        (bad,) = process.agree(self._world, int(not bool(torch.isfinite(norms).all())))
        return self._refused(self._config.nan, "a gradient is not finite", step) if bad else ""

    def accept(self) -> None:
        """The step was taken."""
        if not self.on:
            return
        self._losses.append(self._latest)
        self._row = 0

    def rewind(self, optimizer: torch.optim.Optimizer, scaler: Any) -> int:
        """Weights, the optimizer's averages and all else that a checkpoint holds of them, as the last good one has it; its step.
        The stream and the count of steps stay where they are. All ranks call it together."""
        found = resuming.find(self._out, "auto", self._world, self._method, optimizer)
        if found is None:
            raise RunFailure(f"{self.reason}, and there is no checkpoint to go back to; {self._way_out()}")
        state = found[1]
        step, _ = checkpoint.restore(state, self._method, optimizer, _Staying(), self._world.rank)
        if scaler is not None and "scaler" in state:
            scaler.load_state_dict(state["scaler"])
        self._losses.clear()
        self._losses.extend(state.get("guard", {}).get("losses", []))
        return step

    def counts(self) -> dict[str, float]:
        """Since the run began, resumed or not; nothing where nothing is asked for."""
        return {"skipped": float(self._skipped), "rewound": float(self._rewound)} if self.on else {}

    def event(self) -> dict[str, float]:
        """What metrics say of a step that was refused."""
        return {**self.counts(), "refused_loss": self._latest}

    def state_dict(self) -> dict[str, Any]:
        return {"losses": list(self._losses), "skipped": self._skipped, "rewound": self._rewound, "row": self._row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """{}: of a checkpoint that knew no guard."""
        self._losses.extend(state.get("losses", []))
        self._skipped, self._rewound, self._row = (state.get(name, 0) for name in ("skipped", "rewound", "row"))

    def _refused(self, action: Literal["stop", "skip", "rewind"], what: str, step: int) -> Action:
        self.reason = f"step {step}: {what}"
        if action == "stop":
            if what.endswith(" is not finite"):
                raise RunFailure(not_finite(what.removesuffix(" is not finite"), step, self._out))
            raise RunFailure(f"{self.reason}; {standing(self._out)}; {self._way_out()}")
        if action == "rewind":
            if self._rewound >= self._config.rewinds:
                raise RunFailure(f"{self.reason}, after {self._rewound} rewinds, and faults.rewinds={self._config.rewinds}; "
                                 f"{standing(self._out)}; {self._way_out()}")
            self._rewound += 1
            return action
        if self._row >= self._config.in_a_row:
            raise RunFailure(f"{self.reason}, after {self._row} in a row that were skipped, and faults.in_a_row="
                             f"{self._config.in_a_row}; {standing(self._out)}; {self._way_out()}")
        self._skipped += 1
        self._row += 1
        return action

    @staticmethod
    def _way_out() -> str:
        return "try a lower optimizer.lr, a longer schedule.warmup_epochs, or clip_grad=1"


def leaps(loss: float, before: deque[float], config: FaultsConfig) -> str:
    """In words, that a loss lies too far above the last `window` ones, as many as that; "" where it does not, or there are not so
    many yet."""
    if config.spike is None or len(before) < config.window:
        return ""
    median = statistics.median(before)
    spread = TO_SIGMA * statistics.median(abs(each - median) for each in before)
    spread = max(spread, LEAST_SHARE * abs(median))
    if loss <= median + config.spike * spread:
        return ""
    return (f"the loss of {loss:.4g} lies more than {config.spike:g} spreads of {spread:.2g} above {median:.4g}, the median of "
            f"the last {len(before)}")


class Before:
    """What a forward pass may move in a method, to be put back: buffers, also those that no checkpoint names, a quantizer's
    entries, and what modules of ours note beside them. Weights that learn and teachers move later in a step."""

    def __init__(self, method: nn.Module) -> None:
        self._method = method
        self._tensors: list[tuple[dict[str, Any], str, Tensor]] = []
        self._notes: list[tuple[nn.Module, dict[str, Any]]] = []

    def take(self) -> None:
        self._tensors, self._notes = [], []
        for module in self._method.modules():
            held: list[dict[str, Any]] = [module._buffers]
            held += [module._parameters] if isinstance(module, VectorQuantizer) else []
            self._tensors += [(own, name, pieces.local(value.detach()).clone()) for own in held for name, value in own.items()
                              if value is not None]
            if type(module).__module__.startswith("viewmill."):
                self._notes.append((module, {name: value for name, value in vars(module).items()
                                             if isinstance(value, bool | int | float)}))

    @torch.no_grad()
    def put_back(self) -> None:
        for own, name, value in self._tensors:
            pieces.local(own[name].detach()).copy_(value)
        for module, notes in self._notes:
            vars(module).update(notes)


class _Staying:
    """The stream of a run that goes back: it does not."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
