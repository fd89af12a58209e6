"""Masks drawn for samples 0, 1, ... at positions 0, 1, ... of the first epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
from viewmill.augment.chance import Chance, Seat
from viewmill.augment.masks import Mask


def chance_of(n: int, seed: int = 0, **fields: Any) -> Chance:
    samples = np.arange(n)
    seat = Seat("global", **{name: fields.pop(name) for name in ("ordinal", "copy", "siblings") if name in fields})
    return Chance(seed, 0, **{"index": samples, "position": samples, "stream": "masks", "seats": (seat,), **fields})


def params_of(op: Mask, n: int, size_px: tuple[int, int] = (224, 224), **fields: Any) -> dict[str, np.ndarray]:
    chance = chance_of(n, **fields)
    params, size_after = op.draw(chance, np.full((len(chance), 2), size_px))
    assert (size_after == size_px).all()
    return params


def drawn(op: Mask, n: int, size_px: tuple[int, int] = (224, 224), **fields: Any) -> np.ndarray:
    return params_of(op, n, size_px, **fields)["mask"]
