"""What is alike within and across pictures, as an encoder has it: its patches, coloured by their principal components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.patch_maps import patch_map
from ...models.training.config import key
from ...models.vit import is_plain_vit, open_to_sizes
from .colours import heat
from .scene import Drawn, Scene, at_least, finite, numbers
from .sheet import Tile, levels, sheet

GAIN = 2.0
"""Of whitened components before the logistic curve: DINOv3's vivid colours. Source: facebookresearch/dinov3, pca.ipynb."""

ABREAST, TILE_PX = 8, 192
"""Pictures side by side, with what is made of them below."""

FEWEST = 4
"""Patches that three components can be had of."""


@dataclass(frozen=True)
class PatchPcaConfig:
    samples: int = key("so many pictures, a fixed random part of them; what is alike across them gets one colour", 8)
    layer: str | None = key("of which layer, as `viewmill eval layers` names them; null: a plain vision transformer's patches "
                            "after the last norm, another network's last map", None)
    foreground: bool = key("leave dark what the first component has on the side of the pictures' rims, and colour the rest by "
                           "components of its own, as DINOv2's figure does; false: colour all", True)
    centre: Literal["all", "place"] = key("all: patches are compared with the mean of all; place: with the mean of the same "
                                          "place in all pictures, without what is said of the place alone", "all")
    threshold: float = key("where foreground begins, in standard deviations of the first component above its mean", 0.0)
    enlarge: Literal["bicubic", "nearest"] = key("how a patch's colour becomes pixels", "nearest")

    def __post_init__(self) -> None:
        at_least(self, 1, "samples")


def draw(scene: Scene, config: PatchPcaConfig) -> Drawn:
    """Raises ValueError, one line, where the network has no patches or maps, takes no such size, or where nothing is left to
    colour."""
    encoder = scene.encoder
    open_to_sizes(encoder.module)
    images, plain, keys = scene.seen(scene.pictures(limit=config.samples))
    found = finite(patch_map(encoder.module, images.to(scene.world.device), config.layer).cpu(), f"patches of {encoder.name}")
    if config.centre == "place":
        found = found - found.mean(0)
    count, rows, columns, _ = found.shape
    first, share = scores(found, found, 1)
    first = outwards(first[..., 0])
    kept = first > config.threshold if config.foreground else torch.ones_like(first, dtype=torch.bool)
    if int(kept.sum()) < FEWEST:
        raise ValueError(f"threshold={config.threshold:g} leaves {int(kept.sum())} patches to colour; use a lower one, more "
                         "pictures, or foreground=false")
    three, shares = scores(found, found[kept], 3)
    colours = torch.sigmoid(GAIN * three).permute(0, 3, 1, 2) * kept[:, None]
    parts = {"picture": plain}
    if config.foreground:
        parts["first\ncomponent"] = _grown(heat(torch.sigmoid(GAIN * first)), plain, config.enlarge)
    parts["foreground's\nthree" if config.foreground else "first\nthree"] = _grown(colours, plain, config.enlarge)
    lines, names = [], []
    for start in range(0, count, ABREAST):
        for name, part in parts.items():
            lines.append([Tile(pixels) for pixels in levels(part[start : start + ABREAST])])
            names.append(name)
    place = ", from the mean at each place" if config.centre == "place" else ""
    where = config.layer or ("tokens after the last norm" if is_plain_vit(encoder.module) else "the last map")
    of = ", ".join(f"{100 * each:.0f}" for each in shares.tolist())
    how = ("Colours are the first three principal components of all" if not config.foreground else
           f"The first principal component of all ({100 * float(share):.0f} % of their variance) splits them; the side that has "
           f"less of the pictures' rims, {100 * kept.float().mean():.0f} % of them, is coloured by three components of its own")
    return Drawn(sheet(lines, names=names, tile_px=TILE_PX),
                 f"Patches of {numbers(count, 'picture')} by their principal components",
                 f"{encoder.name}: {where}, {rows} x {columns} patches a picture of {plain.shape[-1]} px{place}. {how} ({of} % "
                 f"of the variance) as red, green and blue. Alike in colour: alike to the encoder. Pictures: {', '.join(keys)}.")


def scores(found: Tensor, among: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """found (..., D) on the first `count` principal components of rows (M, D), whitened: of mean 0 and variance 1 among those
    rows; (..., count) float32, and each component's share of the variance (count,). A component points to where its largest
    coordinate is positive. Of fewer than `count` that differ, the rest are 0."""
    rows = among.double().flatten(0, -2)
    mean = rows.mean(0)
    # Of the covariance: there are far more patches than dimensions, and a decomposition of all would take long.
    variance, axes = torch.linalg.eigh((rows - mean).T @ (rows - mean) / max(len(rows) - 1, 1))
    variance, axes = variance.flip(0).clamp_min(0), axes.T.flip(0)
    share = (variance / variance.sum().clamp_min(1e-300))[:count]
    there = variance > 1e-12 * variance[0].clamp_min(1e-24)
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    axes = torch.where(there[:, None], axes / variance.sqrt().clamp_min(1e-150)[:, None], 0)[:count]
    made = (found.double() - mean) @ axes.T
    lacking = count - made.shape[-1]
    return F.pad(made, (0, lacking)).float(), F.pad(share, (0, lacking)).float()


def outwards(first: Tensor) -> Tensor:
    """first (N, rows, columns), or its negative: whichever is lower along the pictures' rims than inside, where objects mostly
    are; as it is where pictures have no inside. A component's sign is arbitrary, and figures choose it by eye."""
    inside = torch.zeros(first.shape[1:], dtype=torch.bool)
    inside[1:-1, 1:-1] = True
    if not inside.any():
        return first
    return first if first[:, inside].mean() >= first[:, ~inside].mean() else -first


def _grown(pictures: Tensor, like: Tensor, mode: str) -> Tensor:
    """(N, 3, rows, columns) to the size of pictures `like` (N, 3, H, W)."""
    return F.interpolate(pictures, like.shape[2:], mode=mode).clamp(0, 1)
