"""The newest keys of earlier batches, first in, first out: MoCo's dictionary, NNCLR's support set."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .distributed import Kept


class Queue(Kept):
    """`keys` (length, dim) float32, each of length 1, random at first; `pointer`, the row that the next one replaces.

    The same on every rank, since each is told the same: the keys of all ranks. Both are in a checkpoint. name: the key of the
    configuration that its length comes from. Raises ValueError on a length or a width below 1.
    Source: facebookresearch/moco, builder.py, which has the keys as columns.
    """

    keys: Tensor
    pointer: Tensor

    def __init__(self, length: int, dim: int, *, name: str) -> None:
        super().__init__()
        if length < 1 or dim < 1:
            raise ValueError(f"{name} and its keys' width need whole numbers of at least 1, got {length} and {dim}")
        self.name = name
        self.register_buffer("keys", F.normalize(torch.randn(length, dim), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    def refuse(self, count: int) -> None:
        """Raise ValueError where the count of new keys does not divide the length: the keys of one step would then leave in
        different steps, or not all come in."""
        if (length := len(self.keys)) % count:
            raise ValueError(f"{self.name}={length} needs to be a multiple of batch_size={count}, whose keys it takes in step by "
                             f"step; use {self.name}={max(length // count, 1) * count}")

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Let the keys (N, dim) of all ranks, in order of rank, take the places of the N oldest; made of length 1 here.

        Changes `keys` in place: call it after the backward pass that reads them. Raises ValueError as `refuse`.
        """
        self.refuse(len(keys))
        # Without a number that comes back from the device, which would wait for all the work queued there.
        rows = self.pointer + torch.arange(len(keys), device=self.pointer.device)
        self.keys[rows] = F.normalize(keys.float(), dim=1)
        self.pointer.add_(len(keys)).remainder_(len(self.keys))
