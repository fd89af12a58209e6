"""Rotation feature decoupling (Feng, Xu, Tao, CVPR 2019, pp. 10364-10374): half the features tell turns, half images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..losses.decoupling import invariance_loss, noise_weights, rotation_loss
from .backbone import backbone
from .heads import mlp, refuse_one
from .memory_bank import MemoryBank, refuse_bank
from .method import Method
from .rotnet import TURNS, RotNet
from .training.bounds import not_negative, whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class DecouplingConfig:
    backbone: str = key("any of timm's names, alexnet or convnet4", "alexnet")
    half_dim: int | None = key("width of each half, of a layer put above the backbone; null: its own features are halved", None)
    dim: int = key("width of the embeddings that are compared", 128)
    head_norm: bool = key("batch norm without gain or shift above their head: embeddings cannot move as one", False)
    rotation_weight: float = key("of the loss of the turn", 1.0)
    invariance_weight: float = key("of the loss of features that differ from turn to turn", 1.0)
    instance_weight: float = key("of the loss of images told from each other", 1.0)
    negatives: int = key("images drawn as noise for each image; 0: the softmax over all images", 4096)
    temperature: float = key("of the scores", 0.07)
    bank_momentum: float = key("of an image's row in the memory, when the image is seen again", 0.5)
    noise_weights: str | None = key("file of NumPy's, (images, 4): how much each turn of each image counts; null: all 1", None)
    noise_from_epoch: float = key("epochs before noise_weights count", 210.0)

    def __post_init__(self) -> None:
        whole(self, "half_dim")
        not_negative(self, "rotation_weight", "invariance_weight", "instance_weight", "noise_from_epoch")
        refuse_bank(self)


class Decoupling(Method):
    """Group "global" holds quarter turns of one crop of each image, (V, B, C, image_px, image_px); as published all V = 4."""

    Config = DecouplingConfig
    per_image = True
    encoder: nn.Module

    def __init__(self, config: DecouplingConfig, *, image_px: int, in_chans: int = 3, images: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.feature_dim = backbone(config.backbone, image_px, in_chans)
        half = config.half_dim or self.feature_dim // 2
        if config.half_dim is None and self.feature_dim % 2:
            raise ValueError(f"model.half_dim=null halves the backbone's features, and {config.backbone} has {self.feature_dim}; "
                             "give a half_dim")
        self.widen = nn.Identity() if config.half_dim is None else nn.Sequential(
            nn.Linear(self.feature_dim, 2 * half, bias=False), nn.BatchNorm1d(2 * half), nn.ReLU(inplace=True))
        self.classifier = nn.Linear(half, TURNS)
        self.projector = mlp([half, config.dim], bias=True, norm="plain" if config.head_norm else "none")
        self.bank = MemoryBank(images, config.dim, negatives=config.negatives, temperature=config.temperature,
                               momentum=config.bank_momentum)
        self.epoch = 0.0
        # No buffer: it is the data's, neither a checkpoint's nor another rank's.
        self.noise = _read(config.noise_weights, images) if config.noise_weights is not None and images is not None else None

    def before_step(self, epoch: float) -> None:
        self.epoch = epoch

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", "rotation", "invariance", "instance": its parts, not weighted; "accuracy": share of the views whose turn is
        found, chance is 1 / 4; "instance_accuracy": share of the images whose own row is the nearest of those compared with}.

        Several ranks, of equally many images: the mean of their losses is that of all. Raises ValueError where the recipe turns
        nothing, the network was built without a number of images, or a norm would see one image alone.
        """
        views = batch.views["global"]
        refuse_one(self.projector, views.shape[1], "decoupling")
        turn = batch.drawn("global", "quarter_turns").flatten().long().to(views.device, non_blocking=True)
        # All turns in one pass: batch norm sees them together, so that its statistics give none away.
        of_turn, of_image = self.halves(views.flatten(0, 1))
        of_image = of_image.unflatten(0, views.shape[:2])
        logits = self.classifier(of_turn)
        rotation = rotation_loss(logits, turn, self._counting(batch.index, turn))
        invariance = invariance_loss(of_image)
        z = F.normalize(self.projector(of_image.mean(0)).float(), dim=1)
        drawn = self.bank.draw(batch.index)
        instance, instance_accuracy = self.bank.compare(z, drawn)
        if self.training:
            self.bank.remember(z.detach(), drawn)
        of = self.config
        loss = of.rotation_weight * rotation + of.invariance_weight * invariance + of.instance_weight * instance
        return {"loss": loss, "rotation": rotation.detach(), "invariance": invariance.detach(), "instance": instance.detach(),
                "accuracy": (logits.detach().argmax(1) == turn).float().mean(), "instance_accuracy": instance_accuracy}

    def after_step(self, progress: float) -> None:
        self.bank.update()

    def halves(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, image_px, image_px) to features of the turn and of the image, (N, half) each."""
        of_turn, of_image = self.widen(self.encoder(images)).chunk(2, 1)
        return of_turn, of_image

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to (N, dim), of length 1: of each by itself, where the loss takes the mean of its turns."""
        return F.normalize(self.projector(self.halves(images)[1]).float(), dim=1)

    def _counting(self, index: Tensor, turn: Tensor) -> Tensor | None:
        """(V B,) weights of the views in their order, or None while all count."""
        if self.noise is None or self.epoch < self.config.noise_from_epoch:
            return None
        self.noise = self.noise.to(turn.device)
        return self.noise[index.repeat(len(turn) // len(index)), turn]


@torch.no_grad()
def weights_by(rotnet: RotNet, batches: Iterable[Views], images: int) -> np.ndarray:
    """(images, 4) float32 for a file that model.noise_weights names, np.save(file, weights): of how far a trained RotNet takes
    each turn of each image for upright. batches: one pass over the data with a recipe such as rotnet_cifar or rotnet, of which
    only the turns are needed. Best by a RotNet that has not trained on these images: train one on each half of the data and let
    it judge the other half; the weights of images that batches do not have are 1.
    """
    rotnet.eval()
    upright = torch.zeros(images, TURNS)
    for batch in batches:
        views = batch.views["global"]
        turn = batch.drawn("global", "quarter_turns").long()
        shown = rotnet.classifier(rotnet.encoder(views.flatten(0, 1))).float().softmax(1)[:, 0]
        upright[batch.index.cpu().expand_as(turn), turn] = shown.unflatten(0, views.shape[:2]).cpu()
    weights: np.ndarray = noise_weights(upright).numpy()
    return weights


def _read(path: str, images: int) -> Tensor:
    try:
        weights = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(f"model.noise_weights={path} is no array of NumPy's ({reason}); write it with np.save") from error
    if not isinstance(weights, np.ndarray) or weights.shape != (images, TURNS) or weights.dtype.kind != "f":
        found = f"{weights.dtype} {weights.shape}" if isinstance(weights, np.ndarray) else "several arrays"
        raise ValueError(f"model.noise_weights={path} needs floats of shape ({images}, {TURNS}), a row for each image of the "
                         f"data, got {found}")
    if not ((weights >= 0) & (weights <= 1)).all():
        raise ValueError(f"model.noise_weights={path} needs weights in [0, 1]")
    return torch.from_numpy(weights.astype(np.float32))
