"""Gradients beside finite differences: shared by the tests of methods that learn a mask vector."""

from __future__ import annotations

import copy

import pytest
import torch
from viewmill.models.masked_transformer import MaskedTransformer
from viewmill.pipelines.batch import Batch


def assert_mask_gradient(method: MaskedTransformer, batch: Batch, *, step: float = 1e-5, rel: float = 1e-4) -> None:
    """The loss's gradient by two values of the mask vector of a method in float64 is that of central differences."""
    method(batch)["loss"].backward()
    gradient = method.mask_token.grad
    assert gradient is not None
    for place in (0, 7):
        found = []
        for sign in (1, -1):
            moved = copy.deepcopy(method)
            with torch.no_grad():
                moved.mask_token[0, 0, place] += sign * step
                found.append(float(moved(batch)["loss"]))
        assert float(gradient[0, 0, place]) == pytest.approx((found[0] - found[1]) / (2 * step), rel=rel)
