"""From levels to what the network sees; always the last op on pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields
from ..op import Op, UnsupportedRecipe

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Normalize(Op):
    """v = level / 255. kind "none": v; "mean-std": (v - mean) / std; "range": [0, 1] onto range; "affine": v * gain + offset.

    The kinds "tile-mean", "tile-mean-std" and "tile-rms", and the space "lab", belong to puzzles and colour halves.
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
        needed = {"mean-std": ("mean", "std"), "range": ("range",), "affine": ("gain", "offset")}.get(str(self.kind), ())
        return (*super().unstated(), *(name for name in needed if getattr(self, name) is None))

    @property
    def pixelwise(self) -> bool:
        """Whether a pixel's value depends on its own level alone, by a gain and an offset."""
        return self.kind in ("none", "mean-std", "range", "affine") and self.space != "lab"

    def affine(self, channels: int = 3) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Per channel: gain and offset of the level, so that the output is level * gain + offset."""
        if self.kind == "none":
            gain, offset = (1 / 255,) * channels, (0.0,) * channels
        elif self.kind == "mean-std" and self.space != "lab":
            assert self.mean is not None and self.std is not None
            gain = tuple(1 / (255 * s) for s in self.std)
            offset = tuple(-m / s for m, s in zip(self.mean, self.std, strict=True))
        elif self.kind == "range":
            assert self.range is not None
            gain, offset = ((self.range[1] - self.range[0]) / 255,) * channels, (self.range[0],) * channels
        elif self.kind == "affine":
            assert self.gain is not None and self.offset is not None
            gain, offset = (self.gain / 255,) * channels, (self.offset,) * channels
        else:
            raise UnsupportedRecipe(f"normalize of kind {self.kind!r}, space {self.space!r} can be built and kept, "
                                    "but no engine of this version renders it")
        return gain, offset

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        self.affine()
        return {}, size_hw

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        assert not isinstance(images, list)
        gain, offset = (torch.tensor(v, dtype=images.dtype, device=images.device).reshape(1, -1, 1, 1)
                        for v in self.affine(images.shape[1]))
        return images * gain + offset
