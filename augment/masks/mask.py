"""What every patch mask is: an op that touches no pixel and hands a boolean grid to the method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..op import Op

if TYPE_CHECKING:
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Mask(Op):
    """Parameters of those that are drawn: mask (N, rows, columns) bool, True where masked."""

    type: ClassVar[str] = "masks"
    generator: ClassVar[str | None] = None

    def to_dict(self) -> dict[str, Any]:
        items = super().to_dict()
        return {"op": items.pop("op"), "generator": self.generator, **items}

    def caption(self, params: OpParams, row: int) -> str:
        mask = params["mask"][row]
        return f"{int(mask.sum())} of {mask.size} patches masked"

    def apply(self, images: Images, params: OpParams) -> Images:
        return images


@dataclass(frozen=True, kw_only=True)
class UnstatedMask(Mask):
    """The source says that there is a mask, not how it is made."""

    def unstated(self) -> tuple[str, ...]:
        return ("generator",)
