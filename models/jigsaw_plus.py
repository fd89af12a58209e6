"""Jigsaw++ (Noroozi et al. 2018, arXiv:1805.00385): the puzzle, with up to two of the nine tiles from another picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .distributed import add_up
from .jigsaw import Jigsaw, JigsawConfig
from .training.bounds import whole
from .training.config import key
from .views import Views


@dataclass(frozen=True)
class JigsawPlusConfig(JigsawConfig):
    permutations: int = key("orders to choose from, permute.set_size of the recipe", 701)
    occluders: int = key("tiles that another picture may have replaced: orders have to differ in more slots than that", 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "occluders", least=0)


class JigsawPlus(Jigsaw):
    """As `Jigsaw`; some slots show tiles of another image, and the order is told in spite of them."""

    Config = JigsawPlusConfig
    name, recipe = "jigsaw_plus", "jigsaw++"

    def __init__(self, config: JigsawPlusConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__(config, image_px=image_px, in_chans=in_chans)
        self.met: dict[int, Tensor] = {}

    def further(self, batch: Views, right: Tensor) -> dict[str, Tensor]:
        """{"whole_accuracy": that of the puzzles of which no tile was replaced, by which the paper judges; of all ranks, 0 where
        there is none}."""
        unspoiled = (batch.drawn("patch", "count")[0] == 0).to(right).repeat(self.config.puzzles)
        found, of_all = add_up(torch.stack([(right * unspoiled).sum(), unspoiled.sum()]))
        return {"whole_accuracy": found / of_all.clamp(min=1)}

    def drawn(self, batch: Views, tiles: Tensor) -> tuple[Tensor, Tensor, int]:
        """As `Jigsaw.drawn`. Raises ValueError also where two orders differ in so few slots that what hides these could make one
        look like the other."""
        assert isinstance(self.config, JigsawPlusConfig)
        found = super().drawn(batch, tiles)
        numbers, orders = batch.drawn("patch", "index")[0].tolist(), batch.drawn("patch", "order")[0]
        for number, order in zip(numbers, orders, strict=True):
            if number in self.met:
                continue
            least = min((int((order != other).sum()) for other in self.met.values()), default=order.numel())
            if least <= self.config.occluders:
                most = self.config.occluders
                raise ValueError(f"jigsaw_plus: two orders of the recipe's set differ in {least} slots, and "
                                 f"model.occluders={most} tiles may be hidden; use permute.min_hamming={most + 1} or more")
            self.met[number] = order.clone()
        return found
