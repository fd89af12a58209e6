"""Turn the image: quarter turns without interpolation (RotNet, arXiv:1803.07728), or a free angle (LCI, arXiv:2004.02331)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op, UnsupportedRecipe
from .batched import in_half, where
from .sampling import bilinear, pixel_grid

if TYPE_CHECKING:
    from torch import Tensor

    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Rotate(Op):
    """kind "exact": one of angles_deg, multiples of 90; pick "enumerate": copy i of the view gets entry i, "random": any.
    Parameters: quarter_turns (N,) int8, counter-clockwise.

    kind "free": uniform in range_deg, counter-clockwise about the image's centre, the size kept and zeros outside, as
    TensorFlow's rotate does; on the half of each aligned block of positions that applies_to names, None: on all.
    Only filter "bilinear" is rendered. Parameters: apply (N,) bool, angle_deg (N,) float32.
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
        if self.kind == "exact" and self.applies_to is not None:
            raise ValueError(f"rotate.applies_to needs kind 'free', since exact turns act on all, got {self.applies_to!r}")

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
            self._must_be_bilinear()
            assert self.range_deg is not None
            angle = laws.uniform(chance.uniforms(1, scope=str(self.scope))[:, 0], *self.range_deg)
            return {"apply": in_half(chance, self.applies_to), "angle_deg": angle.astype(np.float32)}, size_hw
        assert self.angles_deg is not None
        sign = 1 if self.direction == "counter-clockwise" else -1
        turns = np.array([sign * int(angle) // 90 % 4 for angle in self.angles_deg], np.int8)
        if self.pick == "enumerate":
            which = chance.copy
            if which.max(initial=0) >= len(turns):
                raise ValueError(f"rotate.angles_deg needs an angle for each copy of the view, got {len(turns)} for copy "
                                 f"{which.max()}")
        else:
            which = laws.integer(chance.uniforms(1, scope=str(self.scope))[:, 0], 0, len(turns))
        quarter_turns = turns[which]
        return {"quarter_turns": quarter_turns}, np.where((quarter_turns % 2 == 1)[:, None], size_hw[:, ::-1], size_hw)

    def caption(self, params: OpParams, row: int) -> str:
        if self.kind != "exact":
            return f"rotate {params['angle_deg'][row]:+.1f} deg" if params["apply"][row] else ""
        return f"turn {90 * int(params['quarter_turns'][row])} deg"

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        if self.kind != "exact":
            self._must_be_bilinear()
            if isinstance(images, list):
                return [self.apply(x[None], {k: v[i:i + 1] for k, v in params.items()})[0] for i, x in enumerate(images)]
            return where(params["apply"], rotate(images, torch.as_tensor(params["angle_deg"], device=images.device)), images)
        turned = [torch.rot90(x, int(k), (1, 2)) for x, k in zip(images, params["quarter_turns"], strict=True)]
        return turned if isinstance(images, list) else torch.stack(turned)

    def _must_be_bilinear(self) -> None:
        if self.filter != "bilinear":
            raise UnsupportedRecipe(f"{self.type}.filter of kind 'free' is rendered as 'bilinear' only, got {self.filter!r}")


def rotate(images: Tensor, angle_deg: Tensor) -> Tensor:
    """Counter-clockwise about ((W - 1) / 2, (H - 1) / 2), zeros outside. images (N, C, H, W) levels; angle_deg (N,)."""
    import torch

    angle = torch.deg2rad(angle_deg.to(torch.float64)).reshape(-1, 1, 1)
    cos, sin = torch.cos(angle), torch.sin(angle)
    y, x = pixel_grid(images)
    middle_y, middle_x = (images.shape[-2] - 1) / 2, (images.shape[-1] - 1) / 2
    y, x = y - middle_y, x - middle_x
    return bilinear(images, middle_y + sin * x + cos * y, middle_x + cos * x - sin * y, outside="zero")
