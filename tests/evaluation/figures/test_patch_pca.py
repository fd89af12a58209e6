"""Patches by their components: the numbers, the side that is taken for foreground, what is dark and what is coloured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from viewmill.augment.presets import recipe
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.figures.patch_pca import GAIN, PatchPcaConfig, draw, outwards, scores
from viewmill.evaluation.figures.sheet import EDGE_PX, GAP_PX
from viewmill.evaluation.pictures import evaluation_recipe
from viewmill.models.backbone import backbone
from viewmill.models.patch_maps import patch_map

from tests.evaluation.figures.scenes import scene
from tests.evaluation.test_command import write_tar


def vit() -> Encoder:
    torch.manual_seed(0)
    module, dim = backbone("vit_tiny_patch16_224", 32, patch_px=8, embed_dim=24, depth=1, heads=2)
    return Encoder(module, dim, 32, evaluation_recipe(recipe("probe"), 32), "small").eval().requires_grad_(False)


def test_scores_are_scikit_learns_whitened_components_with_a_sign_of_their_own() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 7)) * [9, 5, 3, 1, 1, 1, 1] + 4
    found, share = scores(torch.from_numpy(rows).reshape(3, 4, 5, 7), torch.from_numpy(rows[:40]), 3)
    peer = PCA(3, whiten=True).fit(rows[:40])
    theirs = peer.transform(rows) * np.sign(peer.components_[np.arange(3), np.abs(peer.components_).argmax(1)])
    assert found.shape == (3, 4, 5, 3)
    assert found.reshape(60, 3).numpy() == pytest.approx(theirs, abs=1e-4)
    assert share.numpy() == pytest.approx(peer.explained_variance_ratio_, abs=1e-6)


def test_where_fewer_directions_differ_the_rest_is_0() -> None:
    line = torch.arange(6.0)[:, None] * torch.tensor([1.0, 2.0]) + 1
    found, share = scores(line, line, 3)
    assert found[:, 0].tolist() == pytest.approx((np.arange(6) - 2.5) / np.std(np.arange(6), ddof=1), abs=1e-5)
    assert (found[:, 1:] == 0).all() and share.tolist() == pytest.approx([1, 0, 0])
    level, _ = scores(torch.ones(5, 4), torch.ones(5, 4), 2)
    assert (level == 0).all()


def test_foreground_is_the_side_that_rims_have_less_of() -> None:
    first = torch.zeros(2, 4, 5)
    first[:, 1:3, 1:4] = 1
    assert torch.equal(outwards(first), first) and torch.equal(outwards(-first), first)
    thin = torch.randn(3, 2, 5)
    assert torch.equal(outwards(thin), thin)  # no inside


def cells(image: np.ndarray, rows: int, columns: int, side: int) -> np.ndarray:
    """(rows, columns, side, side, 3) of a sheet, counted from its right and lower ends."""
    pitch = side + GAP_PX
    top, left = (size - EDGE_PX - count * pitch + GAP_PX for size, count in zip(image.shape[:2], (rows, columns), strict=True))
    return np.stack([[image[top + r * pitch :, left + c * pitch :][:side, :side] for c in range(columns)] for r in range(rows)])


def test_three_rows_and_what_is_below_the_threshold_is_dark(tmp_path: Path) -> None:
    data = write_tar(tmp_path / "a.tar", 9, 0)
    encoder = vit()
    found = draw(scene(tmp_path, encoder, True, data=data), PatchPcaConfig(samples=3))
    sheet = cells(np.asarray(found.image), 3, 3, 192)
    patch = sheet.reshape(3, 3, 4, 48, 4, 48, 3)
    assert (patch[1:] == patch[1:, :, :, :1, :, :1]).all()  # one colour a patch
    heat, colours = patch[1, :, :, 0, :, 0].astype(int), patch[2, :, :, 0, :, 0]
    bright = heat.sum(-1) > np.array([188, 55, 84]).sum()  # above the middle of the colours, where the score is 0
    assert ((colours > 0).any(-1) == bright).all() and 0.2 < bright.mean() < 0.8
    of = scene(tmp_path, encoder, True, data=data)
    rows = patch_map(encoder.module, of.seen(of.pictures(limit=3))[0]).double().numpy()[bright]
    peer = PCA(3, whiten=True).fit(rows)  # of the foreground's patches alone
    theirs = peer.transform(rows) * np.sign(peer.components_[np.arange(3), np.abs(peer.components_).argmax(1)])
    assert np.abs(colours[bright].astype(int) - np.round(255 / (1 + np.exp(-GAIN * theirs)))).max() <= 1
    assert found.title == "Patches of 3 pictures by their principal components"
    assert "small: tokens after the last norm, 4 x 4 patches a picture of 32 px. The first" in found.caption
    assert f"{100 * bright.mean():.0f} % of them, is coloured by three components of its own" in found.caption


def test_colours_of_all_patches_are_the_logistic_curve_of_their_scores(tmp_path: Path) -> None:
    data = write_tar(tmp_path / "a.tar", 9, 0)
    of = scene(tmp_path, vit(), True, data=data, image_px=40)
    found = draw(of, PatchPcaConfig(samples=2, foreground=False, centre="place"))
    images, _, keys = of.seen(of.pictures(limit=2))
    assert images.shape == (2, 3, 40, 40)
    patches = patch_map(of.encoder.module, images).double().numpy()
    rows = (patches - patches.mean(0)).reshape(50, -1)
    peer = PCA(3, whiten=True).fit(rows)
    theirs = peer.transform(rows) * np.sign(peer.components_[np.arange(3), np.abs(peer.components_).argmax(1)])
    levels = np.round(255 / (1 + np.exp(-GAIN * theirs))).reshape(2, 5, 5, 3)
    sheet = cells(np.asarray(found.image), 2, 2, 160).reshape(2, 2, 5, 32, 5, 32, 3)
    assert np.abs(sheet[1, :, :, 0, :, 0].astype(int) - levels).max() <= 1
    assert "5 x 5 patches a picture of 40 px, from the mean at each place. Colours are the first three" in found.caption
    assert found.caption.endswith(f"Pictures: {', '.join(keys)}.")


def test_more_pictures_than_fit_begin_further_rows(tmp_path: Path) -> None:
    data = write_tar(tmp_path / "a.tar", 12, 0)
    found = draw(scene(tmp_path, vit(), True, data=data), PatchPcaConfig(samples=10, foreground=False))
    sheet = cells(np.asarray(found.image), 4, 8, 192)
    assert sheet[2, 1].std() > 5 and (sheet[2:, 2:] == 255).all()


def test_what_leaves_nothing_is_refused(tmp_path: Path) -> None:
    data = write_tar(tmp_path / "a.tar", 9, 0)
    with pytest.raises(ValueError, match="threshold=50 leaves 0 patches to colour; use a lower one, more pictures, or"):
        draw(scene(tmp_path, vit(), True, data=data), PatchPcaConfig(threshold=50))
    with pytest.raises(ValueError, match="samples needs a whole number of at least 1"):
        PatchPcaConfig(samples=0)
