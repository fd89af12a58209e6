"""From levels to what the network sees; always the last op on pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op, UnsupportedRecipe

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

FLAT = 1e-3
"""In levels: half the spread of a 255 px tile with one pixel one level off, thirty times the float noise of a tile without."""
_NEEDED = {"mean-std": ("mean", "std"), "range": ("range",), "affine": ("gain", "offset"), "tile-mean": ("channels",),
           "tile-mean-std": ("channels", "gain"), "tile-rms": ("gain",)}
"""What each kind needs stated."""


@dataclass(frozen=True, kw_only=True)
class Normalize(Op):
    """v = level / 255; in the space "lab", behind lab_split, v is the Lab value itself. kind "none": v; "mean-std":
    (v - mean) / std; "range": [0, 1] onto range; "affine": v * gain + offset.

    By the pixels of each view: "tile-mean": v less its mean; "tile-mean-std": that over the population std, times gain;
    "tile-rms": v over its root mean square, times gain. channels: whether each has its own mean and std, or all have one (as
    always for the root mean square). A tile of one colour is divided by 1: one whose spread is below FLAT levels.
    """

    type: ClassVar[str] = "normalize"
    optional: ClassVar[frozenset[str]] = frozenset({"mean", "std", "space", "range", "gain", "offset", "channels"})

    kind: str | None = fields.one_of("mean-std", "none", "mean-std", "range", "affine", "tile-mean", "tile-mean-std", "tile-rms")
    mean: tuple[float, ...] | None = fields.vector()
    std: tuple[float, ...] | None = fields.vector()
    space: str | None = fields.one_of(None, "unit", "lab")
    range: tuple[float, float] | None = fields.span()
    gain: float | None = fields.number()
    offset: float | None = fields.number()
    channels: str | None = fields.one_of(None, "separate", "joint")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"normalize.std needs numbers above 0, got {self.std}")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(f"normalize needs as many means as stds, got {self.mean} and {self.std}")

    def unstated(self) -> tuple[str, ...]:
        needed = _NEEDED.get(str(self.kind), ())
        return (*super().unstated(), *(name for name in needed if getattr(self, name) is None))

    @property
    def pixelwise(self) -> bool:
        """Whether a pixel's value depends on its own level alone, by a gain and an offset."""
        return self.kind in ("none", "mean-std", "range", "affine") and self.space != "lab"

    @property
    def white(self) -> float:
        """The level, or Lab value, that is v = 1."""
        return 1.0 if self.space == "lab" else 255.0

    def affine(self, channels: int = 3) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Per channel: gain and offset of the level (in the space "lab": of the Lab value), so that the output is
        level * gain + offset."""
        if self.kind == "none":
            gain, offset = (1 / self.white,) * channels, (0.0,) * channels
        elif self.kind == "mean-std":
            assert self.mean is not None and self.std is not None
            gain = tuple(1 / (self.white * s) for s in self.std)
            offset = tuple(-m / s for m, s in zip(self.mean, self.std, strict=True))
        elif self.kind == "range":
            assert self.range is not None
            gain, offset = ((self.range[1] - self.range[0]) / self.white,) * channels, (self.range[0],) * channels
        elif self.kind == "affine":
            assert self.gain is not None and self.offset is not None
            gain, offset = (self.gain / self.white,) * channels, (self.offset,) * channels
        else:
            raise UnsupportedRecipe(f"normalize of kind {self.kind!r} depends on all pixels of a view, not on a gain and an "
                                    "offset; try engine='torch'")
        return gain, offset

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        return {}, size_hw

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        assert not isinstance(images, list)
        if str(self.kind).startswith("tile-"):
            return self._by_tile(images)
        gain, offset = (torch.tensor(v, dtype=images.dtype, device=images.device).reshape(1, -1, 1, 1)
                        for v in self.affine(images.shape[1]))
        return images * gain + offset

    def _by_tile(self, images: Tensor) -> Tensor:
        """The kinds whose gain or offset is the tile's own."""
        dims = (2, 3) if self.channels == "separate" and self.kind != "tile-rms" else (1, 2, 3)
        centred = images if self.kind == "tile-rms" else images - images.mean(dims, keepdim=True)
        if self.kind == "tile-mean":
            return centred / self.white
        spread = centred.square().mean(dims, keepdim=True).sqrt()
        return centred * ((1.0 if self.gain is None else self.gain) / spread.where(spread > FLAT, self.white))
