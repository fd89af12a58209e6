"""Blur against Pillow, torchvision and weights by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision.transforms.functional import gaussian_blur
from viewmill.augment.ops import Blur
from viewmill.augment.ops.blur import border_index, box_reach, box_weights, gaussian_weights


def blurred(picture: np.ndarray, sigma_px: float, op: Blur) -> np.ndarray:
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    out = op.apply(image, {"apply": np.array([True]), "sigma_px": np.array([sigma_px], np.float32)})
    return out[0].permute(1, 2, 0).numpy()  # type: ignore[index, union-attr]


def test_box_of_sigma_sqrt_2_by_hand() -> None:
    """Variance 2 / 3 a box: whole radius 1 has exactly that, so three equal taps and no ends."""
    weights = box_weights(torch.tensor([2**0.5]), reach=2)[0].numpy()
    assert np.allclose(weights[1:-1] if len(weights) == 5 else weights, [1 / 3] * 3, atol=1e-6)


@pytest.mark.parametrize("sigma_px", [0.1, 0.5, 1.0, 1.7, 2.0, 5.0])
def test_three_boxes_have_the_asked_variance(sigma_px: float) -> None:
    weights = box_weights(torch.tensor([sigma_px]), box_reach(sigma_px))[0].numpy()
    k = np.arange(len(weights)) - len(weights) // 2
    assert np.isclose(weights.sum(), 1) and np.isclose(3 * (weights * k**2).sum(), sigma_px**2, rtol=1e-5)


@pytest.mark.parametrize("sigma_px", [0.1, 0.7, 1.3, 2.0, 4.0])
def test_pillow_blur_is_within_pillows_own_rounding(photograph: np.ndarray, sigma_px: float) -> None:
    theirs = np.asarray(Image.fromarray(photograph).filter(ImageFilter.GaussianBlur(sigma_px)), np.float64)
    d = np.abs(blurred(photograph, sigma_px, Blur()) - theirs)
    assert d.max() < 3.3 and d.mean() < 0.8  # six roundings to 8 bits there, none here


@pytest.mark.parametrize(("taps", "sigma_px"), [(9, 1.3), (23, 2.0), (3, 0.4)])
def test_gaussian_equals_torchvisions_reflecting_one(photograph: np.ndarray, taps: int, sigma_px: float) -> None:
    image = torch.from_numpy(photograph).permute(2, 0, 1).double()
    theirs = gaussian_blur(image, [taps, taps], [sigma_px, sigma_px]).permute(1, 2, 0).numpy()
    ours = blurred(photograph, sigma_px, Blur(kind="gaussian", taps=taps, border="reflect"))
    assert np.abs(ours - theirs).max() < 1e-3


def test_zero_border_darkens_the_edge_by_the_missing_weights() -> None:
    flat = np.full((9, 9, 3), 100, np.uint8)
    flat[4, 4] = 101  # never constant
    out = blurred(flat, 1.0, Blur(kind="gaussian", taps=5, border="zero"))
    w = np.exp(-np.arange(-2, 3) ** 2 / 2)
    kept = w[2:].sum() / w.sum()
    assert np.isclose(out[0, 0, 0], 100 * kept**2, atol=1e-3)


def test_every_sample_has_its_own_sigma_and_coin(photograph: np.ndarray) -> None:
    batch = torch.from_numpy(photograph).permute(2, 0, 1)[None].float().repeat(3, 1, 1, 1)
    out = Blur().apply(batch, {"apply": np.array([True, False, True]), "sigma_px": np.array([2.0, 2.0, 0.5], np.float32)})
    assert torch.equal(out[1], batch[1])  # type: ignore[index]
    for row, sigma in ((0, 2.0), (2, 0.5)):
        alone = blurred(photograph, sigma, Blur())
        assert np.abs(out[row].permute(1, 2, 0).numpy() - alone).max() < 1e-4  # type: ignore[index, union-attr]


def test_gaussian_weights_by_hand() -> None:
    w = gaussian_weights(np.array([0.5]), 3)[0]
    side = np.exp(-2.0)
    assert np.allclose(w, [side / (1 + 2 * side), 1 / (1 + 2 * side), side / (1 + 2 * side)], rtol=1e-14)
    assert np.array_equal(gaussian_weights(np.array([1e-4]), 3)[0].round(6), [0, 1, 0])


@pytest.mark.parametrize(("border", "expected"), [
    ("reflect", [2, 1, 0, 1, 2, 1, 0]), ("replicate", [0, 0, 0, 1, 2, 2, 2]), ("zero", [-1, -1, 0, 1, 2, -1, -1])])
def test_borders_by_hand(border: str, expected: list[int]) -> None:
    assert border_index(3, 2, border).tolist() == expected


def test_reflect_goes_to_and_fro_on_tiny_images() -> None:
    assert border_index(2, 3, "reflect").tolist() == [1, 0, 1, 0, 1, 0, 1, 0]
    assert border_index(1, 2, "reflect").tolist() == [0] * 5
