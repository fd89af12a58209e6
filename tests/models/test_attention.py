"""Attention of the class token, against the products written out in float64; and the patches that hold most of it."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from viewmill.models.attention import class_attention, largest, tokens_and_attention
from viewmill.models.backbone import backbone
from viewmill.models.vit import open_to_sizes, tokens

OPTIONS: list[dict[str, object]] = [{}, {"qk_norm": True}, {"reg_tokens": 2}, {"reg_tokens": 1, "no_embed_class": True},
                                    {"pre_norm": True}]


def vit(**options: object) -> timm.models.VisionTransformer:
    """2 blocks, 3 heads of 8, patches of 8 px, and weights large enough that heads look somewhere."""
    torch.manual_seed(0)
    module = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3,
                               num_classes=0, **options)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            weights.mul_(8 if "qkv" in name else 1)
            if "_norm.weight" in name:
                weights.uniform_(0.5, 2)
    open_to_sizes(module)
    return module.eval()


def norm(x: np.ndarray, layer: torch.nn.LayerNorm) -> np.ndarray:
    weight, bias = (p.detach().double().numpy() for p in (layer.weight, layer.bias))
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + layer.eps) * weight + bias


def by_hand(module: timm.models.VisionTransformer, images: torch.Tensor) -> np.ndarray:
    """From the tokens that come out of the first block: (N, heads, L), what each token has of the class token's attention."""
    last = module.blocks[1]
    module.blocks, kept = torch.nn.Sequential(module.blocks[0]), module.blocks
    module.norm, final = torch.nn.Identity(), module.norm
    with torch.no_grad():
        x = norm(tokens(module, images).double().numpy(), last.norm1)
    module.blocks, module.norm = kept, final
    weight, bias = (p.detach().double().numpy() for p in (last.attn.qkv.weight, last.attn.qkv.bias))
    found = np.zeros((len(x), 3, x.shape[1]))
    for n, head in np.ndindex(len(x), 3):
        q, k = (x[n] @ weight[start : start + 8].T + bias[start : start + 8] for start in (8 * head, 24 + 8 * head))
        if isinstance(last.attn.q_norm, torch.nn.LayerNorm):
            q, k = norm(q, last.attn.q_norm), norm(k, last.attn.k_norm)
        e = np.exp(q[0] @ k.T / np.sqrt(8))
        found[n, head] = e / e.sum()
    return found


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("size", [(32, 32), (24, 48)])
def test_the_softmax_of_each_head_at_any_size(options: dict[str, object], size: tuple[int, int]) -> None:
    module, images = vit(**options), torch.randn(2, 3, *size)
    found = class_attention(module, images)
    rows, columns = size[0] // 8, size[1] // 8
    expected = by_hand(module, images)
    assert found.shape == (2, 3, rows, columns) and not found.requires_grad
    patches = expected[:, :, expected.shape[2] - rows * columns :]
    np.testing.assert_allclose(found.numpy(), patches.reshape(2, 3, rows, columns), rtol=1e-4, atol=1e-6)
    kept = expected[:, :, : expected.shape[2] - rows * columns].sum(-1)  # by class token and registers
    np.testing.assert_allclose(found.sum((2, 3)).numpy() + kept, 1, rtol=1e-5)
    assert found.std() > 0.01  # not all alike


def test_tokens_and_attention_come_of_one_pass() -> None:
    module, images, passes = vit(), torch.randn(2, 3, 24, 48), []
    module.blocks[0].register_forward_hook(lambda *_: passes.append(1))
    found, shares = tokens_and_attention(module, images)
    assert len(passes) == 1 and torch.equal(shares, class_attention(module, images))
    with torch.no_grad():
        assert torch.equal(found, tokens(module, images))


def test_the_network_is_left_as_it_was() -> None:
    module, images = vit(), torch.randn(1, 3, 32, 32)
    before = module(images)
    class_attention(module, images)
    assert torch.equal(module(images), before) and not module.blocks[-1].attn._forward_pre_hooks


def test_the_fewest_patches_that_hold_the_mass() -> None:
    shares = torch.tensor([[0.1, 0.4], [0.05, 0.2]])  # of 0.75: 0.4 alone is 53 %, with 0.2 80 %, with 0.1 93 %
    for mass, kept in ((0.5, [[0, 1], [0, 0]]), (0.6, [[0, 1], [0, 1]]), (0.9, [[1, 1], [0, 1]]), (1.0, [[1, 1], [1, 1]])):
        assert largest(shares, mass).int().tolist() == kept
    assert largest(torch.full((2, 3, 4, 4), 1 / 16), 0.5).sum((2, 3)).tolist() == [[8] * 3] * 2
    for mass in (0.0, 1.5):
        with pytest.raises(ValueError, match=rf"mass needs a number in \(0, 1\], got {mass}"):
            largest(shares, mass)


@pytest.mark.parametrize("name", ["convnet4", "resnet18", "swin_tiny_patch4_window7_224"])
def test_a_network_without_is_refused(name: str) -> None:
    module, _ = backbone(name, 32)
    with pytest.raises(ValueError, match="has no class token that attends to patches; attention is for plain vision"):
        class_attention(module, torch.randn(1, 3, 32, 32))


def test_a_vit_without_class_token_and_a_size_that_patches_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="backbone VisionTransformer has no class token"):
        class_attention(vit(class_token=False, global_pool="avg"), torch.randn(1, 3, 32, 32))
    with pytest.raises(ValueError, match="patches of 8 px do not divide an image of 32 x 35 px; use 32 x 32 px"):
        class_attention(vit(), torch.randn(1, 3, 32, 35))
