"""iGPT's network: every weight's part in it by NumPy from the paper's formulas, who sees whom, first weights, how large it is."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
import torch
from viewmill.models.pixel_transformer import PixelTransformer

from .flops import multiply_adds


def small(causal: bool = True, **fields: int) -> PixelTransformer:
    torch.manual_seed(0)
    sizes = {"colours": 5, "side": 4, "dim": 12, "depth": 3, "heads": 2, "feature_layer": 1, **fields}
    return PixelTransformer(**sizes, causal=causal)  # type: ignore[arg-type]


def codes(images: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randint(5, (images, 16), generator=torch.Generator().manual_seed(seed))


def by_numpy(network: PixelTransformer, of: np.ndarray, mask: np.ndarray | None) -> list[np.ndarray]:
    """The residual stream before the first block and after each, then what the last norm makes of it; float64."""
    w = {name: value.double().numpy() for name, value in network.state_dict().items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"]

    x = w["embed.weight"][of]
    if mask is not None:
        x = x * (1 - mask[..., None])
    if network.causal:
        x = np.concatenate([np.broadcast_to(w["start"], (len(x), 1, x.shape[2])), x[:, :-1]], 1)
    x = x + w["positions"]
    every, heads = [x], 2
    for number in range(len(network.blocks)):
        name = f"blocks.{number}"
        q, k, v = np.split(norm(x, f"{name}.norm1") @ w[f"{name}.attn.qkv.weight"].T, 3, -1)
        made, size = np.zeros_like(x), x.shape[2] // heads
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = q[..., part] @ k[..., part].transpose(0, 2, 1) / np.sqrt(size)
            if network.causal:
                scores = np.where(np.tril(np.ones(scores.shape[1:])) > 0, scores, -np.inf)
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            made[..., part] = shares / shares.sum(-1, keepdims=True) @ v[..., part]
        x = x + made @ w[f"{name}.attn.proj.weight"].T
        inside = norm(x, f"{name}.norm2") @ w[f"{name}.mlp.fc1.weight"].T
        x = x + (inside / (1 + np.exp(-1.702 * inside))) @ w[f"{name}.mlp.fc2.weight"].T
        every.append(x)
    return [*every, norm(x, "norm")]


def unlike_at_first(network: PixelTransformer) -> PixelTransformer:
    """Gains that are not 1 and matrices that are not small."""
    for name, weight in network.named_parameters():
        weight.data += torch.randn(weight.shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode()))) * 0.3
    return network


@pytest.mark.parametrize("causal", [True, False])
def test_tokens_are_those_of_the_papers_formulas(causal: bool) -> None:
    network, of = unlike_at_first(small(causal)), codes()
    mask = None if causal else torch.rand(2, 16, generator=torch.Generator().manual_seed(1)) < 0.3
    expected = by_numpy(network, of.numpy(), None if mask is None else mask.numpy())
    np.testing.assert_allclose(network.tokens(of, mask).detach().numpy(), expected[-1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layer", [1, 3])
def test_features_are_the_mean_of_a_layer_as_the_next_norm_has_it(layer: int) -> None:
    network = unlike_at_first(small(feature_layer=layer))
    images = torch.rand(2, 3, 4, 4) * 2 - 1
    streams = by_numpy(network, network.codes(images).numpy(), None)
    x = streams[layer]
    gain = network.blocks[layer].norm1.weight if layer < 3 else network.norm.weight  # type: ignore[union-attr]
    normed = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * gain.detach().numpy()  # type: ignore[union-attr, operator]
    np.testing.assert_allclose(network(images).detach().numpy(), normed.mean(1), rtol=1e-3, atol=1e-4)
    run: list[int] = []
    for number, block in enumerate(network.blocks):
        block.register_forward_hook(lambda module, args, made, number=number: run.append(number))
    network(images)
    assert run == list(range(layer))  # and no block further


def test_maps_are_every_third_layer_in_the_pictures_rows_and_columns() -> None:
    network, images = small(depth=4, feature_layer=4), torch.rand(2, 3, 4, 4) * 2 - 1
    maps = network.maps(images)
    assert list(maps) == ["block1", "block4"] and maps["block1"].shape == (2, 12, 4, 4)
    torch.testing.assert_close(maps["block4"].mean((2, 3)), network(images))
    tokens = network.tokens(network.codes(images))
    torch.testing.assert_close(maps["block4"][:, :, 1, 2], tokens[:, 4 + 2])


def test_a_causal_place_sees_the_pixels_before_it_and_no_other() -> None:
    network, of = unlike_at_first(small()), codes()
    told = network.tokens(of)
    for place in (0, 6, 15):
        changed = of.clone()
        changed[:, place] = (changed[:, place] + 1) % 5
        moved = (network.tokens(changed) - told).abs().amax(2) > 1e-6
        assert not moved[:, : place + 1].any() and moved[:, place + 1 :].all()


def test_without_order_every_place_sees_all_but_what_is_masked() -> None:
    network, of = unlike_at_first(small(causal=False)), codes()
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[:, [3, 9]] = True
    told = network.tokens(of, mask)
    changed = of.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 5
    assert torch.equal(network.tokens(changed, mask), told)
    changed[:, 8] = (changed[:, 8] + 1) % 5
    assert ((network.tokens(changed, mask) - told).abs().amax(2) > 1e-6).all()
    assert network.start is None


def test_a_pixel_becomes_the_nearest_colour() -> None:
    network = small(colours=3)
    network.palette.copy_(torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, -1, -1]]))
    images = torch.full((1, 3, 4, 4), -0.9)
    images[0, :, 0, 1] = 0.6
    images[0, 0, 3, 2] = 0.4
    found = network.codes(images)[0]
    assert found.nonzero()[:, 0].tolist() == [1, 14] and found[[1, 14]].tolist() == [1, 2]


def test_first_weights_are_the_published_ones() -> None:
    network = small(colours=300, side=16, dim=64, depth=4, heads=4)
    for weight, expected in ((network.embed.weight, 0.02), (network.positions, 0.01), (network.start, 0.02)):
        assert weight is not None
        slack = 0.3 if weight.numel() < 100 else 0.05
        assert float(weight.detach().std()) == pytest.approx(expected, rel=slack)
    for block in network.blocks:
        for weight, expected in ((block.attn.qkv.weight, 1 / 8), (block.attn.proj.weight, 1 / math.sqrt(64 * 4)),  # type: ignore
                                 (block.mlp.fc1.weight, 0.02), (block.mlp.fc2.weight, 0.02)):  # type: ignore[union-attr]
            assert float(weight.detach().std()) == pytest.approx(expected, rel=0.05)
    assert not [name for name, _ in network.named_parameters() if "bias" in name]
    assert float(network.norm.weight.detach().min()) == 1 and network.norm.eps == 1e-5


@pytest.mark.parametrize(("dim", "depth", "heads", "millions", "billions"), [
    (512, 24, 8, 76, 103), (1024, 36, 8, 455, 541), (1536, 48, 16, 1362, 1546)])
def test_the_published_networks_have_the_weights_and_the_work_of_the_card(dim: int, depth: int, heads: int, millions: int,
                                                                          billions: int) -> None:
    with torch.device("meta"):
        network = PixelTransformer(512, 32, dim, depth, heads, causal=True, feature_layer=depth)
        of = torch.empty(1, 1024, dtype=torch.int64)
    # 12 D^2 and two gains a block; 512 colours, 1024 positions, the start, the last gain; and the head, 512 D.
    expected = depth * (12 * dim * dim + 2 * dim) + (512 + 1024 + 1 + 1) * dim
    assert sum(p.numel() for p in network.parameters()) == expected
    assert round((expected + 512 * dim) / 1e6) == pytest.approx(millions, abs=1)
    assert multiply_adds(network.tokens, of) == pytest.approx(billions * 1e9, rel=0.01)


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="iGPT reads pictures of 3 x 4 x 4, a token for each pixel, got 3 x 4 x 6"):
        small().codes(torch.rand(1, 3, 4, 6))
