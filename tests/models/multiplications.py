"""How many multiplications a vision transformer's blocks take, counted while it runs: where a reference says how many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


def multiplications(vit: Any, run: Callable[[], object]) -> int:
    """Of all images of whatever `run` has the network do: those of linear layers, and of queries with keys and of attention with
    values; of its blocks alone. Shapes are all that is looked at: a network on "meta" will do."""
    total = 0

    def count(module: Any, given: tuple[Any, ...], made: Any) -> None:
        nonlocal total
        rows = given[0].numel() // given[0].shape[-1]
        if isinstance(module, nn.Linear):
            total += rows * module.in_features * module.out_features
        else:  # attention: of each token with each of its image, twice, over the whole width
            total += 2 * rows * given[0].shape[1] * given[0].shape[2]

    kinds = [part for part in vit.blocks.modules() if isinstance(part, nn.Linear) or hasattr(part, "qkv")]
    hooks = [part.register_forward_hook(count) for part in kinds]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return total
