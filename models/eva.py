"""EVA (Fang et al. 2022, arXiv:2211.07636): what would a network that knows texts say of the patches that are hidden?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..losses.cosine import negative_cosine
from .masked_transformer import MaskedTransformer, MaskedTransformerConfig, share_of
from .patch_pictures import mapped, overlaid
from .pictured import Shown
from .teachers import ChosenTeacher, TeacherConfig
from .training.bounds import above_zero
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class EVAConfig(TeacherConfig, MaskedTransformerConfig):
    first_std: float = key("of the first weights, Gaussian and cut at one standard deviation", 0.015)

    def __post_init__(self) -> None:
        MaskedTransformerConfig.__post_init__(self)
        TeacherConfig.__post_init__(self)
        above_zero(self, "first_std")


class EVA(MaskedTransformer):
    """A linear head tells from the token of each masked patch the direction of the teacher's token of that patch.

    Group "global" as of MaskedTransformer; group "target" holds the same views for the teacher, where the recipe has it.
    """

    Config = EVAConfig
    whole_batch = None
    config: EVAConfig

    def __init__(self, config: EVAConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__(config, image_px=image_px, in_chans=in_chans)
        width = config.target_dim or self.feature_dim
        self.head = nn.Linear(self.feature_dim, width)
        self._begin(config.first_std)
        self.teacher = ChosenTeacher(config, self.encoder)  # last: its average begins as the encoder does

    @torch.no_grad()
    def _begin(self, std: float) -> None:
        """First weights as in the authors' code, which is BEiT's: the l-th block's last matrices over sqrt(2 l)."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=std, a=-std, b=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        vit: Any = self.encoder
        for token in (self.mask_token, vit.cls_token, vit.pos_embed):
            if token is not None:
                nn.init.trunc_normal_(token, std=std, a=-std, b=std)
        vit.fix_init_weight()

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": -cos of what is told and the teacher's token, mean over the masked patches of the whole batch, in [-1, 1];
        "known": cos of the teacher's tokens and their mean direction, what telling always the same comes to: 1 where a teacher
        says nothing}.

        Several ranks: each returns its share of both times the world size. Raises ValueError where the masks' grid is not the
        patches' or the teacher's, nothing is masked, or there is no teacher.
        """
        images, mask = self.masked(batch)
        target = self.teacher(self._shown_to_the_teacher(batch), self.grid).patches[mask].float()
        told = self.head(self.tokens(images, mask)[:, self.prefix :][mask])
        share = share_of(len(told), images.device)
        with torch.no_grad():
            directions = F.normalize(target, dim=1)
            known = (directions @ F.normalize(directions.mean(0), dim=0)).mean()
        return {"loss": negative_cosine(told, target) * share, "known": known * share}

    def before_step(self, epoch: float) -> None:
        self.teacher.open()

    def after_step(self, progress: float) -> None:
        self.teacher.follow(self.encoder, progress)

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """Of each image's first view "masked", what the network sees; "told", how near what it tells of the hidden patches is
        to the teacher's: white 1, black 0 or less of the cosine; "original"."""
        images, masks = batch.views["global"][0].float(), batch.masks("global")[0].to(batch.views["global"].device)
        target = self.teacher(self._shown_to_the_teacher(batch)[: len(images)], self.grid).patches
        told = self.head(self.tokens(images, masks.flatten(1))[:, self.prefix :])
        near = torch.where(masks.flatten(1), F.cosine_similarity(told.float(), target.float(), dim=2), 0.0)
        original = batch.rgb("global", images)
        return {"masked": overlaid(original, masks), "told": mapped(near.unflatten(1, self.grid), original), "original": original}

    def _shown_to_the_teacher(self, batch: Views) -> Tensor:
        views, own = batch.views.get("target"), batch.views["global"]
        if views is None:
            return own.flatten(0, 1)
        if views.shape[:2] != own.shape[:2]:
            raise ValueError(f"group 'target' needs the views of group 'global' once more, got {views.shape[0]} of them beside "
                             f"{own.shape[0]}")
        return views.flatten(0, 1)
