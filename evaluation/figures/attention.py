"""Where the class token of a vision transformer looks, head by head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.attention import class_attention, largest
from ...models.training.config import key
from ...models.vit import open_to_sizes
from .colours import heat, to_unit
from .scene import Drawn, Scene, at_least, numbers
from .sheet import Tile, levels, sheet

DARK = 0.2


@dataclass(frozen=True)
class AttentionConfig:
    samples: int = key("so many pictures, a fixed random part of them, a row each", 4)
    mass: float | None = key("show instead the patches that together hold so much of a head's attention, DINO's figure 0.6", None)
    enlarge: Literal["bicubic", "nearest"] = key("how a patch's share becomes pixels", "bicubic")
    overlay: float = key("how much of the colours lies over the picture, 0 to 1", 0.7)
    tile_px: int = key("pictures are shown at the largest whole multiple of their side up to here", 224)

    def __post_init__(self) -> None:
        at_least(self, 1, "samples", "tile_px")
        if not 0 <= self.overlay <= 1:
            raise ValueError(f"overlay needs a number in [0, 1], got {self.overlay}")
        if self.mass is not None and not 0 < self.mass <= 1:
            raise ValueError(f"mass needs a number in (0, 1], got {self.mass}")


def draw(scene: Scene, config: AttentionConfig) -> Drawn:
    """A row for each picture: as it is shown to the encoder, then with each head's attention. Raises ValueError, one line, where
    the network has no such attention, or takes no such size."""
    encoder = scene.encoder
    open_to_sizes(encoder.module)
    images, plain, keys = scene.seen(scene.pictures(limit=config.samples))
    found = class_attention(encoder.module, images.to(scene.world.device)).cpu()
    heads = found.shape[1]
    rows = [row(picture, shares, config) for picture, shares in zip(plain, found, strict=True)]
    image = sheet([[Tile(levels(tile)) for tile in each] for each in rows], tile_px=config.tile_px,
                  heads=["picture", *(f"head {head + 1}" for head in range(heads))])
    how = (f"Seen are the patches that together hold {config.mass:g} of a head's attention" if config.mass is not None else
           "Colours go from a head's least share, dark, to its largest, light, in each picture by itself")
    return Drawn(image, f"Where the class token looks, in {numbers(heads, 'head')}",
                 f"{encoder.name}: the last block's attention from the class token to the {found.shape[2]} x {found.shape[3]} "
                 f"patches of a picture of {plain.shape[-1]} px. {how}. Pictures: {', '.join(keys)}.")


def row(picture: Tensor, shares: Tensor, config: AttentionConfig) -> list[Tensor]:
    """picture (3, H, W) in [0, 1], shares (heads, rows, columns) to pictures (3, height, width) in [0, 1]: the picture, then one
    for each head: over it the colours of its shares from the least to the largest, or with a mass the picture where the patches
    that hold it are, and dark elsewhere."""
    times = max(config.tile_px // picture.shape[1], 1)
    base = picture.clamp(0, 1).repeat_interleave(times, 1).repeat_interleave(times, 2)
    size = tuple(base.shape[1:])
    if config.mass is not None:
        kept = F.interpolate(largest(shares, config.mass)[None].float(), size, mode="nearest")[0]
        return [base, *(base * (DARK + (1 - DARK) * each) for each in kept)]
    values = F.interpolate(shares[None], size, mode=config.enlarge)[0]
    return [base, *(torch.lerp(base, each, config.overlay) for each in heat(to_unit(values)))]
