"""Parts of the image as views of their own. Sources: Jigsaw, arXiv:1603.09246; Context Prediction, arXiv:1505.05192."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op
from .resample import cut

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams

_NEEDED = {"cells": ("grid", "cell_px", "offset_px"), "quadrants": (),
           "lattice": ("pitch_px", "origin_px", "jitter_px", "lattices")}


@dataclass(frozen=True, kw_only=True)
class Tiles(Op):
    """One tile per copy, tile_px wide, plus margin_px on its right and lower sides for an op that moves colour planes.

    layout "cells": copy i lies in cell i of grid, cells of cell_px in raster order from the top left corner, at a whole
    offset_px from the cell's corner. "quadrants": copy i is quadrant i of an image twice as wide.
    "lattice": tiles every pitch_px (gap_px between them) from a whole origin_px per lattice and axis, as many as fit, each
    moved by a whole jitter_px per axis but not out of the image. Copy i is the i-th of all: lattice by lattice, in raster
    order; a copy past the last is absent, and black.

    Parameters: box (N, 4) int32 in pixels of the input; of a lattice also present (N,) bool and cell (N, 3) int32: lattice,
    row, column, -1 where absent.
    """

    type: ClassVar[str] = "tiles"
    optional: ClassVar[frozenset[str]] = frozenset(
        {"cell_px", "gap_px", "grid", "jitter_px", "lattices", "offset_px", "origin_px", "pitch_px"})

    layout: str | None = fields.one_of(None, "cells", "lattice", "quadrants")
    tile_px: int | None = fields.whole()
    scope: str | None = fields.scope()
    grid: tuple[int, int] | None = fields.grid()
    cell_px: int | None = fields.whole()
    offset_px: tuple[float, float] | None = fields.span(None, 0)
    pitch_px: int | None = fields.whole()
    gap_px: int | None = fields.whole(None, 0)
    origin_px: tuple[float, float] | None = fields.span(None, 0)
    jitter_px: tuple[float, float] | None = fields.span()
    lattices: int | None = fields.whole()
    margin_px: int | None = fields.whole(0, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("offset_px", "origin_px", "jitter_px"):
            value = getattr(self, field)
            if value is not None and any(v != int(v) for v in value):
                raise ValueError(f"tiles.{field} needs whole pixels, got {value}")
        if self.layout == "lattice" and self.scope not in (None, "image", "batch"):
            raise ValueError("tiles.scope needs 'image' or 'batch' for layout 'lattice', since all copies lie on the same "
                             f"lattices, got {self.scope!r}")
        if self.tile_px is None:
            return
        if self.layout == "lattice" and self.pitch_px is not None and self.gap_px not in (None, self.pitch_px - self.tile_px):
            raise ValueError(f"tiles.gap_px needs pitch_px - tile_px = {self.pitch_px - self.tile_px}, got {self.gap_px}")
        if self.layout == "cells" and self.cell_px is not None and self.offset_px is not None:
            room = self.cell_px - self.side
            if self.offset_px[1] > room:
                raise ValueError(f"tiles.offset_px needs at most cell_px - tile_px - margin_px = {room}, so that a tile stays "
                                 f"in its cell, got {self.offset_px}")

    def unstated(self) -> tuple[str, ...]:
        needed = _NEEDED.get(str(self.layout), ())
        return (*super().unstated(), *(name for name in needed if getattr(self, name) is None))

    @property
    def side(self) -> int:
        """The tile's side with its margin."""
        assert self.tile_px is not None and self.margin_px is not None
        return self.tile_px + self.margin_px

    def most(self, area_px: float, aspect: float = 2.0) -> int:
        """The most tiles that the lattices hold in images of at most area_px, no longer than aspect times their short side:
        what View.most has to be for none to be left out."""
        assert self.lattices is not None and self.origin_px is not None
        height = np.arange(1, int(np.sqrt(area_px)) + 2)  # of the short side; both sides are rounded to whole pixels
        width = np.floor(np.minimum(area_px / (height - 0.5), aspect * (height + 0.5)) + 0.5).astype(np.int64)
        rows, columns = (self._count(side, int(self.origin_px[0])) for side in (height, width))
        return self.lattices * int((rows * columns).max())

    def output(self, size_hw: tuple[int, int] | None, channels: int) -> tuple[tuple[int, int] | None, int]:
        return (self.side, self.side), channels

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        size_hw = np.asarray(size_hw, np.int64)
        layout = {"cells": self._cells, "lattice": self._lattice, "quadrants": self._quadrants}[str(self.layout)]
        params = layout(chance, size_hw)
        return params, np.full_like(size_hw, self.side)

    def caption(self, params: OpParams, row: int) -> str:
        if "present" in params and not params["present"][row]:
            return "no tile"
        top, left, height, width = params["box"][row].tolist()
        cell = "lattice {} row {} column {}, ".format(*params["cell"][row].tolist()) if "cell" in params else ""
        return f"tile {cell}{width}x{height} at {left},{top}"

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        if isinstance(images, list) or isinstance(params["box"], np.ndarray):
            corners = torch.as_tensor(params["box"])[:, :2].tolist()
            tiles = torch.stack([cut(image, top, left, self.side, self.side)
                                 for image, (top, left) in zip(images, corners, strict=True)])
        else:
            box = torch.as_tensor(params["box"], device=images.device).to(torch.int64)
            count, channels, height, width = images.shape
            along = torch.arange(self.side, device=images.device)
            rows = (box[:, :1] + along).clamp(max=height - 1).reshape(count, 1, -1, 1)  # only an absent tile reaches beyond
            columns = (box[:, 1:2] + along).clamp(max=width - 1).reshape(count, 1, 1, -1)
            sample = torch.arange(count, device=images.device).reshape(-1, 1, 1, 1)
            tiles = images[sample, torch.arange(channels, device=images.device).reshape(1, -1, 1, 1), rows, columns]
        if "present" not in params:
            return tiles
        present = torch.as_tensor(params["present"], device=tiles.device).reshape(-1, 1, 1, 1)
        return torch.where(present, tiles, tiles.new_zeros(()))

    def _cells(self, chance: Chance, size_hw: np.ndarray) -> OpParams:
        assert self.grid is not None and self.cell_px is not None and self.offset_px is not None
        copy = chance.copy
        if copy.max(initial=0) >= self.grid[0] * self.grid[1]:
            raise ValueError(f"tiles: copy {copy.max()} of view {chance.group!r} has no cell in a grid of {self.grid}; "
                             f"count needs at most {self.grid[0] * self.grid[1]}")
        needed = self.cell_px * np.array(self.grid)
        if (size_hw < needed).any():
            at = int((size_hw - needed).min(1).argmin())
            raise ValueError(f"tiles: {self.grid[0]}x{self.grid[1]} cells of {self.cell_px} px need an image of "
                             f"{tuple(needed.tolist())} px, got {tuple(size_hw[at].tolist())}; resize or crop to that size first")
        offset = _whole(chance.uniforms(2, scope=str(self.scope)), self.offset_px)
        corner = self.cell_px * np.stack(np.divmod(copy, self.grid[1]), 1) + offset
        return {"box": self._box(corner)}

    def _quadrants(self, chance: Chance, size_hw: np.ndarray) -> OpParams:
        copy = chance.copy
        if copy.max(initial=0) >= 4:
            raise ValueError(f"tiles: copy {copy.max()} of view {chance.group!r} is no quadrant; count needs at most 4")
        if (size_hw // 2 != self.side).any():  # smaller tiles would leave gaps, and the four would not make up the image
            at = int((size_hw // 2 != self.side).any(1).argmax())
            raise ValueError(f"tiles: quadrants of {self.side} px need an image of {2 * self.side}x{2 * self.side} px, "
                             f"got {tuple(size_hw[at].tolist())}; resize or crop to that size first")
        corner = self.side * np.stack(np.divmod(copy, 2), 1)
        return {"box": self._box(corner)}

    def _lattice(self, chance: Chance, size_hw: np.ndarray) -> OpParams:
        assert self.lattices is not None and self.pitch_px is not None
        assert self.origin_px is not None and self.jitter_px is not None
        u = chance.uniforms(2 * self.lattices, scope=str(self.scope), part="origin")
        origin = _whole(u, self.origin_px).reshape(-1, self.lattices, 2)
        shape = self._count(size_hw[:, None], origin)  # (N, lattices, 2): rows and columns
        end, copy = shape.prod(2).cumsum(1), chance.copy
        present = copy < end[:, -1]
        lattice = np.where(present, (copy[:, None] >= end).sum(1), 0)
        sample = np.arange(len(size_hw))
        rest = copy - (end - shape.prod(2))[sample, lattice]
        place = np.stack(np.divmod(rest, np.maximum(shape[sample, lattice, 1], 1)), 1)
        jitter = _whole(chance.uniforms(2, scope=str(self.scope), part="jitter/{copy}"), self.jitter_px)
        corner = np.clip(origin[sample, lattice] + self.pitch_px * place + jitter, 0, np.maximum(size_hw - self.side, 0))
        unused = np.concatenate([np.zeros_like(size_hw), np.minimum(size_hw, self.side)], 1).astype(np.int32)
        return {"box": np.where(present[:, None], self._box(corner), unused), "present": present,
                "cell": np.where(present[:, None], np.column_stack([lattice, place]), -1).astype(np.int32)}

    def _count(self, length: np.ndarray, origin: np.ndarray | int) -> np.ndarray:
        """How many tiles fit into a side that long, the first at its origin."""
        assert self.pitch_px is not None
        return np.maximum((length - self.side - origin) // self.pitch_px + 1, 0)

    def _box(self, corner: np.ndarray) -> np.ndarray:
        return np.concatenate([corner, np.full_like(corner, self.side)], 1).astype(np.int32)


def _whole(u: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """u in [0, 1) -> whole numbers of the span, both ends included."""
    low, high = int(span[0]), int(span[1])
    return laws.integer(u, low, high - low + 1)
