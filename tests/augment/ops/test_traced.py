"""Ops on a device: with tensors as parameters, each apply is one graph without breaks and gives what it gives in eager mode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from viewmill.augment.chance import Chance
from viewmill.augment.ops import (
    Autocontrast,
    Cutout,
    Equalize,
    Erase,
    Noise,
    Op,
    Photometric,
    Posterize,
    Sharpness,
    Sobel,
    ValueJitter,
)

OPS = [
    Cutout(size_px=5), Erase(p=1.0), Erase(p=1.0, value="noise"), Noise(p=0.5), Posterize(p=0.5), Sharpness(p=0.5),
    Autocontrast(p=0.5), Equalize(p=0.5), ValueJitter(range=(-9, 9), value_scale=255),
    Photometric(p=0.9, choices=("posterize", "sharpness", "solarize", "autocontrast"), pick=1, strength=1.0),
    Photometric(p=0.9, choices=("autocontrast", "solarize", "sharpness", "posterize"), pick=3, strength=0.7),
    Sobel(gray_weights=(0.3, 0.3, 0.4), channels=2),
]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.type)
def test_apply_is_one_graph(op: Op, photograph: np.ndarray) -> None:
    images = torch.tensor(photograph[:40].copy()).permute(2, 0, 1).float() * torch.tensor([1, 0.8, 0.3, 0.51]).reshape(4, 1, 1, 1)
    drawn = op.draw(Chance(3, 0, np.arange(4), stream=op.name), np.full((4, 2), (40, 83)))[0]
    params = {name: torch.as_tensor(values) for name, values in drawn.items()}
    torch.compiler.reset()
    traced = torch.compile(op.apply, fullgraph=True, backend="aot_eager")(images, params)
    assert torch.equal(traced, op.apply(images, drawn))  # type: ignore[arg-type]
