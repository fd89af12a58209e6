"""NNCLR (Dwibedi et al. 2021, arXiv:2104.14548): SimCLR whose positive is another image: the nearest to the view in a queue of
earlier ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses.contrast import batch_contrast
from .backbone import backbone
from .distributed import gather, world_size
from .heads import mlp
from .projected import Projected
from .queue import Queue
from .training.bounds import above_zero, whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class NNCLRConfig:
    backbone: str = key("any of timm's names, or convnet4", "resnet50")
    projector_hidden: int = key("width inside the projector, of three layers with batch norm after each", 2048)
    projector_dim: int = key("width of embeddings and predictions", 256)
    predictor_hidden: int = key("width inside the predictor", 4096)
    temperature: float = key("of the softmax over the batch's predictions", 0.1)
    queue: int = key("embeddings in the support set; the batch of all ranks divides it", 98304)

    def __post_init__(self) -> None:
        whole(self, "projector_hidden", "projector_dim", "predictor_hidden", "queue")
        above_zero(self, "temperature")


class NNCLR(Projected):
    """Group "global" holds two views of each image, (2, B, C, image_px, image_px). z: embeddings, p: predictions, D wide."""

    Config = NNCLRConfig

    def __init__(self, config: NNCLRConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.feature_dim = backbone(config.backbone, image_px, in_chans)
        hidden, dim = config.projector_hidden, config.projector_dim
        self.projector = mlp([self.feature_dim, hidden, hidden, dim], norm="affine")
        self.predictor = mlp([dim, config.predictor_hidden, dim], bias=True)
        self.queue = Queue(config.queue, dim, name="model.queue")
        self.new: Tensor | None = None

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", "accuracy": share of the neighbours that find the prediction of their own image's other view among all of the
        batch, "nearness": mean cosine of embeddings and neighbours, which rises as the queue fills}.

        Several ranks: each returns its neighbours' share of the loss of all ranks' views, times the world size, so that the mean
        over ranks, of losses and of gradients, is that of the whole batch. Raises ValueError unless views are two, or where the
        batch of all ranks does not divide the queue.
        """
        views = batch.views["global"]
        if len(views) != 2:
            raise ValueError(f"nnclr compares two views, the recipe's group 'global' has {len(views)}; use recipe=nnclr")
        # Both in one pass, as in SimCLR: batch norm sees all 2B views together. The paper does not say.
        z = self.projector(self.backbone(views.flatten(0, 1)))
        p_1, p_2 = self.predictor(z).chunk(2)
        z_1, z_2 = z.detach().chunk(2)
        predictions, offset = gather(torch.stack([p_1, p_2], 1))
        self.new, _ = gather(z_1)  # of the first views alone, as in the paper's algorithm
        self.queue.refuse(len(self.new))
        own = torch.arange(len(z_1), device=z_1.device) + offset
        neighbours = [nearest(each, self.queue.keys) for each in (z_1, z_2)]
        loss_1, accuracy_1 = batch_contrast(neighbours[0], predictions[:, 1], own, self.config.temperature)
        loss_2, accuracy_2 = batch_contrast(neighbours[1], predictions[:, 0], own, self.config.temperature)
        share = len(z_1) * world_size() / len(predictions)
        nearness = F.cosine_similarity(torch.cat([z_1, z_2]).float(), torch.cat(neighbours), dim=1).mean()
        return {"loss": (loss_1 + loss_2) / 2 * share, "accuracy": (accuracy_1 + accuracy_2) / 2 * share,
                "nearness": nearness * share}

    def after_step(self, progress: float) -> None:
        """The step's embeddings take the places of the oldest in the queue, after its neighbours were looked for."""
        if self.new is not None:
            self.queue.push(self.new)
            self.new = None


@torch.no_grad()
def nearest(z: Tensor, keys: Tensor) -> Tensor:
    """Of each z (B, D) the nearest by cosine of the keys (K, D), which are of length 1: (B, D). Half precision is compared in
    float32, inside autocast too."""
    with torch.autocast(z.device.type, enabled=False):
        return keys[(F.normalize(z.float(), dim=1) @ keys.T).argmax(1)]
