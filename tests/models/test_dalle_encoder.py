"""DALL-E's encoder: its weights by name, how many, what it computes, and one pass worked out from the weights alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from viewmill.models.dalle_encoder import DalleEncoder

from .flops import multiply_adds


def test_names_and_shapes_are_those_of_the_published_file() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in DalleEncoder().state_dict().items()}
    assert shapes["blocks.input.w"] == (256, 3, 7, 7) and shapes["blocks.output.conv.w"] == (8192, 2048, 1, 1)
    assert shapes["blocks.group_1.block_1.res_path.conv_1.w"] == (64, 256, 3, 3)
    assert shapes["blocks.group_4.block_2.res_path.conv_4.w"] == (2048, 512, 1, 1)
    assert {name for name in shapes if "id_path" in name} == {
        f"blocks.group_{group}.block_1.id_path.{part}" for group in (2, 3, 4) for part in ("w", "b")}
    assert len(shapes) == 2 * (1 + 8 * 4 + 3 + 1)


def test_it_has_53_8_million_weights_and_computes_26_1_billion_at_112_px() -> None:
    def conv(before: int, after: int, side: int) -> int:
        return before * after * side * side + after

    def block(before: int, after: int) -> int:
        h = after // 4
        return conv(before, h, 3) + 2 * conv(h, h, 3) + conv(h, after, 1) + (conv(before, after, 1) if before != after else 0)

    widths = [256, 256, 512, 1024, 2048]
    groups = sum(block(a, b) + block(b, b) for a, b in pairwise(widths))
    expected = conv(3, 256, 7) + conv(2048, 8192, 1) + groups
    with torch.device("meta"):
        network, images = DalleEncoder(), torch.empty(1, 3, 112, 112)
    count = sum(p.numel() for p in network.parameters())
    assert count == expected and count == pytest.approx(53.8e6, rel=0.001)
    assert multiply_adds(network, images) == pytest.approx(26.1e9, rel=0.01)


def test_logits_follow_from_the_weights() -> None:
    torch.manual_seed(0)
    network, images = DalleEncoder(8, 16), torch.rand(2, 3, 16, 24) * 0.8 + 0.1
    w = {name: value + 0.01 for name, value in network.state_dict().items()}  # biases of 0 would show nothing
    network.load_state_dict(w)

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.conv2d(x, w[f"{name}.w"], w[f"{name}.b"], padding="same")

    x = conv(images, "blocks.input")
    for group in range(1, 5):
        for block in (1, 2):
            name, inside = f"blocks.group_{group}.block_{block}", x
            for layer in range(1, 5):
                inside = conv(F.relu(inside), f"{name}.res_path.conv_{layer}")
            x = (conv(x, f"{name}.id_path") if f"{name}.id_path.w" in w else x) + inside / 64
        if group < 4:
            x = F.max_pool2d(x, 2)
    expected = conv(F.relu(x), "blocks.output.conv")
    torch.testing.assert_close(network(images), expected)
    assert expected.shape == (2, 16, 2, 3)


def test_its_sizes_are_read_off_its_weights() -> None:
    of = DalleEncoder.of(DalleEncoder(8, 16).state_dict())
    assert of.vocabulary == 16 and of.blocks.input.w.shape == (8, 3, 7, 7)  # type: ignore[union-attr]
