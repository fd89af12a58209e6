"""LCI's networks of patches: the authors' layers, patches cut out and put back, and pairs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from viewmill.models.patch_inpainter import PatchInpainter, cut, pair_judge, pairs, paste

BOX = torch.tensor([[0, 1, 2, 3], [2, 0, 2, 3]])


def pictures() -> torch.Tensor:
    return torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).view(2, 3, 4, 5)


def test_patches_by_hand() -> None:
    images = pictures()
    patches = cut(images, BOX)
    assert patches.shape == (2, 3, 2, 3)
    assert torch.equal(patches[0], images[0, :, 0:2, 1:4]) and torch.equal(patches[1], images[1, :, 2:4, 0:3])
    pasted = paste(images, -patches, BOX)
    expected = images.clone()
    expected[0, :, 0:2, 1:4] *= -1
    expected[1, :, 2:4, 0:3] *= -1
    assert torch.equal(pasted, expected) and torch.equal(images, pictures())
    assert torch.equal(paste(images, patches, BOX), images)


def test_gradients_reach_the_patch_inside_and_the_image_outside() -> None:
    images, patches = pictures().requires_grad_(), torch.zeros(2, 3, 2, 3, requires_grad=True)
    weight = torch.randn(2, 3, 4, 5)
    (paste(images, patches, BOX) * weight).sum().backward()
    torch.testing.assert_close(patches.grad, cut(weight, BOX))
    torch.testing.assert_close(images.grad, paste(weight, torch.zeros(2, 3, 2, 3), BOX))


def test_pairs_are_neighbours_on_each_others_channels() -> None:
    patches = torch.arange(5 * 2.0).view(5, 2, 1, 1)
    assert pairs(patches).flatten(1).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def layers(network: nn.Module) -> list[tuple[int, int, int]]:
    return [(layer.out_channels, layer.kernel_size[0], layer.stride[0]) for layer in network.modules()
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]


def test_the_published_inpainter() -> None:
    """lci_nets.patch_inpainter of run_stl10.py: 48 channels, 4 layers, patches of 48 px."""
    inpainter = PatchInpainter(3, 48, 4)
    assert layers(inpainter) == [(48, 3, 1), (96, 4, 2), (192, 4, 2), (384, 4, 2), (192, 4, 2), (96, 4, 2), (48, 4, 2), (3, 3, 1)]
    norms = [layer for layer in inpainter.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [96, 192, 384, 192, 96, 48]
    assert all(norm.eps == 1e-3 for norm in norms)
    assert [layer.bias is not None for layer in inpainter.layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)] == [
        True, *[False] * 6, True]
    made = inpainter(torch.randn(2, 3, 48, 48))
    assert made.shape == (2, 3, 48, 48) and float(made.detach().abs().max()) < 1
    assert max(width for width, _, _ in layers(PatchInpainter(3, 48, 5))) == 512
    with pytest.raises(ValueError, match="halves its patches down to one in 8 px, and they have 44 x 44 px"):
        inpainter(torch.zeros(2, 3, 44, 44))


def test_the_published_judge_of_pairs() -> None:
    """lci_nets.patch_discriminator with a layer less than the inpainter."""
    judge = pair_judge(3, 64, 3)
    assert layers(judge) == [(64, 3, 1), (64, 4, 2), (128, 3, 1), (128, 4, 2), (256, 3, 1)]
    assert judge(torch.randn(2, 6, 48, 48)).shape == (2, 1)


def test_every_layer_of_the_judge_stretches_nothing_by_more_than_1() -> None:
    judge = pair_judge(3, 8, 3)
    for _ in range(100):
        judge(torch.randn(2, 6, 16, 16))
    judge.eval()
    for layer in judge:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.02)
