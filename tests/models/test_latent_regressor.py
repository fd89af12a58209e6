"""CAE's regressor against its formulas written out in float64."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from viewmill.models.latent_regressor import LatentRegressor, RegressorBlock

from .test_cross_attention import attended


def norm(x: np.ndarray, layer: nn.Module) -> np.ndarray:
    weight, bias = (p.detach().double().numpy() for p in (layer.weight, layer.bias))
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-6) * weight + bias


def by_hand(block: RegressorBlock, x: np.ndarray, seen: np.ndarray, places: np.ndarray, seen_places: np.ndarray) -> np.ndarray:
    there, at = np.concatenate([seen, x], 1), np.concatenate([seen_places, places], 1)
    given = [norm(part, layer) for part, layer in ((x + places, block.norm_q), (there + at, block.norm_k), (there, block.norm_v))]
    mixed = attended(block.attn, *(torch.from_numpy(part) for part in given))
    gain1, gain2 = (gain.detach().double().numpy() for gain in (block.gain1, block.gain2))
    x = norm(x + gain1 * mixed, block.norm2)
    with torch.no_grad():
        return x + gain2 * block.mlp.double()(torch.from_numpy(x)).numpy()


def test_queries_begin_alike_look_at_what_is_seen_and_at_each_other_and_values_have_no_places() -> None:
    torch.manual_seed(0)
    regressor = LatentRegressor(12, 2, 3, 0.7)
    for parameter in regressor.parameters():  # gains and norms too, so that none could be left out
        nn.init.normal_(parameter, std=0.5)
    seen, places, seen_places = torch.randn(2, 5, 12), torch.randn(2, 4, 12), torch.randn(2, 5, 12)
    with torch.no_grad():
        found = regressor(seen, places, seen_places).numpy()
    x = np.tile(regressor.mask_token.detach().double().numpy(), (2, 4, 1))
    for block in regressor.blocks:
        x = by_hand(block, x, *(t.double().numpy() for t in (seen, places, seen_places)))  # type: ignore[arg-type]
    np.testing.assert_allclose(found, norm(x, regressor.norm), rtol=1e-3, atol=1e-4)


def test_parameters_of_a_block_of_768() -> None:
    # Four projections, a perceptron of four times the width, four norms and two gains.
    block, d = RegressorBlock(768, 12, 0.1), 768
    assert sum(p.numel() for p in block.parameters()) == 4 * (d * d + d) + 8 * d * d + 5 * d + 4 * 2 * d + 2 * d
    assert float(block.gain1.detach().min()) == float(block.gain2.detach().max()) == np.float32(0.1)
