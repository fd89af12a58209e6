"""Jigsaw (Noroozi, Favaro 2016, arXiv:1603.09246): nine tiles in one of a fixed set of orders; which order is it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .distributed import gather, world_size
from .method import Method
from .mosaic import mosaic
from .pictured import Shown
from .tiles import classifier, embed_tiles, tile_backbone, tiles_of
from .training.bounds import from_0_to_1, whole
from .training.config import key
from .views import Views

TILES = 9


@dataclass(frozen=True)
class JigsawConfig:
    backbone: str = key("any of timm's names, alexnet or convnet4; it sees one tile at a time", "alexnet")
    permutations: int = key("orders to choose from, permute.set_size of the recipe", 100)
    tile_dim: int | None = key("width of a layer, linear, batch norm and ReLU, that each tile's features go through; null: none",
                               None)
    hidden_dim: int | None = key("width of the hidden layer of the classifier, which stands on nine tiles side by side; null: "
                                 "none", 4096)
    hidden_norm: Literal["affine", "plain", "none"] = key(
        "batch norm of that layer: affine, plain (without gain and shift) or none", "none")
    dropout: float = key("after that layer", 0.5)
    puzzles: int = key("orders in which each image's features are put to the classifier: its own, and those of the images that "
                       "come next in the batch", 1)

    def __post_init__(self) -> None:
        whole(self, "tile_dim", "hidden_dim", "puzzles")
        whole(self, "permutations", least=2)
        from_0_to_1(self, "dropout")


class Jigsaw(Method):
    """Group "patch" holds nine tiles of each image in the order in which they are shown, (9, B, C, tile_px, tile_px): in slot s
    stands the tile of cell order[s]."""

    Config = JigsawConfig
    whole_batch = None
    encoder: nn.Module
    name, recipe = "jigsaw", "jigsaw"
    orders: Tensor

    def __init__(self, config: JigsawConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.feature_dim = tile_backbone(config.backbone, image_px, in_chans)
        dim = self.feature_dim if config.tile_dim is None else config.tile_dim
        self.tile_head = nn.Identity() if config.tile_dim is None else nn.Sequential(
            nn.Linear(self.feature_dim, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(inplace=True))
        hidden = [] if config.hidden_dim is None else [config.hidden_dim]
        self.classifier = classifier([TILES * dim, *hidden, config.permutations], norms=[config.hidden_norm for _ in hidden],
                                     dropout=config.dropout)
        # (permutations, 9): the orders by number, as far as they were met; -1 where they were not. They are the recipe's, and
        # needed only to lay out what the network takes a puzzle for.
        self.register_buffer("orders", torch.full((config.permutations, TILES), -1, dtype=torch.int8))

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": mean cross-entropy of the order's number, "accuracy": share of the puzzles whose order is found; chance is
        1 / permutations}.

        Several ranks: each returns its share of the loss times the world size. Raises ValueError where the recipe has no nine
        tiles, draws no order from a set, or from a larger one.
        """
        tiles = tiles_of(batch, "patch", TILES, self.name, self.recipe)
        index, order, first = self.drawn(batch, tiles)
        each = self.each(tiles)
        own = torch.arange(first, first + len(each), device=each.device)
        places = [(own + further) % len(index) for further in range(self.config.puzzles)]
        shown = [each, *(reordered(each, order[own], order[other]) for other in places[1:])]
        logits = self.classifier(torch.cat(shown).flatten(1))
        target = index[torch.cat(places)]
        right = (logits.detach().argmax(1) == target).float()
        share = world_size() / (len(index) * self.config.puzzles)
        loss = F.cross_entropy(logits.float(), target, reduction="sum") * share
        return {"loss": loss, "accuracy": right.sum() * share, **self.further(batch, right)}

    def each(self, tiles: Tensor) -> Tensor:
        """(9, B, C, tile_px, tile_px) to (B, 9, D): of each tile by itself, what the classifier stands on."""
        z = embed_tiles(self.encoder, tiles)
        features: Tensor = self.tile_head(z.flatten(0, 1)).unflatten(0, z.shape[:2]).transpose(0, 1)
        return features

    def further(self, batch: Views, right: Tensor) -> dict[str, Tensor]:
        """More to log. right (puzzles * B,): 1 where the order was found, 0 elsewhere."""
        return {}

    def drawn(self, batch: Views, tiles: Tensor) -> tuple[Tensor, Tensor, int]:
        """Of all ranks' images the number of the order (N,) int64 and the order itself (N, 9) int64, and where this rank's
        begin."""
        index, order = batch.drawn("patch", "index")[0].long(), batch.drawn("patch", "order")[0]
        if int(index.min()) < 0:
            raise ValueError(f"{self.name} tells orders of a set apart, and the recipe draws any (permute.free=true); use "
                             f"recipe={self.recipe}")
        if int(index.max()) >= self.config.permutations:
            raise ValueError(f"model.permutations={self.config.permutations} are fewer than the recipe draws from, order "
                             f"{int(index.max())} among them; give model.permutations the recipe's permute.set_size")
        index, order = (of.to(tiles.device, non_blocking=True) for of in (index, order))
        (every, first), (orders, _) = gather(index), gather(order)
        if self.training:
            self.orders[every] = orders.to(self.orders.dtype)
        return every, orders.long(), first

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """Of each image the "puzzle", "as the network solves it" and "solved", without the gaps that were between tiles. Of the
        orders only those that training has met are answers. Raises ValueError as `forward`."""
        tiles = tiles_of(batch, "patch", TILES, self.name, self.recipe)
        order = batch.drawn("patch", "order")[0].to(tiles.device).long()
        known = self.orders[:, 0] >= 0
        logits = self.classifier(self.each(tiles).flatten(1)).masked_fill(~known, -torch.inf)
        identity = torch.arange(TILES, device=tiles.device).expand(len(order), -1)
        guess = self.orders[logits.argmax(1)].long() if bool(known.any()) else identity
        shown = batch.rgb("patch", tiles).transpose(0, 1)
        return {"puzzle": mosaic(shown), "as the network solves it": mosaic(reordered(shown, guess, identity)),
                "solved": mosaic(reordered(shown, order, identity))}


def reordered(tiles: Tensor, order: Tensor, other: Tensor) -> Tensor:
    """tiles (B, 9, ...), in whose slot s stands the tile of cell order[s], with that of cell other[s] there instead. order, other
    (B, 9) int64: permutations."""
    slot_of_cell = order.argsort(1)
    row = torch.arange(len(tiles), device=tiles.device)[:, None]
    return tiles[row, slot_of_cell.gather(1, other)]
