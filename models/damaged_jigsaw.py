"""Completing Damaged Jigsaw Puzzles (Kim et al. 2018, arXiv:1802.01880): nine gray tiles out of order, one of them missing.
Which order is it, what was in the gap, and what colours have the others?

No official code was found. What the abstract states is the task; tile sizes, heads and weights are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..augment.colour.ab_bins import AbBins, is_coloured
from ..augment.ops import Permute
from ..losses.colours import soft_cross_entropy
from .adversary import Adversary, dcgan_judge
from .colour_pictures import MIDDLE_L, lab_pictures
from .colour_prior import ColourPrior
from .decoders import upconv
from .dense import map_and_features
from .method import Method
from .mosaic import mosaic
from .pictured import Shown
from .tiles import Pieces, classifier, tile_backbone, tiles_of
from .training.bounds import from_0_to_1, not_negative, whole
from .training.config import key
from .views import Views

TILES = 9
UNIT_L = 25.0
"""Of what is painted in the gap, in Lab units around L = 50: about the spread of photographs, so that its loss begins near 1."""
FIRST_PX = 4
"""Side of the map that the painting of the gap begins with."""


@dataclass(frozen=True)
class DamagedJigsawConfig:
    backbone: str = key("any of timm's names whose last map is as wide as its features, alexnet or convnet4; it sees the "
                        "lightness of one tile at a time", "alexnet")
    permutations: int = key("orders to choose from, permute.set_size of the recipe", 1000)
    hidden_dim: int = key("width of the hidden layer of the order's classifier", 4096)
    dropout: float = key("after that layer", 0.5)
    inpaint_weight: float = key("of the gap's loss", 1.0)
    adversarial_weight: float = key("share in it of what a discriminator says of the painted gap, beside the squared error; 0: "
                                    "there is none", 0.001)
    colour_weight: float = key("of the colours' loss", 1.0)
    colour_stride: int = key("pixels between two at which colours are told", 8)
    neighbours: int = key("nearest colours that a pixel's target is spread over", 10)
    uniform: float = key("class rebalancing of the colours, as in colorization; 1: all weigh the same", 0.5)
    doublings: int = key("transposed convolutions between a tile's last map and its colours, each of which doubles its sides", 0)
    decoder_dim: int = key("channels of these, and of those that paint the gap", 128)

    def __post_init__(self) -> None:
        whole(self, "hidden_dim", "colour_stride", "neighbours", "decoder_dim")
        whole(self, "permutations", least=2)
        not_negative(self, "inpaint_weight", "colour_weight", "doublings")
        from_0_to_1(self, "dropout", "uniform", "adversarial_weight")


class DamagedJigsaw(Method):
    """Group "patch" holds nine tiles of each image as they are shown, (9, B, 1, tile_px, tile_px): L - 50, out of order, one
    blank; group "whole" the picture that they are cut from, (1, B, 3, H, W): L, a and b, Lab units. Pictures to be judged come as
    L - 50.

    What is to be painted is what each slot shows, in the puzzle's own order, so that neither the gap nor the colours need it
    solved. Unless all colours weigh the same, it is shown all images once before the first step, and counts.
    """

    Config = DamagedJigsawConfig
    encoder: nn.Module

    def __init__(self, config: DamagedJigsawConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        if in_chans != 3:
            raise ValueError("damaged_jigsaw needs pictures of 3 channels, of which it sees the lightness, got "
                             f"in_chans={in_chans}")
        self.config, self.tile_px = config, image_px
        self.encoder, self.feature_dim = tile_backbone(config.backbone, image_px, 1)
        with torch.no_grad():
            found, _ = map_and_features(self._of_tiles.eval(), torch.zeros(1, 1, image_px, image_px))
        self._of_tiles.train()
        self.bins = AbBins(config.neighbours)
        self.prior = ColourPrior(self.bins, config.uniform, 0.0)
        self.classifier = classifier([TILES * self.feature_dim, config.hidden_dim, config.permutations], norms=["none"],
                                     dropout=config.dropout)
        width = config.decoder_dim
        self.colour_painter = upconv(found.shape[1], len(self.bins), doublings=config.doublings, width=width)
        self.gap_painter = nn.Sequential(
            nn.Linear(TILES * self.feature_dim, width * FIRST_PX**2, bias=False), nn.Unflatten(1, (width, FIRST_PX, FIRST_PX)),
            nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            upconv(width, 1, doublings=max(math.ceil(math.log2(image_px / FIRST_PX)), 0), width=width))
        self.adversary = Adversary(dcgan_judge(image_px, 1), "bce") if config.adversarial_weight else None

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss": of order, gap and colours, the latter two scaled to what the order costs at chance, and weighted.
        "order_loss": cross-entropy of the order's number, "gap_loss": mean squared error of the missing tile's lightness over
        UNIT_L^2, "colour_loss": cross-entropy of the visible tiles' colours, weighted as in colorization. "accuracy": share of
        the puzzles whose order is found; chance is 1 / permutations. "colour_accuracy": share of the pixels whose colour is.
        With a discriminator also "judging", its loss, which is added, and "fooling", the gap's by it}.

        Raises ValueError where the recipe has no such groups, other than one gap, or more orders than permutations.
        """
        tiles, content = self._tiles(batch), self._content(batch)
        gap, visible = self._gap(batch, tiles.device)
        order = self._order(batch).to(tiles.device, non_blocking=True)
        logits, painted, colours = self.solve(tiles)
        order_loss = F.cross_entropy(logits.float(), order)
        truth = content[gap, torch.arange(len(gap), device=gap.device), :1] / UNIT_L
        gap_loss = F.mse_loss(painted.float(), truth)
        colour_loss, colour_accuracy = self._of_colours(colours, content[:, :, 1:], visible)
        values = {"order_loss": order_loss, "gap_loss": gap_loss, "colour_loss": colour_loss, "colour_accuracy": colour_accuracy,
                  "accuracy": (logits.argmax(1) == order).float().mean()}
        if self.adversary is not None:
            values["judging"], values["fooling"] = self.adversary(truth, painted)
            share = self.config.adversarial_weight
            gap_loss = (1 - share) * gap_loss + share * values["fooling"]
        at_chance = math.log(self.config.permutations)
        loss = (order_loss + self.config.inpaint_weight * at_chance * gap_loss
                + self.config.colour_weight * at_chance / math.log(len(self.bins)) * colour_loss)
        loss = loss + values["judging"] if "judging" in values else loss
        return {"loss": loss, **{name: value.detach() for name, value in values.items()}}

    def solve(self, tiles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """tiles (9, B, 1, tile_px, tile_px) to logits of the order (B, permutations), the lightness in the gap (B, 1, tile_px,
        tile_px), in units of UNIT_L, and logits of the colours of each tile (9, B, 313, h, h)."""
        found, features = map_and_features(self._of_tiles, tiles.flatten(0, 1))
        beside = features.unflatten(0, tiles.shape[:2]).transpose(0, 1).flatten(1)
        painted = self.gap_painter(beside)
        if painted.shape[2] != self.tile_px:
            painted = F.interpolate(painted, (self.tile_px, self.tile_px), mode="bilinear", align_corners=False)
        colours = self.colour_painter(found)
        side = -(-self.tile_px // self.config.colour_stride)
        if colours.shape[2] != side:
            colours = F.interpolate(colours, (side, side), mode="bilinear", align_corners=False)
        return self.classifier(beside), painted, colours.unflatten(0, tiles.shape[:2])

    def wants_pass(self, epoch: float) -> bool:
        return epoch == 0 and self.config.uniform < 1

    def observe(self, batch: Views) -> None:
        self.prior.count(self._picked(self._content(batch)[:, :, 1:]).flatten(0, 1))

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """The puzzle as it is shown; as the network completes it, in the order that it takes it for; and the original."""
        tiles, content = self._tiles(batch), self._content(batch)
        gap, visible = self._gap(batch, tiles.device)
        logits, painted, colours = self.solve(tiles)
        permute = next(op for op in batch.recipe.instances[0].ops if isinstance(op, Permute))
        table = torch.tensor(permute.permutations(), device=tiles.device)
        order = batch.drawn("patch", "order")[0].to(tiles.device)
        shown = batch.plain("patch", tiles)
        filled = shown.clone()
        filled[gap, torch.arange(len(gap), device=gap.device)] = UNIT_L * painted.float() + MIDDLE_L
        ab = self.bins.annealed_mean(colours.flatten(0, 1)).unflatten(0, visible.shape) * visible[..., None, None, None]
        identity = torch.arange(TILES, device=tiles.device).expand_as(order)
        columns = {"puzzle": (shown, torch.zeros_like(ab), identity),
                   "completed": (filled, ab, table[logits[:, : len(table)].argmax(1)]),
                   "original": (content[:, :, :1] + MIDDLE_L, content[:, :, 1:], order)}
        return {title: self._laid_out(*planes) for title, planes in columns.items()}

    def _laid_out(self, lightness: Tensor, ab: Tensor, order: Tensor) -> Tensor:
        """L and ab of nine tiles (9, B, ...), and the cell (B, 9) that each belongs into, to pictures (B, 3, H, W)."""
        tiles = lab_pictures(lightness.flatten(0, 1), ab.flatten(0, 1), self.tile_px).unflatten(0, (TILES, -1)).transpose(0, 1)
        return mosaic(tiles[torch.arange(len(tiles), device=tiles.device)[:, None], order.argsort(1)])

    def _of_colours(self, logits: Tensor, ab: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """(loss, accuracy). logits (9, B, 313, h, h), ab (9, B, 2, tile_px, tile_px), visible (9, B)."""
        ab = self._picked(ab)
        index, weight = self.bins.encode(ab.flatten(0, 1))
        nearest = index[:, 0].unflatten(0, visible.shape)
        cost = soft_cross_entropy(logits.flatten(0, 1), index, weight).unflatten(0, visible.shape)
        counted = is_coloured(ab.transpose(0, 1))  # by the whole puzzle
        of_pixels = self.prior.weights()[nearest] * cost * counted[:, None, None]
        share = visible[:, :, None, None] / (visible.sum() * cost[0, 0].numel())
        right = (logits.argmax(2) == nearest) * share
        return (of_pixels * share).sum(), right.sum()

    def _picked(self, ab: Tensor) -> Tensor:
        return ab[..., :: self.config.colour_stride, :: self.config.colour_stride]

    def _tiles(self, batch: Views) -> Tensor:
        return tiles_of(batch, "patch", TILES, "damaged_jigsaw", "damaged_jigsaw_lab")

    def _order(self, batch: Views) -> Tensor:
        """(B,) int64: the number of each puzzle's order."""
        index = batch.drawn("patch", "index")[0].long()
        if not 0 <= int(index.min()) <= int(index.max()) < self.config.permutations:
            raise ValueError(f"model.permutations={self.config.permutations} needs an order from a set no larger, the recipe "
                             f"drew number {int(index.max())}; give model.permutations the recipe's permute.set_size")
        return index

    def _gap(self, batch: Views, device: torch.device) -> tuple[Tensor, Tensor]:
        """Which slot is blank (B,) int64, and which are not (9, B) bool."""
        missing = batch.drawn("patch", "missing")
        if bool((missing.sum(0) != 1).any()):
            raise ValueError(f"damaged_jigsaw paints one missing tile, the recipe has {int(missing.sum(0).max())}; use "
                             "masks.missing=1")
        return missing.long().argmax(0).to(device, non_blocking=True), (~missing).to(device, non_blocking=True)

    def _content(self, batch: Views) -> Tensor:
        """(9, B, 3, tile_px, tile_px): L - 50, a and b of what each slot shows or, in the gap, would show."""
        picture = batch.views.get("whole")
        if picture is None:
            raise ValueError("damaged_jigsaw needs the group 'whole', that which tiles are cut from, the recipe has "
                             f"{', '.join(batch.views)}; use recipe=damaged_jigsaw_lab")
        found = cut(picture[0], batch.drawn("patch", "box"))
        return torch.cat([found[:, :, :1] - MIDDLE_L, found[:, :, 1:]], 2)

    @property
    def _of_tiles(self) -> nn.Module:
        return self.encoder.network if isinstance(self.encoder, Pieces) else self.encoder


def cut(pictures: Tensor, boxes: Tensor) -> Tensor:
    """pictures (B, C, H, W) and boxes (T, B, 4), top, left, height and width in their pixels, all of one size, on the CPU, to
    tiles (T, B, C, height, width)."""
    (height, width), *others = {tuple(size) for size in boxes[..., 2:].flatten(0, 1).tolist()}
    if others:
        raise ValueError(f"tiles need one size, got {len(others) + 1}")
    top, left = (boxes[..., axis].long().to(pictures.device, non_blocking=True) for axis in (0, 1))
    rows = top[:, :, None, None] + torch.arange(height, device=pictures.device)[:, None]
    columns = left[:, :, None, None] + torch.arange(width, device=pictures.device)
    image = torch.arange(len(pictures), device=pictures.device)[None, :, None, None]
    return pictures.movedim(1, -1)[image, rows, columns].movedim(-1, 2)
