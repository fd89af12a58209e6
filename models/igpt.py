"""iGPT (Chen et al., Generative Pretraining from Pixels, ICML 2020): which of a few colours has the next pixel, or a hidden
one?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..augment.ops.palette import fit_palette
from .distributed import gather
from .masked_transformer import share_of
from .method import Method
from .pictured import Shown
from .pixel_transformer import PixelTransformer
from .training.bounds import whole
from .training.config import key
from .views import Views

PIXELS_OF_AN_IMAGE, PIXELS = 8, 1 << 14
"""Of which a palette is made: at most so many of each image, and of all."""

LARGEST_COMPLETED = 256
"""Pixels of a picture up to which its lower half is completed, one pass for each: larger ones would keep a run waiting."""


@dataclass(frozen=True)
class IGPTConfig:
    """The published defaults are iGPT-S's."""

    objective: Literal["autoregressive", "bert"] = key("tell each pixel from those before it, or the masked from all others",
                                                       "autoregressive")
    colours: int = key("entries of the palette, K", 512)
    palette: str | None = key("a .npy file of (K, 3) colours in [-1, 1], as the authors published theirs; null: k-means of the "
                              "run's own pixels, in a pass before the first step", None)
    embed_dim: int = key("width of the transformer", 512)
    depth: int = key("its blocks", 24)
    heads: int = key("attention heads", 8)
    feature_layer: int | None = key("blocks that features go through, the best lies near the middle; null: half of them", None)

    def __post_init__(self) -> None:
        whole(self, "colours", least=2)
        whole(self, "embed_dim", "depth", "heads", "feature_layer")
        if self.embed_dim % self.heads:
            raise ValueError(f"model.embed_dim={self.embed_dim} needs to be a multiple of model.heads={self.heads}")
        if self.feature_layer is not None and self.feature_layer > self.depth:
            raise ValueError(f"model.feature_layer={self.feature_layer} needs at most model.depth={self.depth}")


