"""data2vec for images (Baevski et al. 2022, arXiv:2202.03555): what does the network itself, some time ago and with all patches
in view, say at the places that are hidden?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .ema import follow, follower
from .masked_transformer import MaskedTransformer, MaskedTransformerConfig, share_of
from .pictured import Shown
from .token_pictures import in_colours, of_patches
from .training.bounds import above_zero, from_0_to_1, whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class Data2VecConfig(MaskedTransformerConfig):
    layer_scale: float | None = key("relative: first gain of what each block adds; null: none", 1e-4)
    drop_path: float = key("stochastic depth of the student's last block", 0.25)
    attention_dropout: float = key("share of the student's attention weights that are left out", 0.05)
    target_blocks: int = key("last blocks of the teacher whose outputs are averaged", 6)
    beta: float = key("distance up to which the loss is quadratic, and linear beyond", 2.0)
    teacher_momentum: float = key("of the teacher's moving average, all through", 0.9998)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "target_blocks")
        above_zero(self, "beta")
        from_0_to_1(self, "attention_dropout", "teacher_momentum")


class Data2Vec(MaskedTransformer):
    """`encoder`, the student, sees the mask vector in the hidden patches' places; `teacher`, its moving average, all patches,
    without stochastic depth and dropout. A linear head tells the teacher's values from the student's tokens."""

    Config = Data2VecConfig
    whole_batch = None
    config: Data2VecConfig

    def __init__(self, config: Data2VecConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__(config, image_px=image_px, in_chans=in_chans)
        if config.target_blocks > len(self.encoder.blocks):
            raise ValueError(f"model.target_blocks={config.target_blocks} needs to be at most the {len(self.encoder.blocks)} "
                             "blocks that there are")
        self.teacher = follower(self.encoder).eval()
        self.head = nn.Linear(self.feature_dim, self.feature_dim)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def train(self, mode: bool = True) -> Data2Vec:
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": smooth L1, mean over a target's values and over the hidden patches of the whole batch; "error": the same over
        that of the targets' mean, below 1 where more than the mean is known; "target_variance": of each value over the hidden
        patches, their mean, in [0, 1]: 0 where the teacher says the same of all patches}.

        Several ranks: each returns its share of the loss times the world size, so that the mean over ranks is that of all.
        Raises ValueError where the masks' grid is not the patches', or nothing is masked.
        """
        for block in self.encoder.blocks:  # set here: whoever trains the encoder to another end begins without
            block.attn.attn_drop.p = self.config.attention_dropout
        images, mask = self.masked(batch)
        target = self.targets(images)[mask]
        told = self.head(self.tokens(images, mask)[:, self.prefix :][mask]).to(target.dtype)
        share = share_of(len(told), images.device)
        loss = F.smooth_l1_loss(told, target, beta=self.config.beta) * share
        with torch.no_grad():
            of_mean = F.smooth_l1_loss(target.mean(0).expand_as(target), target, beta=self.config.beta) * share
            variance = target.var(0, unbiased=False).mean() * share
        return {"loss": loss, "error": loss.detach() / of_mean.clamp(min=1e-12), "target_variance": variance}

    @torch.no_grad()
    def targets(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) to (N, L, D), float32 or wider: the patches' values behind each of the teacher's last blocks, each
        token of each block brought to mean 0 and variance 1, averaged over blocks, and so brought again."""
        levels = self.teacher.forward_intermediates(images, indices=self.config.target_blocks, output_fmt="NLC",
                                                    intermediates_only=True)
        return _normalized(torch.stack([_normalized(level) for level in levels]).mean(0))

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """Of each image's first view "masked", what the student sees; "told", what its head says of the hidden patches, in
        colours for directions in which the teacher's values differ, and the teacher's of the others; "teacher", all the
        teacher's; "original"."""
        images, mask = (given[: batch.views["global"].shape[1]] for given in self.masked(batch))
        target = self.targets(images)
        told = torch.where(mask[:, :, None], self.head(self.tokens(images, mask)[:, self.prefix :]).to(target.dtype), target)
        teacher, told = (of_patches(x, *self.grid, self.patch_px) for x in in_colours(target, told))
        hidden = of_patches(mask[:, :, None], *self.grid, self.patch_px)
        original = batch.rgb("global", images)
        return {"masked": torch.where(hidden, 0.5, original), "told": told, "teacher": teacher, "original": original}

    def after_step(self, progress: float) -> None:
        follow(self.teacher, self.encoder, self.config.teacher_momentum)


def _normalized(tokens: Tensor) -> Tensor:
    wide = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
    return F.layer_norm(wide, wide.shape[-1:])
