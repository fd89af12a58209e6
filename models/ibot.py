"""iBOT (Zhou et al. 2021, arXiv:2111.07832): DINO, and beside it the student, shown a global view with patches hidden, names for
each of them the prototype that its teacher, shown the whole view, names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..losses.dino import dino_loss, teacher_distribution, updated_center
from ..losses.ibot import patch_costs
from .crops import crops_of
from .distributed import mean_of_rows
from .ema import follower
from .heads import Prototypes
from .masked_crops import hidden_in, named, patch_health, refuse_unmaskable, token_pictures, tokens_of
from .pictured import Shown
from .student_teacher import StudentTeacher, StudentTeacherConfig
from .training.bounds import not_negative
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class IBOTConfig(StudentTeacherConfig):
    """The published defaults are those of ViT-S."""

    backbone: str = key("a plain vision transformer of timm's with a class token", "vit_small_patch16_224")
    prototypes: int = key("outputs of the head, K, and of patches, where those have their own", 8192)
    trainable_gain: bool = key("learn the prototypes' lengths too", True)
    teacher_temperature: float = key("of the teacher's softmax, of views and patches, after its warm-up", 0.07)
    teacher_temperature_epochs: int = key("epochs of that warm-up", 30)
    patch_head: Literal["shared", "student", "own"] = key(
        "prototypes of patches, below which the head is one: shared with views, as published; student: the student has others "
        "than the views', its teacher has not, as the code does unasked; own: both have", "shared")
    patch_weight: float = key("of the patches' loss, beside DINO's", 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self, "patch_weight")
        if self.head_norm:
            raise ValueError("model.head_norm=true is for convolutional networks, of which no patches can be hidden; use "
                             "model.head_norm=false")


class IBOT(StudentTeacher):
    """Views as DINO's: group "global" (G, B, C, image_px, image_px) for both, each with a mask of any number of its L patches,
    none too, "local" for the student alone, unmasked. V views in all, N = G * B global ones, n patches masked of all of theirs;
    K prototypes. Patches have a center of their own."""

    Config = IBOTConfig
    config: IBOTConfig
    patch_center: Tensor
    patch_prototypes: Prototypes | None
    teacher_patch_prototypes: Prototypes | None

    def __init__(self, config: IBOTConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__(config, image_px=image_px, in_chans=in_chans)
        refuse_unmaskable(self.backbone, config.backbone, "ibot")
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.feature_dim))  # the student's alone
        self.patch_prototypes, self.teacher_patch_prototypes = None, None
        if config.patch_head != "shared":
            self.patch_prototypes = Prototypes(config.head_bottleneck, config.prototypes, config.trainable_gain)
        if config.patch_head == "own":
            assert self.patch_prototypes is not None
            self.teacher_patch_prototypes = follower(self.patch_prototypes)
        self.register_buffer("patch_center", torch.zeros(config.prototypes))

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", "view_loss" and "patch_loss", of which it is the sum, the latter by patch_weight, and DINO's three signs of a
        teacher that says nothing, of views and, as "patch_...", of masked patches}.

        The patches' loss is the mean over an image's masked patches, then over all images of all global views; one without a mask
        counts as 0. Updates both centers. Several ranks: each returns its images' share of the loss times the world size, so that
        the mean over ranks, of losses and of gradients, is that of the whole batch. Raises ValueError unless there are two views
        at least, global ones with masks of the patches' grid, or where the backbone takes none of the local ones' size.
        """
        crops = crops_of(batch, "ibot")
        given, images = crops[0].shape[:2]
        hidden, whole = hidden_in(batch, self.backbone), crops[0].flatten(0, 1)
        first, patches = tokens_of(self.backbone, whole, self.mask_token, hidden.mask)
        local = [tokens_of(self.backbone, crop.flatten(0, 1))[0] for crop in crops[1:]]
        student = self.head(torch.cat([first, *local])).unflatten(0, (-1, images))
        told = self.prototypes_of_patches(self.head.bottleneck(hidden.of(patches)))
        with torch.no_grad():
            its_first, its_patches = tokens_of(self.teacher_backbone, whole)
            views = self.answers(self.teacher_head(its_first), self.center)
            bottlenecks = self.teacher_head.bottleneck(its_patches)
            named_so = self.patch_answers(hidden.of(bottlenecks), bottlenecks.mean(1))
        temperature = self.config.student_temperature
        of_view = dino_loss(student, views.distributions.unflatten(0, (given, images)), temperature)
        costs = patch_costs(told, named_so, temperature)
        of_patch = costs @ hidden.weights.to(costs.dtype)
        loss = of_view + self.config.patch_weight * of_patch
        return {"loss": loss * views.share, "view_loss": of_view.detach() * views.share,
                "patch_loss": of_patch.detach() * views.share, **views.health(of_view), **patch_health(named_so, costs)}

    @torch.no_grad()
    def patch_answers(self, masked: Tensor, means: Tensor) -> Tensor:
        """What the teacher names masked patches, (n, K), from what its prototypes are compared with: masked (n, d), and means
        (N, d) over all patches of each image, masked or not. Those move the center for the next step: the last layer is linear,
        so what it answers to a mean is its mean answer, and no unmasked patch's answer need be made."""
        prototypes = self.teacher_prototypes_of_patches
        distributions = teacher_distribution(prototypes(masked), self.patch_center, self.teacher_temperature)
        mean, _ = mean_of_rows(prototypes(means))
        if self.config.centering and self.training:
            self.patch_center.copy_(updated_center(self.patch_center, mean, self.config.center_momentum))
        return distributions

    @property
    def prototypes_of_patches(self) -> nn.Module:
        return self.head.prototypes if self.patch_prototypes is None else self.patch_prototypes

    @property
    def teacher_prototypes_of_patches(self) -> nn.Module:
        own = self.teacher_patch_prototypes
        return self.teacher_head.prototypes if own is None else own

    @property
    def followers(self) -> list[tuple[nn.Module, nn.Module]]:
        teacher, student = self.teacher_patch_prototypes, self.patch_prototypes
        return super().followers + ([] if teacher is None or student is None else [(teacher, student)])

    def after_backward(self) -> None:
        super().after_backward()
        if self.patch_prototypes is not None and self.epoch < self.config.frozen_epochs:
            for parameter in self.patch_prototypes.parameters():
                parameter.grad = None

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """See `token_pictures`."""
        images, hidden = batch.views["global"][0], hidden_in(batch, self.backbone)
        _, patches = tokens_of(self.backbone, images, self.mask_token, hidden.mask[: len(images)])
        _, its_patches = tokens_of(self.teacher_backbone, images)
        return token_pictures(
            batch, named(self.teacher_head, self.teacher_prototypes_of_patches, its_patches, self.patch_center),
            named(self.head, self.prototypes_of_patches, patches))
