"""MAE's target and loss, by hand and against NumPy's variance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from viewmill.losses.mae import like_patches, masked_mse, normalize_patches, patchify, unpatchify


def test_patches_run_row_by_row_and_values_run_row_column_channel() -> None:
    # Each value names its place: 100 * channel + 10 * row + column, on a 4 x 6 image with patches of 2.
    channel, row, column = torch.meshgrid(torch.arange(3), torch.arange(4), torch.arange(6), indexing="ij")
    patches = patchify((100 * channel + 10 * row + column)[None].float(), 2)
    assert patches.shape == (1, 6, 12)
    assert patches[0, 0].tolist() == [0, 100, 200, 1, 101, 201, 10, 110, 210, 11, 111, 211]
    assert patches[0, :, 0].tolist() == [0, 2, 4, 20, 22, 24]


def test_unpatchify_undoes_patchify() -> None:
    images = torch.rand(2, 3, 8, 12)
    assert torch.equal(unpatchify(patchify(images, 4), 4, 2, 3), images)


def test_normalisation_is_joint_over_channels_with_the_unbiased_variance() -> None:
    # By hand: 0 .. 11 has mean 5.5 and unbiased variance 143 / 11 = 13, where the biased one is 143 / 12.
    patch = torch.arange(12, dtype=torch.float64).reshape(1, 1, 12)
    expected = (np.arange(12) - 5.5) / np.sqrt(13 + 1e-6)
    np.testing.assert_allclose(normalize_patches(patch)[0, 0].numpy(), expected, rtol=1e-12)


def test_normalisation_equals_numpy_and_a_flat_patch_stays_finite() -> None:
    patches = torch.rand(3, 5, 48, dtype=torch.float64)
    patches[0, 0] = 0.25
    values = patches.numpy()
    expected = (values - values.mean(-1, keepdims=True)) / np.sqrt(values.var(-1, ddof=1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(normalize_patches(patches).numpy(), expected, rtol=1e-9, atol=1e-9)
    assert float(normalize_patches(patches)[0, 0].abs().max()) == 0


def test_the_loss_by_hand_sees_masked_patches_only() -> None:
    # Errors per patch: (1 + 9) / 2 = 5, (4 + 0) / 2 = 2, seen and far off, 0; mean of the three masked ones: 7 / 3.
    target = torch.zeros(2, 2, 2)
    prediction = torch.tensor([[[1.0, 3.0], [2.0, 0.0]], [[99.0, 99.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, True], [False, True]])
    assert float(masked_mse(prediction, target, mask)) == pytest.approx(7 / 3)


def test_the_loss_of_the_mean_is_the_share_of_the_variance() -> None:
    # Painting zeros over normalised patches of n values leaves (n - 1) / n, the unbiased variance's doing.
    target = normalize_patches(torch.rand(4, 9, 48, dtype=torch.float64))
    mask = torch.arange(36).reshape(4, 9) % 3 > 0
    assert float(masked_mse(torch.zeros_like(target), target, mask)) == pytest.approx(47 / 48, rel=1e-4)


def test_gradients_reach_the_masked_patches_only() -> None:
    prediction = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    target, mask = torch.rand(2, 3, 4, dtype=torch.float64), torch.tensor([[True, False, True], [False, False, True]])
    assert torch.autograd.gradcheck(lambda p: masked_mse(p, target, mask), (prediction,))
    masked_mse(prediction, target, mask).backward()
    assert prediction.grad is not None and torch.equal(prediction.grad.abs().sum(-1) > 0, mask)


def test_half_precision_is_summed_in_single_precision() -> None:
    prediction = torch.full((1, 4096, 1), 3.0, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        loss = masked_mse(prediction, torch.zeros_like(prediction), torch.ones(1, 4096, dtype=torch.bool))
    assert loss.dtype == torch.float32 and float(loss) == 9


def test_what_does_not_fit_is_refused() -> None:
    x = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match=r"need to fit, got \(2, 3, 4\), \(2, 3, 4\), \(2, 4\)"):
        masked_mse(x, x, torch.zeros(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"mask needs bool, True = masked, got torch\.float32"):
        masked_mse(x, x, torch.zeros(2, 3))
    with pytest.raises(ValueError, match="patch_px=5 needs to divide the image's height and width, got 8 x 10"):
        patchify(torch.zeros(1, 3, 8, 10), 5)
    with pytest.raises(ValueError, match="a grid of 2 x 2 patches of 4 px does not hold"):
        unpatchify(torch.zeros(1, 5, 48), 4, 2, 2)


def test_patches_come_back_from_their_normalization() -> None:
    patches = torch.rand(3, 5, 48, dtype=torch.float64)
    torch.testing.assert_close(like_patches(normalize_patches(patches), patches), patches)
    # By hand: 0 .. 11 has mean 5.5 and deviation sqrt(13).
    patch = torch.arange(12, dtype=torch.float64).reshape(1, 1, 12)
    assert like_patches(torch.full((1, 1, 12), 2.0), patch)[0, 0].numpy() == pytest.approx(5.5 + 2 * np.sqrt(13 + 1e-6))
