"""Cross attention against its products written out in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from viewmill.models.backbone import transformer_blocks
from viewmill.models.cross_attention import CrossAttention, mlp


def attended(module: CrossAttention, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> np.ndarray:
    """By loops over images, heads and queries."""
    def linear(x: torch.Tensor, layer: torch.nn.Linear) -> np.ndarray:
        return x.double().numpy() @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()

    q, k, v = linear(queries, module.q), linear(keys, module.k), linear(values, module.v)
    width = q.shape[2] // module.heads
    mixed = np.zeros_like(q)
    for n, head, row in np.ndindex(len(q), module.heads, q.shape[1]):
        own = slice(head * width, (head + 1) * width)
        weights = np.exp(k[n, :, own] @ q[n, row, own] / np.sqrt(width))
        mixed[n, row, own] = weights / weights.sum() @ v[n, :, own]
    return linear(torch.from_numpy(mixed), module.proj)


def test_it_is_attention_of_queries_to_keys_whose_values_are_mixed() -> None:
    torch.manual_seed(0)
    module = CrossAttention(12, 3)
    queries, keys, values = torch.randn(2, 4, 12), torch.randn(2, 7, 12), torch.randn(2, 7, 12)
    with torch.no_grad():
        found = module(queries, keys, values).numpy()
    np.testing.assert_allclose(found, attended(module, queries, keys, values), rtol=1e-4, atol=1e-6)


def test_of_tokens_to_themselves_it_is_timms() -> None:
    torch.manual_seed(0)
    block, module = transformer_blocks(12, 1, 3)[0], CrossAttention(12, 3)
    with torch.no_grad():
        for own, weight, bias in zip((module.q, module.k, module.v), block.attn.qkv.weight.chunk(3), block.attn.qkv.bias.chunk(3),
                                     strict=True):
            own.weight.copy_(weight)
            own.bias.copy_(bias)
    module.proj.load_state_dict(block.attn.proj.state_dict())
    x = torch.randn(2, 5, 12)
    torch.testing.assert_close(module(x, x, x), block.attn(x))


def test_a_perceptron_of_four_times_the_width() -> None:
    assert [tuple(p.shape) for p in mlp(6).parameters()] == [(24, 6), (24,), (6, 24), (6,)]


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="attention needs a width that heads divides, got width 10, heads 3"):
        CrossAttention(10, 3)
