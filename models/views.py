"""What a method reads of a batch; `viewmill.pipelines.batch.Batch` has it, and so may anything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from ..augment.op import Op
    from ..augment.render import Model


def left_to(method: object) -> tuple[str, ...]:
    """Types of the recipe's ops that a method, or its class, renders by itself, as its `renders` says: for a Loader's `left`."""
    found: tuple[str, ...] = getattr(method, "renders", ())
    return found


class Views(Protocol):
    @property
    def views(self) -> dict[str, Tensor]:
        """By group, (V, B, C, H, W)."""

    @property
    def index(self) -> Tensor:
        """(B,) int64: the number in the data set of each image."""

    def masks(self, group: str, attention: Tensor | None = None) -> Tensor:
        """(V, B, rows, columns) bool, True where masked. attention, of that shape, at least 0: a teacher's, for masks that the
        recipe draws by it."""

    def drawn(self, group: str, name: str) -> Tensor:
        """(V, B, ...): a drawn parameter of each view, for example quarter_turns; on the CPU."""

    def finished(self, group: str, models: Mapping[str, Model] | None = None) -> Tensor:
        """(V, B, C, H, W): the views of a group with what was left to the method, by the models that stand in for ops."""

    def left(self, group: str) -> list[tuple[Op, dict[str, Tensor]] | None]:
        """Of each view of a group, the op that it waits for and what was drawn for it, on the CPU; None: for none."""

    def view_labels(self, group: str) -> tuple[int, ...]:
        """Of each view of a group, its label in the recipe."""


class Divisible(Views, Protocol):
    """A batch of which a part is one, too."""

    def rows(self, first: int, end: int) -> Views:
        """The images first to end - 1 alone."""
