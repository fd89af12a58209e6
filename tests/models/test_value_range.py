"""Views whose values are another range's are refused, also where they lie inside it."""

from __future__ import annotations

import pytest
import torch
from viewmill.models.value_range import refuse_values


def levels(images: int = 8) -> torch.Tensor:
    """Some of each from black to white, in [0, 1]."""
    return torch.linspace(0, 1, images * 3 * 4 * 4).reshape(images, 3, 4, 4)


@pytest.mark.parametrize("low_high", [(0.1, 0.9), (-1.0, 1.0), (0.0, 1.0)])
def test_a_range_takes_what_fills_it_and_nothing_else(low_high: tuple[float, float]) -> None:
    for low, high in ((0.1, 0.9), (-1.0, 1.0), (0.0, 1.0), (-2.1, 2.6)):
        images = levels() * (high - low) + low
        # What lies within a range and fills half of it may be what its own pictures have.
        within = ((-1.0, 1.0), (0.0, 1.0)), ((0.0, 1.0), (0.1, 0.9))
        if (low, high) == low_high or (low_high, (low, high)) in within:
            refuse_values(images, *low_high, "target", "it")
        else:
            with pytest.raises(ValueError, match=r"it needs values in .* views of group 'target' lie in .* use recipe.target/0"):
                refuse_values(images, *low_high, "target", "it")


def test_a_few_dull_pictures_are_no_error() -> None:
    refuse_values(torch.full((2, 3, 4, 4), 0.5), 0.1, 0.9, "target", "it")