class IGPT(Method):
    """Group "global" holds V views (V, B, 3, image_px, image_px) in [-1, 1]; for "bert" with a mask each, one place a pixel. The
    recipe's `palette` op says what is done here: each pixel becomes the nearest of K colours; L = image_px^2 tokens."""

    Config = IGPTConfig
    whole_batch = None
    encoder: PixelTransformer

    def __init__(self, config: IGPTConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        if in_chans != 3:
            raise ValueError(f"igpt's palette is of 3 channels, got in_chans={in_chans}")
        self.config, self.image_px = config, image_px
        layer = config.feature_layer or max(config.depth // 2, 1)
        self.encoder = PixelTransformer(config.colours, image_px, config.embed_dim, config.depth, config.heads,
                                        causal=config.objective == "autoregressive", feature_layer=layer)
        self.feature_dim = config.embed_dim
        self.head = nn.Linear(config.embed_dim, config.colours, bias=False)
        nn.init.zeros_(self.head.weight)
        self._seen: list[tuple[Tensor, Tensor]] = []  # (index, pixels) of each batch of a pass

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": cross-entropy in nats, ln K where nothing is known: the mean over all pixels, or ("bert") over the masked ones
        of each image, then over the images that have some; "accuracy": share of those pixels whose colour is the likeliest}.

        Several ranks, "bert": each returns its share of the loss times the world size. Raises ValueError where masks do not fit,
        or nothing is masked.
        """
        codes = self.encoder.codes(batch.views["global"].flatten(0, 1))
        mask = self._mask(batch, codes)
        logits = self.head(self.encoder.tokens(codes, mask))
        costs = F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)).mT, codes, reduction="none")
        right = (logits.detach().argmax(2) == codes).to(costs.dtype)
        if mask is None:
            return {"loss": costs.mean(), "accuracy": right.mean()}
        counts = mask.sum(1)
        some = counts > 0
        share = share_of(int(some.sum()), codes.device)
        of_images = [((each * mask).sum(1) / counts.clamp(min=1))[some].mean() * share for each in (costs, right)]
        return {"loss": of_images[0], "accuracy": of_images[1]}

    def wants_pass(self, epoch: float) -> bool:
        return epoch == 0 and self.config.palette is None

    @torch.no_grad()
    def observe(self, batch: Views) -> None:
        """Keep a few pixels of each image, at places that its index says."""
        pixels = batch.views["global"][0].float().flatten(2)
        index = batch.index.to(pixels.device)
        steps = torch.arange(min(PIXELS_OF_AN_IMAGE, pixels.shape[2]), device=pixels.device)
        places = (index[:, None] * 7919 + steps * 104729) % pixels.shape[2]
        self._seen.append((index, pixels.gather(2, places[:, None].expand(-1, 3, -1)).mT))

    def before_step(self, epoch: float) -> None:
        if self._seen:
            self._fit()
        elif epoch == 0 and self.config.palette is not None:  # later it is in the checkpoint, and the file may be gone
            self.encoder.palette.copy_(_read(self.config.palette, self.config.colours))

    def _fit(self) -> None:
        """The palette of what was seen on all ranks, in the images' order, so that no number of ranks changes it."""
        index, _ = gather(torch.cat([each for each, _ in self._seen]))
        pixels, _ = gather(torch.cat([each for _, each in self._seen]))
        self._seen = []
        rows = pixels[index.argsort(stable=True)].flatten(0, 1)
        if len(rows) > PIXELS:
            rows = rows[torch.arange(PIXELS, device=rows.device) * len(rows) // PIXELS]
        try:
            palette = fit_palette(rows, self.config.colours, seed=0)
        except ValueError as error:
            raise ValueError(f"model.colours={self.config.colours} are more than the images show ({error}); use fewer, or give "
                             "model.palette") from None
        self.encoder.palette.copy_(palette)

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """Of each image's first view "colours", each pixel's token; "masked" ("bert"); "told", the likeliest colour of each pixel
        that is to be told; small ones "completed" below the middle, pixel by pixel (autoregressive); "original"."""
        images = batch.views["global"][0]
        codes = self.encoder.codes(images)
        mask = self._mask(batch, codes, views=1)
        told = self.head(self.encoder.tokens(codes, mask)).argmax(2)
        columns = {"colours": self._painted(batch, codes)}
        if mask is not None:
            hidden = mask.unflatten(1, (self.image_px, self.image_px))[:, None]
            columns["masked"] = torch.where(hidden, 0.5, columns["colours"])
            told = torch.where(mask, told, codes)
        columns["told"] = self._painted(batch, told)
        if mask is None and codes.shape[1] <= LARGEST_COMPLETED:
            columns["completed"] = self._painted(batch, self.completed(codes, codes.shape[1] // 2))
        return columns | {"original": batch.rgb("global", images)}

    @torch.no_grad()
    def completed(self, codes: Tensor, given: int) -> Tensor:
        """codes (N, L), of which the first `given` stay and each further one is drawn by what the network says of it, from
        torch's own generator."""
        made = codes.clone()
        for place in range(given, codes.shape[1]):
            shares = self.head(self.encoder.tokens(made)[:, place]).float().softmax(1)
            made[:, place] = torch.multinomial(shares, 1)[:, 0]
        return made

    def _painted(self, batch: Shown, codes: Tensor) -> Tensor:
        pixels = self.encoder.palette[codes].mT.unflatten(2, (self.image_px, self.image_px))
        return batch.rgb("global", pixels)

    def _mask(self, batch: Views, codes: Tensor, views: int | None = None) -> Tensor | None:
        if self.config.objective == "autoregressive":
            return None
        mask = batch.masks("global")[:views].flatten(0, 1)
        if tuple(mask.shape[1:]) != (self.image_px, self.image_px):
            raise ValueError(f"masks of {mask.shape[1]} x {mask.shape[2]} places do not fit {self.image_px} x {self.image_px} "
                             "pixels; set grid of the recipe's mask")
        return mask.flatten(1).to(codes.device, non_blocking=True)


def _read(path: str, colours: int) -> Tensor:
    try:
        found = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"model.palette={path} cannot be read ({' '.join(str(error).split())[:120]}); give a .npy file of "
                         f"({colours}, 3) numbers in [-1, 1], or null for one of the run's own pixels") from error
    if (not isinstance(found, np.ndarray) or found.shape != (colours, 3) or found.dtype.kind not in "iuf"
            or not np.isfinite(found).all() or np.abs(found).max() > 1):
        kind = f"{found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else "an archive"
        raise ValueError(f"model.palette={path} needs ({colours}, 3) numbers in [-1, 1], got {kind}")
    return torch.from_numpy(found.astype(np.float32))
