"""The steps of a dense task: pictures made ready in threads, losses, an update; resumable at every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...augment.draw import DRAW_VERSION
from ...models.rank_norm import over_ranks
from ...models.training import process
from ...models.training.errors import RunFailure
from ...models.training.step import parallel
from ..encoder import Encoder
from ..resumable import work_through
from .feed import Feed
from .rates import optimizer_of, rate
from .schedules import Schedule
from .surroundings import Surroundings

SHOWN_EVERY = 20  # steps: a look at the losses makes a GPU wait

Losses = Callable[[nn.Module, Sequence[Any]], dict[str, Tensor]]
"""Of a network in training mode and a rank's share of a batch, as the feed makes it: scalars, whose sum is minimised."""


def trained(network: nn.Module, backbone: nn.Module, losses: Losses, feed: Feed[Any], of: Schedule, job: Mapping[str, Any], *,
            encoder: Encoder, place: Surroundings, what: str, save_minutes: float) -> None:
    """Train `network` through all steps of a schedule, from where the last time left off, and leave it in evaluation mode.

    backbone: the part of it that was pretrained. job: plain data that says what is done, beside the schedule and the encoder.
    All ranks call this together. Raises ValueError where ranks cannot share the batch, RunFailure where the loss diverges,
    Stopped where a signal came, after saving.
    """
    world = place.world
    if of.batch_size % world.size:
        raise ValueError(f"batch_size={of.batch_size} is for all ranks together; {world.size} ranks need a whole share each")
    if world.size > 1:
        over_ranks(network, world.device)
    frozen = [part for part in backbone.modules() if isinstance(part, _BatchNorm)] if of.norms == "frozen" else []
    for part in frozen:
        part.requires_grad_(False)
    network.to(world.device)
    work = Training(network, backbone, frozen, losses, feed, of, place)
    process.seed_all(place.seed, world.rank)
    whole = {"encoder": encoder.fingerprint, "seed": place.seed, "draws": DRAW_VERSION, "schedule": asdict(of), **job}
    place.say(f"{what}: {of.steps} steps of {of.batch_size}, {feed.count} pictures, {of.steps * of.batch_size / feed.count:.3g} "
              "epochs")
    work_through(work, of.steps, place.out, whole, world, what=what, minutes=save_minutes, say=place.say, random=True)
    if of.norms == "batch" and of.precise_bn:
        work.measure_norms(of.precise_bn)
    network.eval()


class Training:
    """The work of `work_through`."""

    def __init__(self, network: nn.Module, backbone: nn.Module, frozen: Sequence[nn.Module], losses: Losses, feed: Feed[Any],
                 of: Schedule, place: Surroundings) -> None:
        self.network, self.frozen, self.losses, self.feed, self.of = network, frozen, losses, feed, of
        self.autocast: Callable[[], AbstractContextManager[Any]] = place.autocast
        self.optimizer = optimizer_of(network, backbone, of)
        self._parallel = parallel(network, place.world)

    def step(self, number: int) -> dict[str, float] | None:
        losses = self._losses(self._parallel, number)
        loss = torch.stack(list(losses.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = rate(self.of, number) * group["lr_scale"]
        self.optimizer.step()
        if (number + 1) % SHOWN_EVERY and number + 1 < self.of.steps:
            return None
        shown = {"loss": float(loss.detach()), **{name: float(value.detach()) for name, value in losses.items()}}
        if not abs(shown["loss"]) < float("inf"):
            raise RunFailure(f"the loss is not finite at step {number + 1} of {self.of.steps}; try a lower lr or a longer "
                             "warmup_steps")
        return shown

    @torch.no_grad()
    def measure_norms(self, batches: int) -> None:
        """The statistics of all batch norms in training, anew: means over so many batches of the steps that would come, with the
        weights as they are. Source: precise BN of detectron2, as MoCo's detection has it."""
        norms = [part for part in self.network.modules() if isinstance(part, _BatchNorm) and part not in self.frozen]
        before = [part.momentum for part in norms]
        for part in norms:
            part.reset_running_stats()
            part.momentum = None  # a mean over all that is seen
        for number in range(self.of.steps, self.of.steps + batches):
            self._losses(self.network, number)
        for part, momentum in zip(norms, before, strict=True):
            part.momentum = momentum

    def _losses(self, network: nn.Module, number: int) -> dict[str, Tensor]:
        network.train()
        for part in self.frozen:
            part.eval()
        with self.autocast():
            return self.losses(network, self.feed.step(number))

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


def sides_of(images: Sequence[Tensor], multiple: int) -> tuple[int, int]:
    """The least height and width, multiples of `multiple`, that hold all of images (C, h, w)."""
    height, width = (max(each.shape[axis] for each in images) for axis in (1, 2))
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple
