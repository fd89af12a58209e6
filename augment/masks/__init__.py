"""Patch masks, one generator a file; here they meet their names."""

from __future__ import annotations

from .attention import Attention
from .bernoulli import Bernoulli
from .block import Block
from .block_coin import BlockCoin
from .center_hole import CenterHole
from .grid_cells import GridCells
from .mask import Mask, UnstatedMask
from .missing_tile import MissingTile
from .multi_block import MultiBlock
from .noise_field import NoiseField
from .random_exact import RandomExact
from .stratified_block import StratifiedBlock

_ALL = (Attention, Bernoulli, Block, BlockCoin, CenterHole, GridCells, MissingTile, MultiBlock, NoiseField, RandomExact,
        StratifiedBlock, UnstatedMask)

MASKS: dict[str | None, type[Mask]] = {mask.generator: mask for mask in _ALL}
"""By the name that a recipe's "generator" carries; None: the source does not say."""

__all__ = ["MASKS", "Mask", *(mask.__name__ for mask in _ALL)]
