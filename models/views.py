"""What a method reads of a batch; `viewmill.pipelines.batch.Batch` has it, and so may anything else."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Views(Protocol):
    @property
    def views(self) -> dict[str, Tensor]:
        """By group, (V, B, C, H, W)."""

    @property
    def index(self) -> Tensor:
        """(B,) int64: the number in the data set of each image."""

    def masks(self, group: str) -> Tensor:
        """(V, B, rows, columns) bool, True where masked."""

    def drawn(self, group: str, name: str) -> Tensor:
        """(V, B, ...): a drawn parameter of each view, for example quarter_turns; on the CPU."""
