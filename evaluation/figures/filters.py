"""What an encoder looks for first: the weights of its first layer, as pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ...augment.ops import LabSplit, Sobel
from ...models.training.config import key
from .scene import Drawn, Scene, at_least, finite, numbers
from .sheet import Tile, levels, sheet

WIDE_PX = 1100
"""About how wide a sheet of filters becomes."""

PATCH_PX = 4
"""From this side on filters that do not overlap are a transformer's patches, of which single ones say little."""


@dataclass(frozen=True)
class FiltersConfig:
    kind: Literal["auto", "filters", "components"] = key(
        "filters: each by itself; components: the principal components of all, as ViT's figure has them; auto: components where "
        f"filters do not overlap and have {PATCH_PX} px or more, as a transformer's patches, else filters", "auto")
    most: int = key("so many at most, those with the largest weights, or the first components", 128)

    def __post_init__(self) -> None:
        at_least(self, 1, "most")


def draw(scene: Scene, config: FiltersConfig) -> Drawn:
    """Raises ValueError, one line, where the network begins with no convolution."""
    encoder = scene.encoder
    name, weight, strides = first_layer(encoder.module)
    finite(weight, f"weights of {encoder.name}")
    whole = strides == tuple(weight.shape[2:]) and min(strides) >= PATCH_PX
    by = config.kind if config.kind != "auto" else "components" if whole else "filters"
    rgb = weight.shape[1] == 3 and not any(isinstance(op, LabSplit | Sobel) for op in encoder.view.instances[0].ops)
    energy = weight.flatten(1).norm(dim=1)
    if by == "components":
        shown, share = components(weight, config.most)
        what = f"the first {numbers(len(shown), 'principal component')} of its {numbers(len(weight), 'filter')}, " \
               f"{100 * share.sum():.0f} % of their variance"
    else:
        shown = weight[energy.argsort(descending=True)[: config.most]]
        what = (f"its {numbers(len(shown), 'filter')}" if len(shown) == len(weight) else
                f"{len(shown)} of its {len(weight):,} filters") + ", the largest weights first"
    tiles = [Tile(levels(each)) for each in painted(shown, rgb)]
    side = 1 << 6 if max(weight.shape[2:]) <= 8 else 80
    abreast = max(min(WIDE_PX // (side + 4), len(tiles)), 1)
    abreast = next((n for n in range(abreast, abreast // 2, -1) if len(tiles) % n == 0), abreast)
    rows: list[list[Tile | None]] = [list(tiles[start : start + abreast]) for start in range(0, len(tiles), abreast)]
    channels = "" if rgb else f", each of its {weight.shape[1]} input channels by itself"
    norms = "" if by == "components" else f" Norms of all go from {energy.min():.3g} to {energy.max():.3g}."
    return Drawn(sheet(rows, tile_px=side, gap_px=4), f"The first layer's {by if by == 'filters' else 'filters, by components'}",
                 f"{encoder.name}: {name}, {weight.shape[2]} x {weight.shape[3]} weights, stride {strides[0]}; {what}{channels}. "
                 f"Middle gray is 0; each is scaled by its own largest weight.{norms}")


def first_layer(module: nn.Module) -> tuple[str, Tensor, tuple[int, ...]]:
    """(name, weight (filters, C, h, w) float32, strides) of the first convolution, in the order of the network's parts. Raises
    ValueError, one line, where there is none."""
    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            return name or type(module).__name__, part.weight.detach().float().cpu(), tuple(part.stride)
    raise ValueError(f"backbone {type(module).__name__} begins with no convolution whose filters could be shown")


def components(weight: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """weight (filters, C, h, w) to its first principal components (K, C, h, w) of norm 1, K at most `most` and as many as differ,
    and their shares of the variance (K,). Source: ViT, arXiv:2010.11929, figure 7."""
    rows = weight.flatten(1).double()
    _, singular, axes = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    count = min(most, int((singular > 1e-6 * singular[0]).sum()))
    share = singular**2 / (singular**2).sum()
    return axes[:count].unflatten(1, weight.shape[1:]).float(), share[:count].float()


def painted(weight: Tensor, rgb: bool) -> Tensor:
    """weight (K, C, h, w) to pictures in [0, 1] around 0.5, which is 0: (K, 3, h, w) of three channels that are red, green and
    blue; else (K * C, 3, h, w), gray, each channel by itself."""
    if not rgb:
        weight = weight.flatten(0, 1)[:, None].expand(-1, 3, -1, -1)
    return 0.5 + weight / (2 * weight.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12))
