"""Which part of the training pictures chooses between settings: never the test pictures."""

from __future__ import annotations

import numpy as np

from ..pipelines.order import Order

SEED = 1  # fixed, so that all methods, settings and seeds are chosen on the same pictures


def hold_out(label: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """(rows that are trained on, rows that choose), both ascending: of each class the same share chooses, a fixed random part,
    never a whole class. label (N,). Raises ValueError where no row would choose."""
    train, choose = [], []
    for each in np.unique(label):
        rows = np.flatnonzero(label == each)
        mixed = rows[Order([len(rows)], SEED, shuffle="full").index(int(each), np.arange(len(rows)))]
        count = min(round(share * len(rows)), len(rows) - 1)
        choose.append(mixed[:count])
        train.append(mixed[count:])
    if sum(map(len, choose)) == 0:
        raise ValueError(f"split={share:g} of {len(label)} training images in {len(choose)} classes leaves none to choose by; "
                         "give more images, a larger split, or a single setting")
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(choose))
