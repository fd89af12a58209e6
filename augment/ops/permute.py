"""Reorder the tiles. Source: Jigsaw, arXiv:1603.09246."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .. import fields, laws
from ..op import Op
from ..puzzles import hamming, permutation_set

if TYPE_CHECKING:
    from ..chance import Chance
    from ..op import Images, OpParams

MEAN_WITHIN = 0.05
"""A set's mean distance may be that far from the one stated: sources round it, and their sets are not the only ones."""


@dataclass(frozen=True, kw_only=True)
class Permute(Op):
    """Slot s shows source tile order[s]. The views of the group are the slots; all earlier ops move with their tile.

    set_size: how many permutations there are to choose from; min_hamming, mean_hamming: their least and mean distance. The
    set is built for the largest mean distance; from min_hamming 3 on, at random among permutations that far apart, unless
    mean_hamming is more than random permutations have (slots - 1). free: any permutation, no set.

    Parameters, the same for all slots: index (N,) int32 in the set, -1 if free; order (N, slots) int8.
    """

    type: ClassVar[str] = "permute"
    optional: ClassVar[frozenset[str]] = frozenset({"mean_hamming", "min_hamming"})

    slots: int | None = fields.whole()
    set_size: int | None = fields.whole()
    min_hamming: int | None = fields.whole(None, 0)
    mean_hamming: float | None = fields.number()
    scope: str | None = fields.scope("image")
    free: bool | None = fields.flag(False)

    joins: ClassVar[bool] = True
    by_siblings: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope not in (None, "image", "batch"):
            raise ValueError(f"permute.scope needs 'image' or 'batch', since all slots share one order, got {self.scope!r}")
        if self.free and self.set_size is not None:
            raise ValueError(f"permute is either free or of a set, got free true and set_size {self.set_size}")

    def unstated(self) -> tuple[str, ...]:
        return tuple(name for name in super().unstated() if not (self.free and name == "set_size"))

    def permutations(self) -> np.ndarray:
        """(set_size, slots) int8. Raises ValueError where the stated distances are out of reach."""
        assert self.slots is not None and self.set_size is not None
        return _permutations(self.slots, self.set_size, self.min_hamming or 0, self.mean_hamming)

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        assert self.slots is not None
        if chance.siblings != self.slots:
            raise ValueError(f"permute.slots is {self.slots}, but group {chance.group!r} has {chance.siblings} views; "
                             "each slot is a view")
        if self.free:
            order = laws.ranks(chance.uniforms(self.slots, scope=str(self.scope)))
            index = np.full(len(chance), -1)
        else:
            permutations = self.permutations()
            index = laws.integer(chance.uniforms(1, scope=str(self.scope))[:, 0], 0, len(permutations))
            order = permutations[index]
        return {"index": index.astype(np.int32), "order": order.astype(np.int8)}, size_hw

    def join(self, chance: Chance, copies: list[dict[str, OpParams]], earlier: tuple[str, ...],
             partners: list[dict[str, OpParams]]) -> None:
        order = copies[0][self.name]["order"]
        sample = np.arange(len(order))
        for op in earlier:
            sources = [copy[op] for copy in copies]
            for key in sources[0]:
                if any(key not in source or source[key].shape != sources[0][key].shape for source in sources):
                    raise ValueError(f"permute: the tiles of group {chance.group!r} differ in what {op} draws, so that they "
                                     "cannot change places; give all copies the same fields")
            moved = {key: np.stack([source[key] for source in sources]) for key in sources[0]}
            for slot, copy in enumerate(copies):
                copy[op] = {key: values[order[:, slot], sample] for key, values in moved.items()}

    def caption(self, params: OpParams, row: int) -> str:
        index = int(params["index"][row])
        return f"permutation {index}" if index >= 0 else "order " + " ".join(map(str, params["order"][row].tolist()))

    def apply(self, images: Images, params: OpParams) -> Images:
        return images  # the earlier ops' parameters have been exchanged


@lru_cache(maxsize=16)
def _permutations(slots: int, set_size: int, min_hamming: int, mean_hamming: float | None) -> np.ndarray:
    apart = min_hamming if min_hamming > 2 else None  # any two permutations differ in two slots
    spread = apart is None or (mean_hamming or 0) > slots - 1
    found = permutation_set(slots, set_size, "mean" if spread else "first", apart)
    if mean_hamming is not None and set_size > 1 and abs(hamming(found)[1] - mean_hamming) > MEAN_WITHIN:
        raise ValueError(f"permute.mean_hamming is {mean_hamming}, but the set of {set_size} has {hamming(found)[1]:.3f}; "
                         "leave it out, or change set_size or min_hamming")
    return found
