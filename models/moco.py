"""MoCo v1 and v2 (He et al. 2019, arXiv:1911.05722; Chen et al. 2020, arXiv:2003.04297): a view finds the other one's key among a
queue of keys, all made by a slowly moving average of the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..losses.contrast import batch_contrast, queue_contrast
from .backbone import backbone, unit_gains
from .distributed import gather, rank, world_size
from .ema import follow, follower
from .heads import mlp
from .projected import Projected
from .queue import Queue
from .shared_draws import SharedDraws
from .shuffled_bn import collected, dealt, in_parts, refuse_parts
from .training.bounds import above_zero, from_0_to_1, whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class MoCoConfig:
    backbone: str = key("any of timm's names, or convnet4", "resnet50")
    projector_layers: int = key("linear layers of the projector: 1 in MoCo v1, 2 in v2", 1)
    projector_hidden: int | None = key("width inside the projector; null: the backbone's", None)
    projector_dim: int = key("width of queries and keys", 128)
    temperature: float = key("of the softmax over the key and its negatives: 0.07 in v1, 0.2 in v2, 0.1 on CIFAR-10", 0.07)
    dictionary: Literal["queue", "batch"] = key("where negatives come from: queue; or batch: the other keys of the step, whose "
                                                "encoder is trained too (the paper's end-to-end)", "queue")
    queue: int = key("keys in the queue, K; the batch of all ranks divides it", 65536)
    momentum: float = key("of the key encoder's moving average; 0: the query encoder as it is", 0.999)
    shuffle: bool = key("deal the keys' images out among ranks and parts, so that batch norm betrays no key", True)
    bn_splits: int = key("parts of each rank's batch with a batch norm of their own; a single device needs several, for example "
                         "8, to stand for as many devices", 1)

    def __post_init__(self) -> None:
        whole(self, "projector_layers", "projector_hidden", "projector_dim", "queue", "bn_splits")
        above_zero(self, "temperature")
        from_0_to_1(self, "momentum")


class MoCo(Projected):
    """Group "global" holds the query's and the key's view of each image, (2, B, C, image_px, image_px). D their width,
    K the queue's length."""

    Config = MoCoConfig

    def __init__(self, config: MoCoConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.feature_dim = backbone(config.backbone, image_px, in_chans)
        unit_gains(self.backbone)
        inside = [config.projector_hidden or self.feature_dim] * (config.projector_layers - 1)
        self.projector = mlp([self.feature_dim, *inside, config.projector_dim], hidden_bias=True, hidden_norm=False, bias=True)
        # In train mode like the query's: batch norm uses each batch's statistics.
        self.key = follower(self.query).requires_grad_(config.dictionary == "batch")
        self.draws = SharedDraws()
        self.queue = Queue(config.queue, config.projector_dim, name="model.queue") if config.dictionary == "queue" else None
        self.new: Tensor | None = None

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", "accuracy": share of the queries to which their own key is the nearest of all, "cosine": mean cosine of
        query and own key}. An accuracy near 1 within the first epochs, with features that classify poorly: batch norm leaks.

        Several ranks, each with as many images: each returns its queries' mean, so that the mean over ranks, of losses and of
        gradients, is that of the whole batch. Raises ValueError unless views are two, or where batch norm or the queue does not
        fit the batch.
        """
        views = batch.views["global"]
        if len(views) != 2:
            raise ValueError(f"moco compares two views, the recipe's group 'global' has {len(views)}; use recipe=moco")
        if self.training:
            refuse_parts(self.query, len(views[0]), self.config.bn_splits, self.config.shuffle)
        q = in_parts(self.query, views[0], self.parts)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.queue is None):
            keys = self.keys_of(views[1])
        own = torch.arange(len(q), device=q.device) + rank() * len(q)
        if self.queue is None:
            loss, accuracy = batch_contrast(q, keys, own, self.config.temperature)
        else:
            self.queue.refuse(len(keys))
            loss, accuracy = queue_contrast(q, keys[own], self.queue.keys, self.config.temperature)
        self.new = keys.detach()
        return {"loss": loss, "accuracy": accuracy, "cosine": F.cosine_similarity(q.detach(), self.new[own]).mean()}

    @property
    def parts(self) -> int:
        return self.config.bn_splits if self.training else 1

    def keys_of(self, images: Tensor) -> Tensor:
        """(B, C, image_px, image_px) to keys of all ranks' images, in order of rank, (B * ranks, D)."""
        places = len(images) * world_size()
        if not (self.training and self.config.shuffle and self.parts * world_size() > 1):
            return gather(in_parts(self.key, images, self.parts))[0]
        order = torch.randperm(places, generator=self.draws.generator(torch.device("cpu")))
        return collected(in_parts(self.key, dealt(images, order), self.parts), order)

    def after_step(self, progress: float) -> None:
        """The key encoder follows, and the step's keys join the queue. In the authors' code the first happens before the next
        step's keys are made, which is the same (before the first step there is nothing to follow)."""
        if self.queue is not None and self.new is not None:
            follow(self.key, self.query, self.config.momentum)
            self.queue.push(self.new)
            self.new = None

    @property
    def query(self) -> nn.Sequential:
        """The encoder that makes queries: backbone and projector."""
        return nn.Sequential(self.backbone, self.projector)
