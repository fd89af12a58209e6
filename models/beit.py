"""BEiT (Bao et al. 2021, arXiv:2106.08254): which of a tokenizer's codes has each patch that is hidden?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..losses.dvae import perplexity
from .distributed import add_up
from .masked_transformer import MaskedTransformer, MaskedTransformerConfig, share_of
from .pictured import Shown
from .token_pictures import token_map
from .token_targets import TokenTargets, TokenTargetsConfig
from .views import Views


@dataclass(frozen=True)
class BEiTConfig(TokenTargetsConfig, MaskedTransformerConfig):
    """The published defaults are those of ViT-B/16."""

    def __post_init__(self) -> None:
        MaskedTransformerConfig.__post_init__(self)
        TokenTargetsConfig.__post_init__(self)


class BEiT(MaskedTransformer):
    """Group "target" holds the same V views as "global" (V, B, C, h, w), of the size that gives a code for each patch, valued as
    the tokenizer's. A linear head tells the code of each masked patch from its token."""

    Config = BEiTConfig
    config: BEiTConfig

    def __init__(self, config: BEiTConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__(config, image_px=image_px, in_chans=in_chans)
        self.head = nn.Linear(self.feature_dim, config.vocabulary)
        begin_as_beit(self.encoder)
        nn.init.zeros_(self.head.bias)
        for first in (self.head.weight, self.mask_token):
            nn.init.trunc_normal_(first, std=0.02, a=-0.02, b=0.02)
        self.targets = TokenTargets(config, in_chans)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": cross-entropy, mean over the masked patches of the whole batch, nats; ln K where nothing is known; "accuracy":
        share of them whose code is told; "perplexity": of their true codes, on all ranks: a guess by frequency costs its
        logarithm}.

        Several ranks: each returns its share of the loss times the world size, so that the mean over ranks is that of all. Raises
        ValueError where masks or codes have another grid than patches, nothing is masked, or there is no tokenizer.
        """
        images, mask = self.masked(batch)
        codes = self.targets.codes(self._target(batch), self.grid)[mask]
        logits = self.head(self.tokens(images, mask)[:, self.prefix :][mask])
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        share = share_of(len(codes), images.device)
        with torch.no_grad():
            right = (logits.argmax(1) == codes).float().mean() * share
            counts = add_up(torch.bincount(codes, minlength=self.config.vocabulary))
        return {"loss": F.cross_entropy(logits, codes) * share, "accuracy": right, "perplexity": perplexity(counts).float()}

    def wants_pass(self, epoch: float) -> bool:
        return self.targets.wants_pass(epoch)

    def observe(self, batch: Views) -> None:
        self.targets.observe(self._target(batch))

    def before_step(self, epoch: float) -> None:
        self.targets.open()

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """Of each image's first view "masked"; "codes", each in a colour of its own; "told", the likeliest ones where it was
        masked; "painted" from those, where the tokenizer can; "original"."""
        images, mask = self.masked(batch)
        count = batch.views["global"].shape[1]  # the first views come first
        images, mask, target = images[:count], mask[:count], self._target(batch)[:count]
        codes = self.targets.codes(target, self.grid)
        told = torch.where(mask, self.head(self.tokens(images, mask)[:, self.prefix :]).argmax(2), codes)
        original = batch.rgb("global", images)
        hidden = mask.unflatten(1, self.grid).repeat_interleave(self.patch_px, 1).repeat_interleave(self.patch_px, 2)[:, None]
        columns = {"masked": torch.where(hidden, 0.5, original)}
        for title, shown in (("codes", codes), ("told", told)):
            columns[title] = token_map(shown.unflatten(1, self.grid), self.config.vocabulary)
        painted = self.targets.paint(told, self.grid)
        columns |= {} if painted is None else {"painted": batch.rgb("target", painted)}
        return columns | {"original": original}

    @staticmethod
    def _target(batch: Views) -> Tensor:
        if "target" not in batch.views:
            raise ValueError(f"beit needs views for its tokenizer in a group 'target', the recipe has {', '.join(batch.views)}; "
                             "use recipe=beit, or recipe=beit_cifar")
        return batch.views["target"].flatten(0, 1)


@torch.no_grad()
def begin_as_beit(module: nn.Module) -> None:
    """First weights of a vision transformer as BEiT's code has them: Gaussians of standard deviation 0.02 cut at +-0.02 for all
    matrices, the patches' projection, tokens and positions; biases 0; in block l, from 1 on, what leads out of attention and MLP
    over sqrt(2 l). Tables of relative biases stay at 0. Source: microsoft/unilm, beit/modeling_pretrain.py."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(part.weight, std=0.02, a=-0.02, b=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for name in ("cls_token", "reg_token", "pos_embed"):
        token = getattr(module, name, None)
        if isinstance(token, Tensor):
            nn.init.trunc_normal_(token, std=0.02, a=-0.02, b=0.02)
    blocks: Any = getattr(module, "blocks", nn.ModuleList())
    for number, block in enumerate(blocks.children(), 1):
        for leads_out in (block.attn.proj, block.mlp.fc2):
            leads_out.weight.div_(math.sqrt(2 * number))
