"""SwAV (Caron et al. 2020, arXiv:2006.09882): a batch is shared out among prototypes, evenly, and from every other crop of an
image it is foretold which prototype the image was assigned to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..losses.dino import dino_loss, normalized_entropy
from ..losses.sinkhorn import sinkhorn
from .backbone import backbone, unit_gains
from .crops import crops_of, embed_crops
from .distributed import add_up, gather, mean_of_rows, rank, world_size
from .heads import mlp
from .projected import Projected
from .queue import Queue
from .training.bounds import above_zero, not_negative, whole
from .training.config import key
from .views import Views
from .vit import open_to_sizes

ASSIGNED = 2
"""Views that have a queue."""


@dataclass(frozen=True)
class SwAVConfig:
    backbone: str = key("any of timm's names, or convnet4; local views need a plain ViT, a Swin or a "
                        "convolutional network", "resnet50")
    projector_hidden: int = key("width inside the projector", 2048)
    projector_dim: int = key("width of the embeddings that are compared with the prototypes", 128)
    prototypes: int = key("how many, K", 3000)
    temperature: float = key("of the softmax that foretells", 0.1)
    epsilon: float = key("of the assignment: the smaller, the harder; where the loss stays at ln K, 0.03", 0.05)
    iterations: int = key("of the assignment", 3)
    queue: int = key("embeddings of earlier batches that are assigned too, of each global view: 3840 for 256 images a step", 0)
    queue_epoch: int = key("epoch from which on they are collected; they count once they are so many", 15)
    frozen_epochs: float = key("first epochs in which the prototypes are held", 1.0)
    loss_scale: Literal["official", "paper"] = key("official: mean over pairs of crops; paper: their sum", "official")

    def __post_init__(self) -> None:
        whole(self, "projector_hidden", "projector_dim", "iterations")
        whole(self, "prototypes", least=2)
        above_zero(self, "temperature")
        not_negative(self, "queue", "queue_epoch", "frozen_epochs")
        if not self.epsilon >= 0.025:
            raise ValueError(f"model.epsilon needs a number of at least 0.025, got {self.epsilon}: below, float32 holds no "
                             "exp(cosine / epsilon)")


class SwAV(Projected):
    """Group "global" holds the G views that are assigned, (G, B, C, image_px, image_px), two in all published recipes; group
    "local", where there is one, more views that only foretell, of one other size. V views in all, K prototypes."""

    Config = SwAVConfig

    def __init__(self, config: SwAVConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.feature_dim = backbone(config.backbone, image_px, in_chans)
        open_to_sizes(self.backbone)
        unit_gains(self.backbone)
        self.projector = mlp([self.feature_dim, config.projector_hidden, config.projector_dim], hidden_bias=True, bias=True)
        self.prototypes = nn.Linear(config.projector_dim, config.prototypes, bias=False)
        self.epoch, self.full = 0.0, False
        # Of zeros at first, which tell of places that are not taken yet.
        queues = [Queue(config.queue, config.projector_dim, name="model.queue") for _ in range(ASSIGNED if config.queue else 0)]
        for queue in queues:
            queue.keys.zero_()
        self.queues: Any = nn.ModuleList(queues)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", "assignment_entropy": mean entropy of the assignments over ln K, "marginal_entropy": entropy over ln K of what
        is foretold, in the mean over all global views: 0 where all images have one prototype, "kl": from the assignments to what
        is foretold, nats}. Assignments of entropy 1, or a kl of 0 with them: prototypes say nothing.

        Fills the queue. Several ranks: each returns its images' share of the loss times the world size, so that the mean over
        ranks, of losses and of gradients, is that of the whole batch. Raises ValueError unless there are two views at least, or
        where the backbone takes none of the local ones' size, a rank has one image, or the batch does not divide the queue.
        """
        crops = crops_of(batch, "swav")
        given = len(crops[0])
        if self.queues and given != ASSIGNED:
            raise ValueError(f"model.queue={self.config.queue} is for two views in group 'global', the recipe has {given}; "
                             "use model.queue=0")
        z = embed_crops(self.backbone, self.projector, crops, "swav")
        with torch.autocast(z.device.type, enabled=False):  # exp(score / epsilon) would be off by tenths in half precision
            scores = F.linear(z, self.prototypes.weight.float())
            assigned = self.assignments(scores.detach()[:given])
            # Pairs, means and cross entropy are DINO's, with assignments in the teacher's place.
            loss = dino_loss(scores, assigned, self.config.temperature)
            with torch.no_grad():
                mean, share = mean_of_rows((scores[:given] / self.config.temperature).softmax(-1).flatten(0, 1))
                entropy = normalized_entropy(assigned).mean()
        if self.training and self.queues:
            keys, _ = gather(z.detach()[:given].transpose(0, 1))
            for view, queue in enumerate(self.queues):
                queue.refuse(len(keys))  # at once, and not when they are first collected
                if self.epoch >= self.config.queue_epoch:
                    queue.push(keys[:, view])
        kl = loss.detach() - entropy * math.log(self.config.prototypes)
        pairs = given * (len(z) - 1) if self.config.loss_scale == "paper" else 1
        return {"loss": loss * share * pairs, "assignment_entropy": entropy * share,
                "marginal_entropy": normalized_entropy(mean), "kl": kl * share}

    @torch.no_grad()
    def assignments(self, scores: Tensor) -> Tensor:
        """scores (G, B, K) to (G, B, K) that sum to 1: each view's batch, of all ranks, shared out among the prototypes together
        with what is in that view's queue, once that is full."""
        # The last place is taken last. A look at it waits for the device: none once it was taken.
        self.full = self.full or (len(self.queues) > 0 and all(bool(queue.keys[-1].any()) for queue in self.queues))
        assigned = []
        for view, rows in enumerate(scores):
            if self.full:
                # This rank's part of the queue: which images are whose does not matter to what is summed over ranks.
                earlier = self.queues[view].keys[rank() :: world_size()]
                rows = torch.cat([F.linear(earlier, self.prototypes.weight.float()), rows])
            q = sinkhorn(rows, self.config.epsilon, iterations=self.config.iterations, add_up=add_up)
            assigned.append(q[len(rows) - scores.shape[1] :])
        return torch.stack(assigned)

    def before_step(self, epoch: float) -> None:
        self.epoch = epoch
        with torch.no_grad():
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def after_backward(self) -> None:
        # No gradient instead of one of zero: then neither momentum nor decay moves them.
        if self.epoch < self.config.frozen_epochs:
            self.prototypes.weight.grad = None
