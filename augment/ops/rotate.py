"""Turn the image: quarter turns without interpolation (RotNet, arXiv:1803.07728), or a free angle (not rendered yet)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Rotate(Op):
    """kind "exact": one of angles_deg, multiples of 90; pick "enumerate": copy i of the view gets entry i, "random": any.

    kind "free": uniform in range_deg, resampled with filter, on applies_to. Parameters of "exact": quarter_turns (N,)
    int8, counter-clockwise.
    """

    type: ClassVar[str] = "rotate"
    optional: ClassVar[frozenset[str]] = frozenset(
        {"angles_deg", "applies_to", "direction", "filter", "pick", "range_deg", "share"})

    kind: str | None = fields.one_of("exact", "exact", "free")
    angles_deg: tuple[float, ...] | None = fields.vector()
    pick: str | None = fields.one_of(None, "enumerate", "random")
    direction: str | None = fields.one_of(None, "counter-clockwise", "clockwise")
    range_deg: tuple[float, float] | None = fields.span()
    filter: str | None = fields.one_of(None, "bilinear", "bicubic", "lanczos")
    applies_to: str | None = fields.one_of(None, "first-half-of-batch", "second-half-of-batch")
    scope: str | None = fields.scope()
    share: str | None = fields.text()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "exact" and any(angle % 90 for angle in self.angles_deg or ()):
            raise ValueError(f"rotate.angles_deg needs multiples of 90 for kind 'exact', got {self.angles_deg}")

    def unstated(self) -> tuple[str, ...]:
        needed = ("angles_deg", "pick", "direction") if self.kind == "exact" else ("range_deg", "filter")
        return (*super().unstated(), *(name for name in needed if getattr(self, name) is None))

    def output(self, size_hw: tuple[int, int] | None, channels: int) -> tuple[tuple[int, int] | None, int]:
        odd = {int(angle) // 90 % 2 for angle in self.angles_deg or ()} if self.kind == "exact" else {0}
        if size_hw is None or size_hw[0] == size_hw[1] or odd == {0}:
            return size_hw, channels
        return (size_hw[::-1] if odd == {1} else None), channels

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        if self.kind != "exact":
            return super().draw(chance, size_hw)
        assert self.angles_deg is not None
        sign = 1 if self.direction == "counter-clockwise" else -1
        turns = np.array([sign * int(angle) // 90 % 4 for angle in self.angles_deg], np.int8)
        if self.pick == "enumerate":
            which = np.full(len(chance), chance.copy % len(turns))
        else:
            which = laws.integer(chance.uniforms(1, scope=str(self.scope))[:, 0], 0, len(turns))
        quarter_turns = turns[which]
        return {"quarter_turns": quarter_turns}, np.where((quarter_turns % 2 == 1)[:, None], size_hw[:, ::-1], size_hw)

    def caption(self, params: OpParams, row: int) -> str:
        return f"turn {90 * int(params['quarter_turns'][row])} deg" if "quarter_turns" in params else ""

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        if self.kind != "exact":
            return super().apply(images, params)
        turned = [torch.rot90(x, int(k), (1, 2)) for x, k in zip(images, params["quarter_turns"], strict=True)]
        return turned if isinstance(images, list) else torch.stack(turned)
