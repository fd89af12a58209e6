"""EsViT (Li et al. 2022, arXiv:2106.09785): DINO, and beside it each region of a student's view names the prototype that the
most similar region of the teacher's view names."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..losses.dino import dino_loss
from ..losses.regions import nearest_regions, region_loss
from .crops import crops_of
from .ema import follower
from .regions import regions_of
from .student_teacher import StudentTeacher, StudentTeacherConfig
from .swin import is_swin
from .training.bounds import from_0_to_1, whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class EsViTConfig(StudentTeacherConfig):
    backbone: str = key("any of timm's names that has regions, or convnet4; local views need a plain ViT, a Swin or a "
                        "convolutional network", "swin_tiny_patch4_window7_224")
    window: int | None = key("side of a Swin's windows, in patches; null: the backbone's own", None)
    drop_path: float | None = key("stochastic depth of the student's last block; null: 0.1 for a ViT or Swin, else 0", None)
    trainable_gain: bool = key("learn the prototypes' lengths too", True)
    teacher_temperature: float = key("of the teacher's softmax, after its warm-up; above 0.07 reported unstable", 0.07)
    teacher_temperature_epochs: int = key("epochs of that warm-up", 30)
    region_weight: float = key("share of the regions' loss in the whole, the rest being DINO's", 0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "window")
        from_0_to_1(self, "region_weight")


class EsViT(StudentTeacher):
    """Views as DINO's: group "global" (G, B, C, image_px, image_px) for both, "local" for the student alone. V views in all, of
    T regions each, as many as their size gives; K prototypes of views, and K others of regions, with a center of their own."""

    Config = EsViTConfig
    config: EsViTConfig
    region_center: Tensor

    def __init__(self, config: EsViTConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__(config, image_px=image_px, in_chans=in_chans, window=config.window)
        with torch.no_grad():  # refuses a network without regions before hours of other work are done
            regions_of(self.teacher_backbone.eval(), torch.zeros(1, in_chans, image_px, image_px))
        self.teacher_backbone.train()
        self.region_head = self.new_head()
        self.teacher_region_head = follower(self.region_head)
        self.register_buffer("region_center", torch.zeros(config.prototypes))

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", "view_loss" and "region_loss", of which it is the mean by region_weight, and DINO's three signs of a teacher
        that says nothing, of views and, as "region_...", of regions}.

        Updates both centers. Several ranks: each returns its images' share of the loss times the world size, so that the mean
        over ranks, of losses and of gradients, is that of the whole batch. Raises ValueError unless there are two views at
        least, or where the backbone takes none of the local ones' size.
        """
        crops = crops_of(batch, "esvit")
        given, images = crops[0].shape[:2]
        regions, pooled = zip(*(regions_of(self.backbone, crop.flatten(0, 1)) for crop in crops), strict=True)
        student = self.head(torch.cat(pooled)).unflatten(0, (-1, images))
        # As views, regions of all sizes go through their head together.
        logits = self.region_head(torch.cat([each.flatten(0, 1) for each in regions]))
        sizes = [each.unflatten(0, (-1, images)) for each in regions]  # (V_n, B, T_n, D)
        of_regions = [part.view(*size.shape[:3], -1) for part, size in
                      zip(logits.split([size[..., 0].numel() for size in sizes]), sizes, strict=True)]
        with torch.no_grad():
            its_regions, its_pooled = regions_of(self.teacher_backbone, crops[0].flatten(0, 1))
            views = self.answers(self.teacher_head(its_pooled), self.center)
            its_logits = self.teacher_region_head(its_regions.flatten(0, 1)).unflatten(0, its_regions.shape[:2])
            places = self.answers(its_logits, self.region_center)
            nearest = [nearest_regions(size, its_regions.unflatten(0, (given, images))) for size in sizes]
        temperature, weight = self.config.student_temperature, self.config.region_weight
        of_view = dino_loss(student, views.distributions.unflatten(0, (given, images)), temperature)
        of_region = region_loss(of_regions, places.distributions.unflatten(0, (given, images)), nearest, temperature)
        loss = (1 - weight) * of_view + weight * of_region
        return {"loss": loss * views.share, "view_loss": of_view.detach() * views.share,
                "region_loss": of_region.detach() * views.share, **views.health(of_view),
                **places.health(of_region, "region_")}

    @property
    def followers(self) -> list[tuple[nn.Module, nn.Module]]:
        return [*super().followers, (self.teacher_region_head, self.region_head)]

    @property
    def usual_drop_path(self) -> float:
        return 0.1 if is_swin(self.backbone) else super().usual_drop_path
