"""The specification as an engine: plain torch, sample by sample. For comparison, not for speed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...augment.draw import Params, draw, take
from ...augment.levels import as_levels, to_bytes
from ...augment.recipe import Recipe, UnsupportedRecipe
from ...augment.render import render


class TorchEngine:
    """Same methods as every engine. dtype: "float32", "float16" or "bfloat16", half types as uint16 bits, or "uint8", levels.
    channels_last: batches are (V, B, H, W, C).

    Raises UnsupportedRecipe at construction for what it cannot render.
    """

    name = "torch"

    def __init__(self, recipe: Recipe, dtype: str = "float32", channels_last: bool = False) -> None:
        self.recipe, self.dtype, self.channels_last = recipe, getattr(torch, dtype), channels_last
        self._rendered = as_levels(recipe) if dtype == "uint8" else recipe
        # An op that has no torch form says so when it is used: better now than in the middle of an epoch.
        first, size, black = np.zeros(1, np.int64), np.full((1, 2), 512), [np.zeros((512, 512, 3), np.uint8)]
        try:
            params = draw(recipe, 0, 0, first, size, position=first, length=1, partner_size_hw=size)
            render(black, recipe, params, partners=black)
        except UnsupportedRecipe:
            raise
        except ValueError:  # it wants larger pictures, which is the data's matter
            pass

    def pack(self, params: Params) -> list[Params]:
        """The parameters of each sample by itself."""
        count = next((len(a) for ops in params.values() for arrays in ops.values() for a in arrays.values()), 0)
        return [take(params, np.arange(i, i + 1)) for i in range(count)]

    def target(self, out: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return out

    def render_several(self, images: Sequence[np.ndarray], packed: Sequence[Params], out: dict[str, np.ndarray], row: int,
                       partners: Sequence[np.ndarray] | None = None) -> None:
        for i, image in enumerate(images):
            self.render_into(image, packed[i], out, row + i, None if partners is None else partners[i])

    def render_into(self, image: np.ndarray, packed_row: Params, out: dict[str, np.ndarray], row: int,
                    partner: np.ndarray | None = None) -> None:
        partners = None if partner is None else [partner]
        with torch.inference_mode():
            for group, views in render([image], self._rendered, packed_row, partners=partners, scaled=True).items():
                pixels = to_bytes(views[:, 0]) if self.dtype == torch.uint8 else views[:, 0].to(self.dtype)
                if self.dtype.itemsize == 2:
                    pixels = pixels.view(torch.int16)
                if self.channels_last:
                    pixels = pixels.movedim(1, -1)
                out[group][:, row] = pixels.numpy().view(out[group].dtype)
