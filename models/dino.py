"""DINO (Caron et al. 2021, arXiv:2104.14294): a student, shown crops of every size, names the prototype that its own moving
average, shown other and larger crops of the image, names."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..losses.dino import dino_loss, normalized_entropy, teacher_distribution, updated_center
from .backbone import backbone, set_drop_path, unit_gains
from .distributed import mean_of_rows
from .ema import follow, follower, rising_momentum
from .heads import DinoHead
from .method import Method
from .training.bounds import above_zero, from_0_to_1, whole
from .training.config import key
from .views import Views
from .vit import begin_as_dino, features_of, is_plain_vit, open_to_sizes


@dataclass(frozen=True)
class DINOConfig:
    backbone: str = key("any of timm's names, or convnet4; local views need a plain ViT or a convolutional network",
                        "vit_small_patch16_224")
    patch_px: int | None = key("side of a patch; null: the backbone's own; 4 for 32 px images", None)
    embed_dim: int | None = key("width of a vision transformer; null: the backbone's own", None)
    depth: int | None = key("blocks of a vision transformer; null: the backbone's own", None)
    heads: int | None = key("attention heads of a vision transformer; null: the backbone's own", None)
    drop_path: float | None = key("stochastic depth of the student's last block; null: 0.1 for a plain ViT, else 0", None)
    prototypes: int = key("outputs of the head, K", 65536)
    head_hidden: int = key("width inside the head", 2048)
    head_bottleneck: int = key("width that the prototypes are compared in", 256)
    head_norm: bool = key("batch norm in the head: for convolutional networks", False)
    trainable_gain: bool = key("learn the prototypes' lengths too: recommended for ViT-S in long runs", False)
    student_temperature: float = key("of the student's softmax", 0.1)
    teacher_temperature: float = key("of the teacher's softmax, after its warm-up; above 0.07 reported unstable", 0.04)
    first_teacher_temperature: float = key("where its linear warm-up begins", 0.04)
    teacher_temperature_epochs: int = key("epochs of that warm-up; 30, to 0.07, in the paper's long runs", 0)
    centering: bool = key("take the center off the teacher's logits; without, one prototype soon wins everywhere", True)
    center_momentum: float = key("of the center's moving average", 0.9)
    teacher_momentum: float = key("of the teacher's moving average at first; half a cosine brings it to 1", 0.996)
    frozen_epochs: int = key("first epochs in which the prototypes are held", 1)

    def __post_init__(self) -> None:
        whole(self, "patch_px", "embed_dim", "depth", "heads", "head_hidden", "head_bottleneck")
        whole(self, "prototypes", least=2)
        whole(self, "teacher_temperature_epochs", "frozen_epochs", least=0)
        above_zero(self, "student_temperature", "teacher_temperature", "first_teacher_temperature")
        from_0_to_1(self, "center_momentum", "teacher_momentum")


class DINO(Method):
    """Group "global" holds the G views that the teacher sees, (G, B, C, image_px, image_px), two in all published recipes; group
    "local", where there is one, more views for the student alone, of one other size. V views in all, K prototypes."""

    Config = DINOConfig
    center: Tensor

    def __init__(self, config: DINOConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.feature_dim = backbone(config.backbone, image_px, in_chans, patch_px=config.patch_px,
                                                   embed_dim=config.embed_dim, depth=config.depth, heads=config.heads)
        open_to_sizes(self.backbone)
        begin_as_dino(self.backbone)
        unit_gains(self.backbone)
        self.head = DinoHead(self.feature_dim, config.prototypes, hidden_dim=config.head_hidden,
                             bottleneck_dim=config.head_bottleneck, norm=config.head_norm, trainable_gain=config.trainable_gain)
        # In train mode like the student: batch norm uses each batch's statistics. Stochastic depth is the student's alone.
        self.teacher_backbone, self.teacher_head = follower(self.backbone), follower(self.head)
        default = 0.1 if is_plain_vit(self.backbone) else 0.0
        _drop_path(self.backbone, default if config.drop_path is None else config.drop_path)
        _drop_path(self.teacher_backbone, 0.0)
        self.register_buffer("center", torch.zeros(config.prototypes))
        self.epoch = 0

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", "teacher_entropy": mean entropy of the teacher's distributions, over ln K, "teacher_marginal_entropy": entropy
        of their mean over the batch, over ln K: 0 where all images have one prototype, "kl": from the teacher's to the
        student's, nats}. The first two near 1 and the last near 0: the teacher says nothing.

        Updates the center. Several ranks: each returns its images' share of the loss times the world size, so that the mean over
        ranks, of losses and of gradients, is that of the whole batch. Raises ValueError unless there are two views at least, or
        where the backbone takes none of the local ones' size.
        """
        crops = [batch.views[group] for group in ("global", "local") if group in batch.views]
        given, images = crops[0].shape[:2]
        views = sum(len(crop) for crop in crops)
        if views < 2:
            raise ValueError(f"dino compares views of an image, the recipe has {views}; use recipe=dino")
        # The backbone sees one size at a time; the head, and batch norm in it, all views together, as in the authors' code.
        features = torch.cat([features_of(self.backbone, crop.flatten(0, 1)) for crop in crops])
        student = self.head(features).unflatten(0, (views, images))
        with torch.no_grad():
            teacher = self.teacher_head(features_of(self.teacher_backbone, crops[0].flatten(0, 1)))
            target = teacher_distribution(teacher, self.center, self.teacher_temperature)
            means, share = mean_of_rows(torch.cat([teacher.float(), target], 1))
            mean, marginal = means.chunk(2)
        loss = dino_loss(student, target.unflatten(0, (given, images)), self.config.student_temperature)
        entropy = normalized_entropy(target).mean()
        if self.config.centering and self.training:
            self.center.copy_(updated_center(self.center, mean, self.config.center_momentum))  # for the next step
        return {"loss": loss * share, "teacher_entropy": entropy * share,
                "teacher_marginal_entropy": normalized_entropy(marginal),
                "kl": (loss.detach() - entropy * math.log(self.config.prototypes)) * share}

    @property
    def teacher_temperature(self) -> float:
        """Rises linearly, epoch by epoch: the first value in epoch 0, the last from epoch teacher_temperature_epochs - 1 on."""
        of = self.config
        if self.epoch >= of.teacher_temperature_epochs:
            return of.teacher_temperature
        way = self.epoch / max(of.teacher_temperature_epochs - 1, 1)
        return of.first_teacher_temperature + (of.teacher_temperature - of.first_teacher_temperature) * way

    def before_step(self, epoch: float) -> None:
        self.epoch = int(epoch)

    def after_backward(self) -> None:
        # No gradient instead of one of zero: then AdamW does not even decay them.
        if self.epoch < self.config.frozen_epochs:
            for parameter in self.head.prototypes.parameters():
                parameter.grad = None

    def after_step(self, progress: float) -> None:
        """The teacher follows, with a momentum that half a cosine over all steps brings to 1. The authors' code is one step
        behind in it: here the last step moves nothing."""
        momentum = rising_momentum(self.config.teacher_momentum, progress)
        follow(self.teacher_backbone, self.backbone, momentum)
        follow(self.teacher_head, self.head, momentum)

    def features(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to (N, feature_dim): the teacher's, which is better than the student throughout training."""
        return features_of(self.teacher_backbone, images)

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to (N, head_bottleneck), of length 1: what the teacher's head compares with the prototypes.
        The teacher's, since it is the teacher's choices that collapse first, and its features that are judged."""
        return self.teacher_head.bottleneck(self.features(images))

    @property
    def projection_head(self) -> nn.Sequential:
        return self.teacher_head.mlp

    @property
    def encoder(self) -> nn.Module:
        return self.teacher_backbone


def _drop_path(module: nn.Module, rate: float) -> None:
    """`set_drop_path`, but that a network which has no place for any is fine without."""
    try:
        set_drop_path(module, rate)
    except ValueError:
        if rate:
            raise
