"""A linear probe on every layer at once: the conv1 .. conv5 tables of the pretext-task papers, for any backbone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.layers import maps
from ..models.training.config import key
from .accuracy import right
from .encoder import Encoder
from .features import evaluating
from .linear.config import HeadsConfig
from .linear.protocol import Probing
from .task import Task

LARGEST_CACHE = 8 << 30


@dataclass(frozen=True)
class LayersConfig(HeadsConfig):
    """A linear probe's keys, of heads on the maps of all layers."""

    protocol: str = key("whose numbers stand where a key is null: rotnet, decoupling, vissl, or a linear probe's", "rotnet")
    pool: Literal["max", "average"] = key("how maps are reduced: max as RotNet has it, average as VISSL", "max")
    values: int = key("about so many of each layer: C channels become round(sqrt(values / C)) a side, never larger", 9000)
    layers: tuple[str, ...] | None = key("those that are probed; null: all that the backbone shows", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.values < 1:
            raise ValueError(f"values needs a whole number of at least 1, got {self.values}")


def run(task: Task, config: LayersConfig) -> dict[str, Any]:
    """What `linear` returns, of the best layer as a split of the training images chooses it ("chosen": {"kind": layer, "lr"}),
    and "layers": the top-1 accuracy of each on the test images, of several rates the one that the split chooses; "values": how
    many each head stands on.

    Raises ValueError, one line, for what the user can mend; Stopped where a signal came, after saving.
    """
    if task.encoder.head_layers:
        raise ValueError(f"head_layers={task.encoder.head_layers} is for knn, linear, finetune and distill; layers are the "
                         "backbone's own, leave it out")
    task.encoder.to(task.device)
    see = Maps(task.encoder, config.pool, config.values, config.layers, task.device)
    of = config.probe()
    needed = 4 * sum(see.dims.values()) * (len(task.train) + len(task.test))
    if of.cached and needed > LARGEST_CACHE:
        raise ValueError(f"cached=true would keep {needed / (1 << 30):.1f} GiB of maps; use cached=false, fewer layers, smaller "
                         "values, or max_images=")
    outcome = Probing(task, config, of, see, "layers").run()
    rates, table = len(of.lr), {}
    for number, layer in enumerate(see.dims):
        own = range(number * rates, (number + 1) * rates)
        best = outcome.test.best[:, outcome.judge.chosen(list(own))]
        table[layer] = float(right(best, outcome.test.label).double().mean())
    return outcome.result() | {"layers": table, "values": dict(see.dims), "pool": config.pool}


class Maps:
    """The maps of an encoder's layers, each reduced to about `values` numbers: what a probe of layers stands on; see `Seen`."""

    def __init__(self, encoder: Encoder, pool: str, values: int, layers: tuple[str, ...] | None, device: torch.device) -> None:
        self.encoder, self.pool, self.values = encoder, pool, values
        channels = encoder.view.instances[0].channels
        with evaluating(encoder), torch.no_grad():
            shown = maps(encoder.module, torch.zeros(1, channels, encoder.image_px, encoder.image_px, device=device))
        strange = [name for name in layers or () if name not in shown]
        if strange:
            raise ValueError(f"layers={strange[0]}: {encoder.name} has {', '.join(shown)}")
        self.layers = tuple(name for name in shown if layers is None or name in layers)
        self.dims: Mapping[str, int] = {name: reduced(shown[name], pool, values).shape[1] for name in self.layers}
        self.name = f"{pool} of {','.join(self.layers)} to {values}"

    def __call__(self, images: Tensor) -> Tensor:
        shown = maps(self.encoder.module, images)
        return torch.cat([reduced(shown[name], self.pool, self.values) for name in self.layers], 1)

    def apart(self, features: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.layers, features.split(list(self.dims.values()), 1), strict=True))


def reduced(shown: Tensor, pool: str, values: int) -> Tensor:
    """(N, C, h, w) to (N, C * s * s), s = round(sqrt(values / C)) a side, at least 1 and never above the map's."""
    side = max(round(math.sqrt(values / shown.shape[1])), 1)
    size = min(side, shown.shape[2]), min(side, shown.shape[3])
    pooled = F.adaptive_max_pool2d(shown, size) if pool == "max" else F.adaptive_avg_pool2d(shown, size)
    return pooled.flatten(1)
