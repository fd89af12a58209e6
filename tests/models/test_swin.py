"""A Swin transformer on maps that its windows do not divide: filled up, shifted, masked and cut as the paper's code for detection
does it, written out in float64."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import timm
import torch
from viewmill.models.backbone import backbone
from viewmill.models.swin import replaced_map
from viewmill.models.vit import features_of, open_to_sizes

WINDOW, SHIFT, HEADS = 4, 2, 3


def swin(image_px: int = 64) -> timm.models.SwinTransformer:
    """Stages of 16, 8, 4 and 2 patches a side, windows of 4 (2 in the last), and biases of positions that are not near 0."""
    torch.manual_seed(0)
    module, _ = backbone("swin_tiny_patch4_window7_224", image_px, embed_dim=24, window=WINDOW)
    for name, weights in module.named_parameters():
        if name.endswith(("relative_position_bias_table", "qkv.bias")):
            torch.nn.init.normal_(weights)
    return module.eval()


def attention_by_hand(block: torch.nn.Module, x: np.ndarray, shift: int) -> np.ndarray:
    """x (rows, columns, D): W-MSA, or SW-MSA with a shift, of one image. A token is a place of the map filled up with zeros; it
    sees its window's tokens that were not brought there from the opposite edge, or if it was, those that were too."""
    weights = {name: p.detach().double().numpy() for name, p in block.attn.named_parameters()}
    rows, columns, dim = x.shape
    sides = [-(-side // WINDOW) * WINDOW for side in (rows, columns)]
    full = np.zeros((*sides, dim))
    full[:rows, :columns] = x
    qkv = full @ weights["qkv.weight"].T + weights["qkv.bias"]
    q, k, v = np.moveaxis(qkv.reshape(*sides, 3, HEADS, dim // HEADS), 2, 0)
    table = weights["relative_position_bias_table"].reshape(2 * WINDOW - 1, 2 * WINDOW - 1, HEADS)
    out = np.zeros((*sides, HEADS, dim // HEADS))
    place = lambda i, side: ((i - shift) % side, i < shift)  # after the shift, and whether round the edge  # noqa: E731
    for r, c in np.ndindex(*sides):
        (rr, r_round), (cc, c_round) = place(r, sides[0]), place(c, sides[1])
        seen = []
        for r2, c2 in np.ndindex(*sides):
            (rr2, r2_round), (cc2, c2_round) = place(r2, sides[0]), place(c2, sides[1])
            if (rr // WINDOW, cc // WINDOW, r_round, c_round) == (rr2 // WINDOW, cc2 // WINDOW, r2_round, c2_round):
                seen.append((r2, c2, table[rr - rr2 + WINDOW - 1, cc - cc2 + WINDOW - 1]))
        for head in range(HEADS):
            scores = np.array([q[r, c, head] @ k[r2, c2, head] / np.sqrt(dim // HEADS) + bias[head] for r2, c2, bias in seen])
            share = np.exp(scores - scores.max())
            out[r, c, head] = sum(s * v[r2, c2, head] for s, (r2, c2, _) in zip(share / share.sum(), seen, strict=True))
    found = out.reshape(*sides, dim) @ weights["proj.weight"].T + weights["proj.bias"]
    return found[:rows, :columns]


@pytest.mark.parametrize("number", [0, 1])  # without a shift, and with
@pytest.mark.parametrize(("rows", "columns"), [(6, 6), (3, 3), (5, 9), (8, 12)])
def test_a_map_of_any_size_is_filled_up_before_windows_are_shifted(number: int, rows: int, columns: int) -> None:
    module = swin()
    open_to_sizes(module)
    block = module.layers[0].blocks[number]
    assert block.shift_size == (number * SHIFT, number * SHIFT)
    x = torch.randn(1, rows, columns, 24)
    with torch.no_grad():
        found = block._attn(x)[0].numpy()
    np.testing.assert_allclose(found, attention_by_hand(block, x[0].double().numpy(), number * SHIFT), atol=1e-5)


def test_at_its_own_size_all_is_timms_to_the_bit_and_weights_keep_their_names() -> None:
    module = swin()
    opened = copy.deepcopy(module)
    open_to_sizes(opened)
    assert list(opened.state_dict()) == list(module.state_dict())
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(features_of(opened, images), module(images))
    again = copy.deepcopy(opened)  # as a teacher is made
    assert torch.equal(features_of(again, images[:, :, :24, :24]), features_of(opened, images[:, :, :24, :24]))


def test_the_published_network_takes_local_crops_of_96_px() -> None:
    module, dim = backbone("swin_tiny_patch4_window7_224", 224)
    with pytest.raises(ValueError, match=r"SwinTransformer takes no views of 96 x 96 px: .*; use views of its own"):
        features_of(module, torch.randn(1, 3, 96, 96))
    open_to_sizes(module)
    features = features_of(module.eval(), torch.randn(2, 3, 96, 96))
    assert features.shape == (2, dim) and bool(features.isfinite().all())
    with pytest.raises(ValueError, match=r"takes no views of 98 x 98 px: .*divisible by patch size"):
        features_of(module, torch.randn(1, 3, 98, 98))


@pytest.mark.parametrize(("height", "width"), [(24, 24), (16, 40), (4, 4), (80, 80)])
def test_every_weight_learns_from_images_of_other_sizes(height: int, width: int) -> None:
    module = swin().train()
    open_to_sizes(module)
    features_of(module, torch.randn(2, 3, height, width)).square().sum().backward()
    assert [name for name, p in module.named_parameters() if p.grad is None or not bool(p.grad.isfinite().all())] == []


def test_windows_of_other_sizes() -> None:
    module, _ = backbone("swin_tiny_patch4_window7_224", 224, window=14)
    assert [stage.blocks[1].attn.window_size for stage in module.layers] == [(14, 14), (14, 14), (14, 14), (7, 7)]
    with pytest.raises(ValueError, match="backbone 'resnet18' takes no patch_px, embed_dim, depth, heads or window"):
        backbone("resnet18", 32, window=4)
    with pytest.raises(ValueError, match=r"backbone 'vit_tiny_patch16_224' takes no .*window"):
        backbone("vit_tiny_patch16_224", 32, window=4)


def test_the_mask_vector_replaces_patches_once_they_are_embedded() -> None:
    # Independent of torch.where: each patch's own embedding, by a hook, with some rows overwritten in NumPy.
    module, token = swin(), torch.randn(1, 1, 24)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 256, dtype=torch.bool)
    mask[0, [3, 17, 250]] = mask[1, [0]] = True
    with torch.no_grad():
        found = replaced_map(module, images, mask, token)
        embedded = module.patch_embed(images)
        for n, row, column in ((0, 0, 3), (0, 1, 1), (0, 15, 10), (1, 0, 0)):
            embedded[n, row, column] = token[0, 0]
        torch.testing.assert_close(found, module.norm(module.layers(embedded)))
        torch.testing.assert_close(replaced_map(module, images, None, token), module.forward_features(images))
    assert found.shape == (2, 2, 2, 192)
