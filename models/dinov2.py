"""DINOv2's objective (Oquab et al. 2023, arXiv:2304.07193): DINO of views and iBOT of masked patches, whose teacher may share
its answers out among prototypes evenly, and class tokens that keep away from each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..losses.dino import dino_loss, normalized_entropy, teacher_distribution, updated_center
from ..losses.ibot import patch_costs
from ..losses.koleo import koleo
from ..losses.sinkhorn import sinkhorn
from .backbone import set_even_drop_path
from .crops import crops_of
from .distributed import add_up, gather, mean_of_rows
from .ema import follower
from .heads import DinoHead
from .layer_rates import rates_by_depth
from .masked_crops import hidden_in, named, patch_health, refuse_unmaskable, token_pictures, tokens_of
from .method import Rate
from .pictured import Shown
from .student_teacher import Answers, StudentTeacher, StudentTeacherConfig
from .training.bounds import above_zero, from_0_to_1, not_negative, whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class DINOv2Config(StudentTeacherConfig):
    """The published defaults are those of the authors' shorter run, of ViT-L/16 on ImageNet-1k. What they count in epochs of 1250
    steps is here in epochs of its 625."""

    backbone: str = key("a plain vision transformer of timm's with a class token; those named dinov2 have layer scale, at first "
                        "1e-5", "vit_large_patch14_dinov2")
    patch_px: int | None = key("side of a patch; null: the backbone's own; 4 for 32 px images", 16)
    drop_path: float | None = key("stochastic depth of each of the student's blocks; null: 0.3", 0.3)
    trainable_gain: bool = key("learn the prototypes' lengths too", True)
    teacher_temperature: float = key("of the teacher's softmax, or of its sharing out, after its warm-up", 0.07)
    teacher_temperature_epochs: int = key("epochs of that warm-up, step by step", 60)
    teacher_momentum: float = key("of the teacher's moving average at first; half a cosine brings it to 1", 0.992)
    frozen_epochs: int = key("first epochs in which the prototypes are held", 2)
    sinkhorn: bool = key("the teacher's answers of all ranks are shared out evenly (Sinkhorn-Knopp) instead of centered", False)
    iterations: int = key("of that sharing out", 3)
    separate_heads: bool = key("patches have a head of their own, as in the longer runs", False)
    patch_prototypes: int = key("outputs of that head", 65536)
    patch_bottleneck: int = key("width that its prototypes are compared in", 256)
    patch_weight: float = key("of the patches' loss, beside DINO's", 1.0)
    koleo_weight: float = key("of what keeps class tokens apart, the sum over global views; 0: none", 0.1)
    koleo_over: Literal["rank", "all"] = key("where the nearest other image is looked for: among its rank's, as published, or "
                                             "among all", "rank")
    layer_decay: float = key("rate of each block, as a share of the next one's; 1 in the longer runs", 0.9)
    patch_embed_rate: float = key("rate of the patches' projection, as a share of what that makes it", 0.2)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "iterations", "patch_bottleneck")
        whole(self, "patch_prototypes", least=2)
        not_negative(self, "patch_weight", "koleo_weight")
        above_zero(self, "layer_decay", "patch_embed_rate")
        from_0_to_1(self, "layer_decay")
        if self.head_norm:
            raise ValueError("model.head_norm=true is for convolutional networks, of which no patches can be hidden; use "
                             "model.head_norm=false")


class DINOv2(StudentTeacher):
    """Views as iBOT's: group "global" (G, B, C, image_px, image_px) for both, each with a mask of any number of its L patches,
    none too, "local" for the student alone, unmasked. V views in all, n patches masked of all G * B global ones.

    The mask vector, being no part of the backbone here, has a norm of its own where gradients are clipped part by part. Of a
    block's branches each is left out by chance; the authors' code leaves out an exact share of a batch's.
    """

    Config = DINOv2Config
    config: DINOv2Config
    patch_center: Tensor

    def __init__(self, config: DINOv2Config, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__(config, image_px=image_px, in_chans=in_chans)
        refuse_unmaskable(self.backbone, config.backbone, "dinov2")
        student: Any = self.backbone
        teacher: Any = self.teacher_backbone
        set_even_drop_path(student, self.usual_drop_path if config.drop_path is None else config.drop_path)
        with torch.no_grad():
            teacher.cls_token.copy_(nn.init.normal_(student.cls_token, std=1e-6))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.feature_dim))
        if config.separate_heads:
            self.patch_head = DinoHead(self.feature_dim, config.patch_prototypes, hidden_dim=config.head_hidden,
                                       bottleneck_dim=config.patch_bottleneck, trainable_gain=config.trainable_gain)
            self.teacher_patch_head = follower(self.patch_head)
        choices = config.patch_prototypes if config.separate_heads else config.prototypes
        self.register_buffer("patch_center", torch.zeros(choices))
        self.at = 0.0  # epochs done
        self.held: list[Tensor] = []

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", its terms "view_loss", "patch_loss" and, where it has a weight, "koleo" (the mean over global views, where the
        loss has the sum), and DINO's three signs of a teacher that says nothing, of views and, as "patch_...", of patches}.
        With sinkhorn the marginal entropies are those before anything is shared out.

        Updates both centers. Several ranks: each returns its images' share of the loss times the world size, so that the mean
        over ranks, of losses and of gradients, is that of the whole batch. Raises ValueError unless there are two views at least,
        global ones with masks of the patches' grid, where the backbone takes none of the local ones' size, or an image has no
        other to keep away from.
        """
        crops = crops_of(batch, "dinov2")
        given, images = crops[0].shape[:2]
        hidden, whole_views = hidden_in(batch, self.backbone), crops[0].flatten(0, 1)
        first, patches = tokens_of(self.backbone, whole_views, self.mask_token, hidden.mask)
        local = [tokens_of(self.backbone, crop.flatten(0, 1))[0] for crop in crops[1:]]
        student = self.head(torch.cat([first, *local])).unflatten(0, (-1, images))
        told = self.heads_of_patches[0](hidden.of(patches))
        with torch.no_grad():
            its_first, its_patches = tokens_of(self.teacher_backbone, whole_views)
            views = self.answers(self.teacher_head(its_first), self.center)
            its_logits = self.heads_of_patches[1](hidden.of(its_patches))
            named_so = self.patch_answers(its_logits)
        temperature = self.config.student_temperature
        of_view = dino_loss(student, views.distributions.unflatten(0, (given, images)), temperature)
        costs = patch_costs(told, named_so, temperature)
        of_patch = costs @ hidden.weights.to(costs.dtype)
        loss = of_view + self.config.patch_weight * of_patch
        terms = {"view_loss": of_view, "patch_loss": of_patch}
        if self.config.koleo_weight:
            # Never between two views of one image, which are to be alike.
            apart = torch.stack([self.apart(view) for view in first.unflatten(0, (given, images))])
            loss, terms["koleo"] = loss + self.config.koleo_weight * apart.sum(), apart.mean()
        before = self.spoken(its_logits) if self.config.sinkhorn else None
        return {"loss": loss * views.share, **{name: term.detach() * views.share for name, term in terms.items()},
                **views.health(of_view), **patch_health(named_so, costs, before)}

    def apart(self, x: Tensor) -> Tensor:
        """x (B, D), of one view of this rank's images: see losses.koleo."""
        if self.config.koleo_over == "all":
            return koleo(x, *gather(x))
        if len(x) < 2:
            raise ValueError(f"dinov2 keeps an image apart from others of its rank, which has {len(x)}; use a larger batch_size, "
                             "model.koleo_over=all or model.koleo_weight=0")
        return koleo(x)

    @torch.no_grad()
    def answers(self, logits: Tensor, center: Tensor) -> Answers:
        """Of views' logits (N, K), all together."""
        if not self.config.sinkhorn:
            return super().answers(logits, center)
        distributions = self.shared_out(logits)
        mean, share = mean_of_rows(self.spoken(logits))
        return Answers(distributions, normalized_entropy(distributions).mean(), normalized_entropy(mean), share)

    @torch.no_grad()
    def patch_answers(self, logits: Tensor) -> Tensor:
        """Of masked patches' logits (n, K), which ranks may have different numbers of. Moves their center, to which masked
        patches alone count."""
        if self.config.sinkhorn:
            return self.shared_out(logits)
        distributions = teacher_distribution(logits, self.patch_center, self.teacher_temperature)
        if self.config.centering and self.training:
            rows = logits.float()
            total, count = add_up(torch.cat([rows.sum(0), rows.new_full((1,), float(len(rows)))])).split([rows.shape[1], 1])
            moved = updated_center(self.patch_center, total / count, self.config.center_momentum)
            self.patch_center.copy_(torch.where(count > 0, moved, self.patch_center))
        return distributions

    def shared_out(self, logits: Tensor) -> Tensor:
        """logits (n, K) of all ranks to distributions (n, K). Of gains up to 3 float32 holds their exponentials."""
        return sinkhorn(logits, self.teacher_temperature, iterations=self.config.iterations, add_up=add_up)

    def spoken(self, logits: Tensor) -> Tensor:
        """What the teacher says by itself, (n, K): sharing out makes a collapse look even."""
        return (logits.float() / self.teacher_temperature).softmax(-1)

    @property
    def heads_of_patches(self) -> tuple[DinoHead, DinoHead]:
        """The student's and the teacher's."""
        return (self.patch_head, self.teacher_patch_head) if self.config.separate_heads else (self.head, self.teacher_head)

    @property
    def followers(self) -> list[tuple[nn.Module, nn.Module]]:
        return [*super().followers, *([(self.teacher_patch_head, self.patch_head)] if self.config.separate_heads else [])]

    @property
    def usual_drop_path(self) -> float:
        return 0.3

    @property
    def teacher_temperature(self) -> float:
        """Rises linearly, step by step."""
        of = self.config
        way = min(self.at / of.teacher_temperature_epochs, 1.0) if of.teacher_temperature_epochs else 1.0
        return of.first_teacher_temperature + (of.teacher_temperature - of.first_teacher_temperature) * way

    def rates(self) -> dict[str, Rate]:
        of = self.config
        rates = rates_by_depth(self.backbone, "backbone", of.layer_decay, of.patch_embed_rate)
        return rates | {"mask_token": rates["backbone.cls_token"]}

    def before_step(self, epoch: float) -> None:
        super().before_step(epoch)
        self.at = epoch
        self.held = [each.detach().clone() for each in self._prototypes()] if epoch < self.config.frozen_epochs else []

    def after_backward(self) -> None:
        """Prototypes that are held keep their gradient: they have a rate of 0, the optimizer's averages go on."""

    def after_step(self, progress: float) -> None:
        with torch.no_grad():
            for parameter, before in zip(self._prototypes(), self.held, strict=False):
                parameter.copy_(before)
        super().after_step(progress)

    def _prototypes(self) -> list[nn.Parameter]:
        heads = [self.head, *([self.patch_head] if self.config.separate_heads else [])]
        return [parameter for head in heads for parameter in head.prototypes.parameters()]

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """See `token_pictures`."""
        images, hidden = batch.views["global"][0], hidden_in(batch, self.backbone)
        _, patches = tokens_of(self.backbone, images, self.mask_token, hidden.mask[: len(images)])
        _, its_patches = tokens_of(self.teacher_backbone, images)
        mine, its = self.heads_of_patches
        return token_pictures(batch, named(its, its.prototypes, its_patches, self.patch_center),
                              named(mine, mine.prototypes, patches))
