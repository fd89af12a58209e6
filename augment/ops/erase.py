"""Random erasing. Source: Zhong et al., arXiv:1708.04896, as torchvision's RandomErasing draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..attempts import first_fit
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
        assert self.attempts is not None
        box, fits = first_fit(self._propose, self.attempts, chance, np.asarray(size_hw, np.int64), scope=str(self.scope),
                              part="box")
        params = {"apply": coin(chance, self.p, self.scope) & fits, "box": np.where(fits[:, None], box, 0).astype(np.int32)}
        if self.value == "noise":
            params["seed"] = laws.seed(chance.uniforms(1, scope=str(self.scope), part="seed")[:, 0])
        return params, size_hw

    def _propose(self, u: np.ndarray, size_hw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self.scale is not None and self.ratio is not None
        area = size_hw[:, 0] * size_hw[:, 1] * laws.uniform(u[:, 0], *self.scale)
        ratio = laws.log_uniform(u[:, 1], *self.ratio)
        sides = np.rint(np.sqrt(np.stack([area * ratio, area / ratio], 1))).astype(np.int64)
        corner = laws.integer(u[:, 2:], 0, np.maximum(size_hw - sides + 1, 1))
        return np.concatenate([corner, sides], 1), (sides[:, 0] < size_hw[:, 0]) & (sides[:, 1] < size_hw[:, 1])

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
