"""BEiT's transformer on other sizes: its own to the bit, biases of others between those it has learnt."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.beit import Beit
from viewmill.models.relative_vit import is_relative_vit, open_grids, set_grid, table_for


def network(shared: bool) -> Any:
    torch.manual_seed(0)
    vit = Beit(img_size=24, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0, use_abs_pos_emb=False,
               use_rel_pos_bias=not shared, use_shared_rel_pos_bias=shared)
    for name, parameter in vit.named_parameters():
        if name.endswith("bias_table"):
            torch.nn.init.normal_(parameter)
    return vit.eval()


@pytest.mark.parametrize("shared", [True, False])
def test_its_own_size_to_the_bit_and_others_by_their_grid(shared: bool) -> None:
    vit, images = network(shared), torch.randn(2, 3, 24, 24)
    assert is_relative_vit(vit)
    before, names = vit.forward_features(images), set(vit.state_dict())
    open_grids(vit)
    assert torch.equal(vit.forward_features(images), before) and set(vit.state_dict()) == names
    set_grid(vit, 2, 5)
    (wide,) = vit.forward_intermediates(torch.randn(1, 3, 16, 40), indices=[1], intermediates_only=True)
    assert wide.shape == (1, 16, 2, 5)
    wide.sum().backward()
    assert all(p.grad is not None for n, p in vit.named_parameters() if n.endswith("bias_table"))
    set_grid(vit, 3, 3)
    assert torch.equal(vit.forward_features(images), before)


def test_distances_keep_their_order() -> None:
    # A bias that grows by 1 with each row of distance: twice the patches grow half as fast, between the same ends nearly.
    own = torch.arange(-2.0, 3).repeat_interleave(5)
    table = torch.cat([own, torch.tensor([7.0, 8.0, 9.0])])[:, None]
    found = table_for(table, (3, 3), (6, 3))
    assert found.shape == (11 * 5 + 3, 1) and found[-3:, 0].tolist() == [7, 8, 9]
    rows = found[:-3, 0].view(11, 5)
    assert torch.allclose(rows, rows[:, :1].expand(11, 5)) and float(rows[5, 0]) == pytest.approx(0, abs=1e-6)
    assert torch.allclose(rows.flip(0), -rows, atol=1e-6) and bool((rows[1:, 0] > rows[:-1, 0]).all())
    assert float(rows[6, 0] - rows[5, 0]) == pytest.approx(5 / 11, abs=0.03)
    assert table_for(table, (3, 3), (3, 3)) is table
