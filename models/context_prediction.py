"""Context Prediction (Doersch, Gupta, Efros 2015, arXiv:1505.05192): which of the eight neighbours of this patch is that one?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .distributed import add_up, world_size
from .method import Method
from .tiles import HeadNorm, classifier, embed_tiles, tile_backbone
from .training.bounds import from_0_to_1, whole
from .training.config import key
from .views import Views

NEIGHBOURS = 8


@dataclass(frozen=True)
class ContextPredictionConfig:
    backbone: str = key("any of timm's names, alexnet or convnet4; it sees one patch at a time", "alexnet")
    hidden_dim: int = key("width of the hidden layers of the classifier, which stands on two patches side by side", 4096)
    hidden_layers: int = key("how many there are", 2)
    hidden_norm: Literal["affine", "plain", "none"] = key(
        "batch norm of the first of them: affine, plain (without gain and shift, by which layers could fall silent) or none; "
        "further ones have none", "plain")
    dropout: float = key("after each of them", 0.0)
    reduction: Literal["sum", "mean"] = key("of the pairs' losses; the published rate is for their sum", "sum")

    def __post_init__(self) -> None:
        whole(self, "hidden_dim", "hidden_layers")
        from_0_to_1(self, "dropout")


class ContextPrediction(Method):
    """Group "patch" holds patches of each image, (V, B, C, tile_px, tile_px), and the recipe names pairs of them, each with the
    number of the neighbour that the second is of the first."""

    Config = ContextPredictionConfig
    whole_batch = None
    encoder: nn.Module

    def __init__(self, config: ContextPredictionConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.feature_dim = tile_backbone(config.backbone, image_px, in_chans)
        hidden = [config.hidden_dim] * config.hidden_layers
        norms: list[HeadNorm] = [config.hidden_norm if number == 0 else "none" for number in range(config.hidden_layers)]
        self.classifier = classifier([2 * self.feature_dim, *hidden, NEIGHBOURS], norms=norms, dropout=config.dropout)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": cross-entropy of the neighbour, summed over all pairs or their mean, "pair_loss": that mean in nats,
        "accuracy": share of the pairs whose neighbour is found; chance is 1 / 8}.

        Several ranks, whose images may have different numbers of pairs: each returns its share of the loss times the world size.
        Raises ValueError where the recipe pairs no patches, pairs them otherwise, or these images have no pair.
        """
        tiles = batch.views["patch"]
        ends, label = pairs_of(batch, tiles.shape[1])
        if int(label.max()) >= NEIGHBOURS:
            raise ValueError(f"context tells {NEIGHBOURS} neighbours apart, and the recipe's pair op has class "
                             f"{int(label.max())}; use recipe=context")
        # Patches without a neighbour, and those that a picture has not, are left out: batch norm sees real ones alone.
        used, ends = ends.unique(return_inverse=True)
        used, ends, label = (of.to(tiles.device, non_blocking=True) for of in (used, ends, label))
        z = embed_tiles(self.encoder, tiles.flatten(0, 1)[used][None])[0]
        logits = self.classifier(torch.cat([z[ends[0]], z[ends[1]]], 1))
        total = F.cross_entropy(logits.float(), label, reduction="sum")
        pairs = add_up(total.new_tensor(float(len(label))))
        share = world_size() / pairs
        loss = total * (world_size() if self.config.reduction == "sum" else share)
        right = (logits.detach().argmax(1) == label).sum()
        return {"loss": loss, "pair_loss": total.detach() * share, "accuracy": right * share}


def pairs_of(batch: Views, images: int) -> tuple[Tensor, Tensor]:
    """The first and second patch of each pair, (2, P) int64, as rows of the group's patches (V * B, ...), and the classes (P,);
    on the CPU. Raises ValueError where the recipe draws no pairs, or there is none."""
    pairs = batch.drawn("patch", "pairs")[0].long()  # (B, most, 3): the same for all patches of an image
    image, place = torch.nonzero(pairs[..., 0] >= 0, as_tuple=True)
    if not len(image):
        raise ValueError("no two patches of these images are neighbours: the images are smaller than two patches and their gap; "
                         "use larger ones, or recipe=context_resnet")
    first, second, label = pairs[image, place].unbind(1)
    return torch.stack([first, second]) * images + image, label
