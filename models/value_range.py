"""Whether views have the values that a network was trained on, where another normalization would go unnoticed."""

from __future__ import annotations

from torch import Tensor

SLACK = 0.02
"""Of the range: what resampling and rounding may add."""

LEAST = 0.45
"""Of the range that views of several pictures span at least. Black to white in DALL-E's range, 0.8 wide, spans 0.4 of one that is
2 wide, which is how the one is told from the other."""

ENOUGH = 8
"""Pictures, of which at least one has something dark and one something bright."""


def refuse_values(images: Tensor, low: float, high: float, group: str, who: str) -> None:
    """Raise ValueError, one line, where images (N, C, H, W) are not within [low, high], or N is large and they span little of it.
    Asks the device, so once is enough."""
    least, most = (float(value) for value in images.aminmax())
    span = high - low
    outside = least < low - SLACK * span or most > high + SLACK * span
    if outside or (len(images) >= ENOUGH and most - least < LEAST * span):
        raise ValueError(f"{who} needs values in [{low:g}, {high:g}], views of group {group!r} lie in [{least:.2f}, {most:.2f}]; "
                         f"use recipe.{group}/0.normalize.kind=range recipe.{group}/0.normalize.range=[{low:g},{high:g}]")
