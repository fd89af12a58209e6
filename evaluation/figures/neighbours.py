"""Which pictures an encoder takes for alike: a few, and those whose features are nearest to theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.training.config import key
from ...pipelines.order import Order
from ...pipelines.source import NoSuchKey
from ..features import Features
from ..pictures import Pictures
from .colours import OTHER, SAME
from .scene import Drawn, Scene, at_least, numbers
from .sheet import Tile, sheet


@dataclass(frozen=True)
class NeighboursConfig:
    queries: int = key("so many pictures of test_data, or of data where that is not given: of each class in turn", 8)
    keys: tuple[str, ...] = key("these pictures instead, by their keys", ())
    k: int = key("so many nearest pictures of data, by cosine; a picture is not its own neighbour", 8)

    def __post_init__(self) -> None:
        at_least(self, 1, "queries", "k")


def draw(scene: Scene, config: NeighboursConfig) -> Drawn:
    """Raises ValueError, one line, for a key that is not there, or a k that is more than there are pictures."""
    own = scene.config.test_data is None
    bank = scene.pictures("data")
    asked = bank if own else scene.pictures("test_data")
    chosen = asked.part(_rows(asked, config))
    searched = scene.features(bank)
    wanted = _in_order(searched if own else scene.features(chosen), chosen.index)
    if not len(wanted):
        raise ValueError(f"{asked.name}: none of the pictures asked about can be read; viewmill check says why")
    if config.k > len(searched) - own:
        raise ValueError(f"k={config.k} needs as many pictures besides, {bank.name} has {len(searched) - own}; use for example "
                         f"k={max(len(searched) - own, 1)}")
    cosine, at = nearest(searched.x, wanted.x, config.k, (searched.index[None] == wanted.index[:, None]) if own else None)
    found = searched.index[at]
    images = scene.shown(bank, found.flatten().tolist())
    queries = scene.shown(asked, wanted.index.tolist())
    count = int(max(searched.label.max(), wanted.label.max())) + 1
    names = scene.names(bank, count) if count else []
    rows: list[list[Tile | None]] = []
    for query, label in enumerate(wanted.label.tolist()):
        row: list[Tile | None] = [Tile(queries[int(wanted.index[query])], names[label] if label >= 0 else "")]
        for near in range(config.k):
            other = int(searched.label[at[query, near]])
            frame = None if min(label, other) < 0 else SAME if other == label else OTHER
            row.append(Tile(images[int(found[query, near])],
                            f"{names[other] if other >= 0 else ''} {cosine[query, near]:.2f}".strip(), frame))
        rows.append(row)
    both = (wanted.label[:, None] >= 0) & (searched.label[at] >= 0)
    right = (searched.label[at] == wanted.label[:, None])[both]
    labels = (f" Blue: of the query's class, {100 * right.float().mean():.0f} % of all here; vermilion: of another." if len(right)
              else "")
    return Drawn(sheet(rows, heads=["query", *(f"{near + 1}." if near else "nearest" for near in range(config.k))], apart=[1]),
                 f"Nearest neighbours of {numbers(len(rows), 'picture')}",
                 f"{scene.encoder.name}: beside each picture of {asked.name}, the {config.k} of {len(searched):,} pictures of "
                 f"{bank.name} whose features are nearest, with their cosine.{labels}")


def nearest(bank: Tensor, queries: Tensor, k: int, never: Tensor | None = None, chunk: int = 1024) -> tuple[Tensor, Tensor]:
    """Cosines (Q, k), falling, and rows of the bank (N, D), of the k nearest to each of the queries (Q, D). never (Q, N) bool:
    those that do not count."""
    unit = F.normalize(bank.float(), dim=1)
    found = []
    for start in range(0, len(queries), chunk):
        part = slice(start, start + chunk)
        cosine = F.normalize(queries[part].float(), dim=1) @ unit.T
        found.append((cosine if never is None else cosine.masked_fill(never[part], -torch.inf)).topk(k, dim=1))
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])


def _rows(asked: Pictures, config: NeighboursConfig) -> np.ndarray:
    if not config.keys:
        return in_turn(asked.label, config.queries)
    found = []
    for name in config.keys:
        try:
            row = np.flatnonzero(asked.index == asked.source.find(name))
        except NoSuchKey as error:
            raise ValueError(f"keys=[{name}]: {error}") from error
        if not len(row):
            raise ValueError(f"keys=[{name}]: it is not in the part of {asked.name} that is used; leave max_images or "
                             "max_test_images out")
        found.append(int(row[0]))
    return np.array(found, np.int64)


def in_turn(label: np.ndarray, count: int) -> np.ndarray:
    """Rows (min(N, count),) of a fixed random order, taken from each class of label (N,) in turn."""
    mixed = Order([len(label)], 0, shuffle="full").index(0, np.arange(len(label)))
    place: dict[int, int] = {}
    turns = []
    for row in mixed:
        turns.append(place.get(int(label[row]), 0))
        place[int(label[row])] = turns[-1] + 1
    return mixed[np.lexsort((label[mixed], np.array(turns)))][:count]


def _in_order(features: Features, index: np.ndarray) -> Features:
    """As the pictures were asked for; those that could not be read are missing."""
    place = {number: row for row, number in enumerate(features.index.tolist())}
    rows = torch.tensor([place[number] for number in index.tolist() if number in place], dtype=torch.int64)
    return Features(features.x[rows], features.label[rows], features.index[rows])
