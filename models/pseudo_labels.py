"""Knowledge transfer (Noroozi et al. 2018, arXiv:1805.00385, section 4): a fresh network learns in which cluster of another
network's features each image lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import backbone
from .distributed import add_up, world_size
from .method import Method
from .training.bounds import whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class PseudoLabelsConfig:
    backbone: str = key("any of timm's names, alexnet or convnet4; not necessarily the one whose features were clustered",
                        "alexnet")
    labels: str | None = key("file of NumPy's, (images,): each image's cluster, -1 where it has none; what viewmill eval "
                             "pseudo_labels writes", None)
    clusters: int = key("how many there are", 2000)

    def __post_init__(self) -> None:
        whole(self, "clusters", least=2)


class PseudoLabels(Method):
    """Group "global" holds views of each image, (V, B, C, image_px, image_px)."""

    Config = PseudoLabelsConfig
    whole_batch = None
    per_image = True
    encoder: nn.Module

    def __init__(self, config: PseudoLabelsConfig, *, image_px: int, in_chans: int = 3, images: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.feature_dim = backbone(config.backbone, image_px, in_chans)
        self.classifier = nn.Linear(self.feature_dim, config.clusters)
        # No buffer: it is the data's, neither a checkpoint's nor another rank's.
        self.labels = None if images is None else _read(config, images)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": mean cross-entropy of the cluster over all views of images that have one, "accuracy": share of those views
        whose cluster is found}.

        Several ranks: each returns its share of the loss times the world size. Raises ValueError where the network was built
        without a number of images.
        """
        if self.labels is None:
            raise ValueError("pseudo_labels needs the number of images, build(..., images=N); this one was built to be judged")
        views = batch.views["global"]
        self.labels = self.labels.to(views.device)
        label = self.labels[batch.index].repeat(len(views))
        logits = self.classifier(self.encoder(views.flatten(0, 1)))
        share = world_size() / add_up((label >= 0).sum()).clamp(min=1)
        loss = F.cross_entropy(logits.float(), label, ignore_index=-1, reduction="sum") * share
        return {"loss": loss, "accuracy": (logits.detach().argmax(1) == label).sum() * share}


def _read(config: PseudoLabelsConfig, images: int) -> Tensor:
    """(images,) int64. Raises ValueError, one line, where the file is none, or not of such images and clusters."""
    path, what = config.labels, f"model.labels={config.labels}"
    if path is None:
        raise ValueError("pseudo_labels needs model.labels=FILE, each image's cluster; make it from a trained network: viewmill "
                         "eval pseudo_labels runs/jigsaw_plus data=... out=clusters.npy")
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(f"{what} is no array of NumPy's ({reason}); write it by viewmill eval pseudo_labels") from error
    if not isinstance(labels, np.ndarray) or labels.shape != (images,) or labels.dtype.kind not in "iu":
        found = f"{labels.dtype} {labels.shape}" if isinstance(labels, np.ndarray) else "several arrays"
        raise ValueError(f"{what} needs whole numbers of shape ({images},), one for each image of the data, got {found}")
    least, largest = int(labels.min()), int(labels.max())
    if least < -1 or largest >= config.clusters:
        raise ValueError(f"{what} has clusters from {least} to {largest}, and model.clusters={config.clusters} are those from 0 "
                         f"to {config.clusters - 1}, -1 for none; give model.clusters as many as were made")
    if largest < 0:
        raise ValueError(f"{what} gives no image a cluster")
    return torch.from_numpy(labels.astype(np.int64))
