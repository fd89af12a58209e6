"""`viewmill eval attention ENCODER data=...`: where the class token of a vision transformer looks, head by head, as a picture."""

# ruff: noqa: RUF009 (key() gives a dataclass field)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..models.attention import class_attention, largest
from ..models.training import process
from ..models.training.config import describe, key
from ..models.training.manual import rows
from ..models.training.overrides import filled, split
from ..models.vit import open_to_sizes
from ..pipelines.source import open_source
from .encoder import Encoder, open_encoder
from .pictures import Pictures, evaluation_recipe

GAP_PX, DARK = 4, 0.2
HEAT = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
"""Levels of the colours from least to most, evenly spaced, straight lines between; lightness rises throughout."""


@dataclass(frozen=True)
class AttentionConfig:
    data: Any = key("pictures, labelled or not: tar shards, a folder, addresses")
    out: str = key("the picture that is written", "attention.png")
    samples: int = key("so many pictures, a fixed random part of them, a row each", 4)
    mass: float | None = key("show instead the patches that together hold so much of a head's attention, DINO's figure 0.6", None)
    enlarge: Literal["bicubic", "nearest"] = key("how a patch's share becomes pixels", "bicubic")
    overlay: float = key("how much of the colours lies over the picture, 0 to 1", 0.7)
    tile_px: int = key("pictures are shown at the largest whole multiple of their side up to here", 224)
    backbone: str | None = key("the network that a file of weights belongs to", None)
    weights_key: str | None = key("which network of a file that holds several, for example teacher", None)
    image_px: int | None = key("side of the pictures, any that the patches divide; null: as the encoder was trained", None)
    pretrained: bool = key("of a name of timm's: its published weights; false: untrained", True)
    device: Literal["auto", "cpu", "cuda"] = key("auto: cuda where there is one", "auto")

    def __post_init__(self) -> None:
        for name in ("samples", "tile_px", "image_px"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} needs a whole number of at least 1, got {value}")
        if not 0 <= self.overlay <= 1:
            raise ValueError(f"overlay needs a number in [0, 1], got {self.overlay}")
        if self.mass is not None and not 0 < self.mass <= 1:
            raise ValueError(f"mass needs a number in (0, 1], got {self.mass}")


def main(words: Sequence[str]) -> int:
    """Run `viewmill eval attention WORDS` and print what came of it. Raises ValueError, one line."""
    names = [word for word in words if "=" not in word]
    if len(names) != 1:
        raise ValueError("viewmill eval attention needs one encoder, a run's folder, a checkpoint, a file of weights or a name "
                         f"of timm's, got {len(names)}: {' '.join(names) or 'none'}")
    pairs = [split(word) for word in words if "=" in word]
    config = filled(AttentionConfig(data="unset"), pairs)
    if "data" not in (name for name, _ in pairs):
        raise ValueError("viewmill eval attention needs pictures: data=PATTERN, for example data='test-{0000..0009}.tar', or a "
                         "folder")
    world = process.start(config.device)
    try:
        encoder = open_encoder(names[0], backbone=config.backbone, pretrained=config.pretrained, weights_key=config.weights_key)
        pictures = Pictures(open_source(config.data), config.samples, f"data={config.data}", 1, unlabelled=True)
        sheet, heads = drawn(encoder.to(world.device), pictures, config)
        Image.fromarray(sheet).save(config.out)
    finally:
        process.leave(world)
    keys = ", ".join(pictures.source.key(int(i)) for i in pictures.index)
    print(f"encoder    {encoder.name}\nrows       {keys}\ncolumns    the picture, then each of the last block's {heads} heads\n"
          f"attention  {config.out}", flush=True)
    return 0


def drawn(encoder: Encoder, pictures: Pictures, config: AttentionConfig) -> tuple[np.ndarray, int]:
    """(height, width, 3) uint8: a row for each picture, as it is shown to the encoder and then with each head's attention; and
    how many heads. Raises ValueError, one line, where the network has no such attention, or takes no such size."""
    side = config.image_px or encoder.image_px
    module, device = encoder.module, next(encoder.parameters()).device
    open_to_sizes(module)
    views = [evaluation_recipe(encoder.view, side, raw=raw) for raw in (False, True)]
    shown: list[np.ndarray] = []
    heads = 0
    for seen, plain in zip(*(pictures.pieces(view) for view in views), strict=True):
        found = class_attention(module, seen.images.to(device)).cpu()
        heads = found.shape[1]
        shown += [row(picture, shares, config) for picture, shares in zip(plain.images, found, strict=True)]
    if not shown:
        raise ValueError(f"{pictures.name} has no picture that can be read")
    return np.concatenate([line for each in shown for line in (each, _gap(GAP_PX, each.shape[1]))][:-1]), heads


def row(picture: Tensor, shares: Tensor, config: AttentionConfig) -> np.ndarray:
    """picture (3, H, W) in [0, 1], shares (heads, rows, columns) to (height, width, 3) uint8: the picture, then one for each
    head: over it the colours of its shares from the least to the largest, or with a mass the picture where the patches that hold
    it are, and dark elsewhere."""
    times = max(config.tile_px // picture.shape[1], 1)
    base = picture.clamp(0, 1).repeat_interleave(times, 1).repeat_interleave(times, 2)
    size = tuple(base.shape[1:])
    if config.mass is not None:
        kept = F.interpolate(largest(shares, config.mass)[None].float(), size, mode="nearest")[0]
        tiles = [base * (DARK + (1 - DARK) * each) for each in kept]
    else:
        values = F.interpolate(shares[None], size, mode=config.enlarge)[0]
        low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
        tiles = [torch.lerp(base, heat(each), config.overlay) for each in (values - low) / (high - low).clamp_min(1e-12)]
    pixels = [(255 * tile).round().byte().permute(1, 2, 0).numpy() for tile in (base, *tiles)]
    return np.concatenate([part for each in pixels for part in (each, _gap(each.shape[0], GAP_PX))][:-1], 1)


def heat(values: Tensor) -> Tensor:
    """(H, W) in [0, 1] to colours (3, H, W) in [0, 1]."""
    levels = torch.tensor(HEAT) / 255
    at = values.clamp(0, 1) * (len(HEAT) - 1)
    below = at.floor().long().clamp(max=len(HEAT) - 2)
    return torch.lerp(levels[below], levels[below + 1], (at - below)[..., None]).permute(2, 0, 1)


def manual() -> str:
    return "\n".join([HEAD, *rows(describe(AttentionConfig))])


HEAD = """Usage: viewmill eval attention ENCODER data=... out=picture.png [KEY=VALUE]...

Draw where the class token of a vision transformer looks: the last block's attention to the patches, head by head. ENCODER: the
folder of a run, a checkpoint of it, a file of weights (with backbone=), or a name of timm's.

  viewmill eval attention runs/dino data='cifar10/test-*.tar' samples=6 mass=0.6
"""


def _gap(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 255, np.uint8)
