"""A vector for every image of the data set, shared out over the ranks: memory grows with the data, each rank's with its share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from .distributed import Kept, rank, world_size

BLOCK = 1 << 16  # rows drawn or sent at a time


class ShardedRows(Kept):
    """`images` rows of `dim` float32 values: row i is on rank i mod W, as local[i // W].

    start: "zeros"; "uniform" on +-sqrt(3 / dim), for a length of about 1, as InstDisc has it; "unit", Gaussian directions of
    length 1. What is drawn does not depend on W. Not part of the state dict, since no rank has all: `whole_rows` and `take_rows`
    carry them to a checkpoint and back, for any W.
    """

    local: Tensor

    def __init__(self, images: int, dim: int, start: Literal["zeros", "uniform", "unit"] = "zeros") -> None:
        super().__init__()
        if images < 0 or dim < 1:
            raise ValueError(f"rows need images of at least 0 and a dim of at least 1, got {images} and {dim}")
        if start not in ("zeros", "uniform", "unit"):
            raise ValueError(f"start needs 'zeros', 'uniform' or 'unit', got {start!r}")
        self.images, self.dim = images, dim
        blocks = [torch.zeros(len(range(images)[rank() :: world_size()]), dim)]
        if start != "zeros" and images:
            # Every rank draws everything and keeps its own, a block at a time.
            bound, begins = math.sqrt(3 / dim), range(0, images, BLOCK)
            blocks = [_directions(min(BLOCK, images - begin), dim, bound if start == "uniform" else None)
                      [(rank() - begin) % world_size() :: world_size()] for begin in begins]
        self.register_buffer("local", torch.cat(blocks), persistent=False)

    def here(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """index (...) int64: (...) bool, whether its row is on this rank, and (...) its number in `local`, 0 where it is not.

        Raises ValueError on an index on the CPU that is not in 0 .. images - 1; elsewhere the device's own check must do.
        """
        if index.device.type == "cpu" and index.numel() and not 0 <= int(index.min()) <= int(index.max()) < self.images:
            raise ValueError(f"image {int(index.max())} of data that had {self.images} when this was made: has it changed?")
        if world_size() == 1:
            return torch.ones_like(index, dtype=torch.bool), index
        own = index % world_size() == rank()
        return own, (index // world_size()).where(own, 0)

    @torch.no_grad()
    def read(self, index: Tensor) -> Tensor:
        """index (n,), the same on all ranks, to the rows (n, dim), on all."""
        own, place = self.here(index)
        rows = self.local[place] * own[:, None]
        if world_size() > 1:
            dist.all_reduce(rows)
        return rows

    @torch.no_grad()
    def write(self, index: Tensor, rows: Tensor) -> None:
        """index (n,) and rows (n, dim), the same on all ranks: each keeps its own. Of a row given twice, the last stands."""
        own, place = self.here(index)
        again = (index[:, None] == index).triu(1).any(1)
        kept = own & ~again
        self.local[place[kept]] = rows[kept].to(self.local.dtype)


def whole_rows(module: nn.Module) -> dict[str, Tensor]:
    """By name, all rows (images, dim) of every `ShardedRows` in the module, on the CPU of rank 0; nothing on the others. All
    ranks call it together."""
    return {name: whole for name, part in _sharded(module).items() if (whole := _gathered(part)) is not None}


def take_rows(module: nn.Module, whole: Mapping[str, Tensor]) -> None:
    """Put back what `whole_rows` gave, each rank its own. Raises RuntimeError where names or shapes differ."""
    parts = _sharded(module)
    if parts.keys() != whole.keys():
        raise RuntimeError(f"only one of checkpoint and network has rows {sorted(parts.keys() ^ whole.keys())[0]!r}")
    for name, part in parts.items():
        if whole[name].shape != (part.images, part.dim):
            raise RuntimeError(f"rows {name!r} are {tuple(whole[name].shape)} in the checkpoint and {(part.images, part.dim)} "
                               "here; they belong to the images of one data set")
        part.local.copy_(whole[name][rank() :: world_size()])


def _directions(count: int, dim: int, bound: float | None) -> Tensor:
    return torch.empty(count, dim).uniform_(-bound, bound) if bound else F.normalize(torch.randn(count, dim), dim=1)


def _sharded(module: nn.Module) -> dict[str, ShardedRows]:
    return {name: part for name, part in module.named_modules() if isinstance(part, ShardedRows)}


def _gathered(part: ShardedRows) -> Tensor | None:
    if world_size() == 1:
        return part.local.cpu()
    whole = torch.empty(part.images, part.dim) if rank() == 0 else None
    longest = -(-part.images // world_size())
    on_cpu = part.local.device.type == "cpu" or "cpu:" in dist.get_backend_config()
    for begin in range(0, longest, BLOCK):
        rows = min(BLOCK, longest - begin)
        mine = part.local[begin : begin + rows]
        padded = part.local.new_zeros(rows, part.dim)
        padded[: len(mine)] = mine
        padded = padded.cpu() if on_cpu else padded
        received = [torch.empty_like(padded) for _ in range(world_size())] if rank() == 0 else None
        dist.gather(padded, received)
        if whole is not None and received is not None:
            for source, block in enumerate(received):
                place = whole[begin * world_size() + source :: world_size()][:rows]
                place.copy_(block[: len(place)])
    return whole
