"""What DINO and the methods built on it share: a student, and a teacher that is the student's moving average, each a backbone
with a head over prototypes; the teacher's answers are centered and sharpened."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..losses.dino import normalized_entropy, teacher_distribution, updated_center
from .backbone import backbone, set_drop_path, unit_gains
from .distributed import mean_of_rows
from .ema import follow, follower, rising_momentum
from .heads import DinoHead
from .method import Method
from .training.bounds import above_zero, from_0_to_1, whole
from .training.config import key
from .vit import begin_as_dino, features_of, is_plain_vit, open_to_sizes


@dataclass(frozen=True)
class StudentTeacherConfig:
    """The published defaults are DINO's."""

    backbone: str = key("any of timm's names, or convnet4; local views need a plain ViT, a Swin or a convolutional network",
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


@dataclass(frozen=True)
class Answers:
    """What a teacher's logits (N, ..., K) say. distributions, their like; entropy: mean of theirs, marginal_entropy: that of
    their mean over all ranks, both over ln K; share: this rank's of the N, times the world size."""

    distributions: Tensor
    entropy: Tensor
    marginal_entropy: Tensor
    share: Tensor

    def health(self, loss: Tensor, prefix: str = "") -> dict[str, Tensor]:
        """Of a cross entropy of these, in nats: what a run logs, by name."""
        kl = loss.detach() - self.entropy * math.log(self.distributions.shape[-1])
        return {f"{prefix}teacher_entropy": self.entropy * self.share,
                f"{prefix}teacher_marginal_entropy": self.marginal_entropy, f"{prefix}kl": kl * self.share}


class StudentTeacher(Method):
    """`backbone` and `head` learn; `teacher_backbone` and `teacher_head`, in train mode too, follow them, and are judged."""

    config: StudentTeacherConfig
    center: Tensor

    def __init__(self, config: StudentTeacherConfig, *, image_px: int, in_chans: int = 3, window: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.feature_dim = backbone(config.backbone, image_px, in_chans, patch_px=config.patch_px,
                                                   embed_dim=config.embed_dim, depth=config.depth, heads=config.heads,
                                                   window=window)
        open_to_sizes(self.backbone)
        begin_as_dino(self.backbone)
        unit_gains(self.backbone)
        self.head = self.new_head()
        # In train mode like the student: batch norm uses each batch's statistics. Stochastic depth is the student's alone.
        self.teacher_backbone, self.teacher_head = follower(self.backbone), follower(self.head)
        _drop_path(self.backbone, self.usual_drop_path if config.drop_path is None else config.drop_path)
        _drop_path(self.teacher_backbone, 0.0)
        self.register_buffer("center", torch.zeros(config.prototypes))
        self.epoch = 0

    def new_head(self) -> DinoHead:
        of = self.config
        return DinoHead(self.feature_dim, of.prototypes, hidden_dim=of.head_hidden, bottleneck_dim=of.head_bottleneck,
                        norm=of.head_norm, trainable_gain=of.trainable_gain)

    @property
    def usual_drop_path(self) -> float:
        return 0.1 if is_plain_vit(self.backbone) else 0.0

    @property
    def followers(self) -> list[tuple[nn.Module, nn.Module]]:
        """Each of the teacher's networks with the student's."""
        return [(self.teacher_backbone, self.backbone), (self.teacher_head, self.head)]

    @torch.no_grad()
    def answers(self, logits: Tensor, center: Tensor) -> Answers:
        """logits (N, K), or (N, T, K): of the T regions of each. Moves the center, (K,), for the next step."""
        distributions = teacher_distribution(logits, center, self.teacher_temperature)
        both = [x.float() if x.ndim == 2 else x.float().mean(1) for x in (logits, distributions)]
        means, share = mean_of_rows(torch.cat(both, 1))
        mean, marginal = means.chunk(2)
        if self.config.centering and self.training:
            center.copy_(updated_center(center, mean, self.config.center_momentum))
        return Answers(distributions, normalized_entropy(distributions).mean(), normalized_entropy(marginal), share)

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
        for _, student in self.followers if self.epoch < self.config.frozen_epochs else ():
            for parameter in student.prototypes.parameters() if isinstance(student, DinoHead) else ():
                parameter.grad = None

    def after_step(self, progress: float) -> None:
        """The teacher follows, with a momentum that half a cosine over all steps brings to 1. The authors' code is one step
        behind in it: here the last step moves nothing."""
        momentum = rising_momentum(self.config.teacher_momentum, progress)
        for teacher, student in self.followers:
            follow(teacher, student, momentum)

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
