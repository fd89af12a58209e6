"""Random erasing. Source: Zhong et al., arXiv:1708.04896, as torchvision's RandomErasing draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op
from .batched import coin, column
from .cutout import inside

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams


@dataclass(frozen=True, kw_only=True)
class Erase(Op):
    """With chance p a box becomes fill (levels), or noise: normal, of mean 127.5 and standard deviation 64 levels, clipped.

    scale: area fraction of the image, uniform; ratio: height / width, log-uniform; both are drawn up to `attempts` times
    until the box is lower and narrower than the image. Where none is, the image stays. Parameters: apply (N,) bool; box
    (N, 4) int32: top, left, height, width; for noise also seed (N,) int64, see `pixel_noise`: element c H W + y W + x.
    """

    type: ClassVar[str] = "erase"

    p: float | None = fields.probability(0.5)
    scale: tuple[float, float] | None = fields.area((0.02, 0.33))
    ratio: tuple[float, float] | None = fields.ratio((0.3, 3.3), "height / width")
    attempts: int | None = fields.whole(10)
    value: str | None = fields.one_of("constant", "constant", "noise")
    fill: tuple[float, ...] | None = fields.vector((0.0, 0.0, 0.0), 3)
    scope: str | None = fields.scope()

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        box = self._boxes(chance, np.asarray(size_hw, np.int64))
        found = box[:, 0] >= 0
        params = {"apply": coin(chance, self.p, self.scope) & found,
                  "box": np.where(found[:, None], box, 0).astype(np.int32)}
        if self.value == "noise":
            params["seed"] = laws.seed(chance.uniforms(1, scope=str(self.scope), part="seed")[:, 0])
        return params, size_hw

    def _boxes(self, chance: Chance, size_hw: np.ndarray) -> np.ndarray:
        """(N, 4) int64; -1 where no attempt fits."""
        assert self.scale is not None and self.ratio is not None and self.attempts is not None
        box = np.full((len(size_hw), 4), -1)
        left = np.arange(len(size_hw))
        for attempt in range(self.attempts):
            u, size = chance.rows(left).uniforms(4, scope=str(self.scope), part="box", call=attempt), size_hw[left]
            area = size.prod(1) * laws.uniform(u[:, 0], *self.scale)
            ratio = laws.log_uniform(u[:, 1], *self.ratio)
            sides = np.rint(np.sqrt(np.stack([area * ratio, area / ratio], 1))).astype(np.int64)
            fits = (sides < size).all(1)
            corner = laws.integer(u[:, 2:], 0, np.maximum(size - sides + 1, 1))
            box[left[fits]] = np.concatenate([corner, sides], 1)[fits]
            left = left[~fits]
            if not len(left):
                break
        return box

    def caption(self, params: OpParams, row: int) -> str:
        top, left, height, width = params["box"][row].tolist()
        return f"{self.type} {width}x{height} at {left},{top}" if params["apply"][row] else ""

    def apply(self, images: Images, params: OpParams) -> Images:
        import torch

        from ..pixel_noise import normal

        assert self.fill is not None and not isinstance(images, list)
        if self.value == "noise":
            seed = torch.as_tensor(params["seed"], device=images.device)
            new = (127.5 + 64 * normal(seed, images[0].numel()).reshape(images.shape)).clamp(0, 255)
        else:
            new = images.new_tensor(self.fill).reshape(1, -1, 1, 1)
        return new.where(inside(images, params["box"]) & column(params["apply"], images), images)
