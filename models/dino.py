"""DINO (Caron et al. 2021, arXiv:2104.14294): a student, shown crops of every size, names the prototype that its own moving
average, shown other and larger crops of the image, names."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..losses.dino import dino_loss
from .crops import crops_of
from .student_teacher import StudentTeacher, StudentTeacherConfig
from .views import Views
from .vit import features_of


@dataclass(frozen=True)
class DINOConfig(StudentTeacherConfig):
    pass


class DINO(StudentTeacher):
    """Group "global" holds the G views that the teacher sees, (G, B, C, image_px, image_px), two in all published recipes; group
    "local", where there is one, more views for the student alone, of one other size. V views in all, K prototypes."""

    Config = DINOConfig

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", "teacher_entropy": mean entropy of the teacher's distributions, over ln K, "teacher_marginal_entropy": entropy
        of their mean over the batch, over ln K: 0 where all images have one prototype, "kl": from the teacher's to the
        student's, nats}. The first two near 1 and the last near 0: the teacher says nothing.

        Updates the center. Several ranks: each returns its images' share of the loss times the world size, so that the mean over
        ranks, of losses and of gradients, is that of the whole batch. Raises ValueError unless there are two views at least, or
        where the backbone takes none of the local ones' size.
        """
        crops = crops_of(batch, "dino")
        given, images = crops[0].shape[:2]
        # The backbone sees one size at a time; the head, and batch norm in it, all views together, as in the authors' code.
        features = torch.cat([features_of(self.backbone, crop.flatten(0, 1)) for crop in crops])
        student = self.head(features).unflatten(0, (-1, images))
        with torch.no_grad():
            logits = self.teacher_head(features_of(self.teacher_backbone, crops[0].flatten(0, 1)))
        teacher = self.answers(logits, self.center)
        loss = dino_loss(student, teacher.distributions.unflatten(0, (given, images)), self.config.student_temperature)
        return {"loss": loss * teacher.share, **teacher.health(loss)}
