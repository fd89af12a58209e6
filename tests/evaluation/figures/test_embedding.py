"""Features on a plane: groups stay groups, in three ways; how they are drawn, and what cannot be."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from viewmill.evaluation.figures.colours import UNKNOWN, of_classes
from viewmill.evaluation.figures.embedding import (
    THUMBNAIL_PX,
    WIDE_PX,
    EmbeddingConfig,
    draw,
    laid,
    plane,
    points,
    trust,
)

from tests.evaluation.figures.scenes import scene
from tests.evaluation.test_command import write_tar


def groups(count: int = 45, dim: int = 8) -> tuple[Tensor, np.ndarray]:
    """Three groups of directions, at lengths that the plane must not see."""
    label = np.arange(count) % 3
    rng = np.random.default_rng(0)
    x = np.eye(dim)[label] + 0.05 * rng.normal(size=(count, dim))
    return torch.from_numpy(x * rng.uniform(1, 50, (count, 1))).float(), label


@pytest.mark.parametrize("by", ["tsne", "pca"])
def test_each_picture_lies_beside_its_own_kind(by: Any) -> None:
    x, label = groups()
    at = plane(x, EmbeddingConfig(by=by, perplexity=8), 0)
    assert at.shape == (45, 2) and at.dtype == np.float32 and np.isfinite(at).all()
    distance = np.linalg.norm(at[:, None] - at, axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (label[distance.argmin(1)] == label).all()
    assert np.array_equal(plane(x, EmbeddingConfig(by=by, perplexity=8), 0), at)


def test_pca_is_that_of_normalised_features() -> None:
    x, _ = groups()
    rows = (x / x.norm(dim=1, keepdim=True)).double().numpy()
    rows = rows - rows.mean(0)
    _, vectors = np.linalg.eigh(rows.T @ rows)
    by_hand = rows @ vectors[:, [-1, -2]]
    at = plane(x, EmbeddingConfig(by="pca"), 0)
    assert np.abs(at) == pytest.approx(np.abs(by_hand), abs=1e-5)
    assert plane(x[:, :1], EmbeddingConfig(by="pca"), 0).shape == (45, 2)


def test_umap_gets_normalised_features_and_the_keys_that_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Stand:
        def __init__(self, **given: Any) -> None:
            seen.update(given)

        def fit_transform(self, rows: np.ndarray) -> np.ndarray:
            assert np.linalg.norm(rows, axis=1) == pytest.approx(1)
            return rows[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Stand))
    plane(groups()[0], EmbeddingConfig(by="umap", neighbours=7, min_dist=0.3), 5)
    assert seen == {"n_components": 2, "n_neighbors": 7, "min_dist": 0.3, "random_state": 5, "n_jobs": 1}


def test_trust_is_1_for_the_features_themselves_and_falls_with_disorder() -> None:
    angle = torch.linspace(0, 3, 60)
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    assert trust(5 * circle, circle.numpy()) == pytest.approx(1)
    assert trust(circle, np.random.default_rng(0).normal(size=(60, 2))) < 0.7


def test_points_have_their_classes_colours_and_names() -> None:
    at = np.random.default_rng(0).normal(size=(60, 2))
    label = np.arange(60) % 4 - 1
    with_legend = np.asarray(points(at, label, ["a", "b", "c"]))
    found = {tuple(pixel) for pixel in with_legend.reshape(-1, 3)}
    colours = [tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in of_classes(3)]
    assert all(colour in found for colour in colours)  # of the legend; points are a little lighter
    left = np.asarray(points(np.stack([label, at[:, 1]], 1), label, ["a", "b", "c"]))[:, : 1260 // 3]  # without the legend
    assert tuple(np.unique(left.reshape(-1, 3), axis=0)[0]) not in colours and (left.std(-1) < 3).all()  # gray lies left, alone
    unknown = np.asarray(points(at, np.full(60, -1), []))
    assert unknown.shape[1] < with_legend.shape[1] and (unknown.std(-1) < 1).all() and UNKNOWN == "#b8b8b8"


def test_pictures_lie_in_a_lattice_one_in_a_cell() -> None:
    colours = [np.full((8, 8, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9))]
    at = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.001, 0.001]])
    sheet = np.asarray(laid(colours, at))
    assert sheet.shape == (WIDE_PX // 2, WIDE_PX, 3)
    middle = THUMBNAIL_PX // 2
    corners = [sheet[y, x].tolist() for y in (middle, -middle) for x in (middle, -middle)]
    assert corners == [[0, 0, 255], [255, 255, 255], [255, 0, 0], [0, 255, 0]]  # up is up; the fourth has no room


@pytest.mark.parametrize("labels", [True, False])
def test_what_the_figure_says_of_itself(tmp_path: Path, labels: bool) -> None:
    given = {"data": write_tar(tmp_path / "a.tar", 21, 0, labels=labels)}
    found = draw(scene(tmp_path, **given), EmbeddingConfig(perplexity=5))
    assert found.title == "t-SNE of the features of 21 pictures"
    seen = "coloured by 3 classes" if labels else "which have no labels"
    assert f"tiny: normalised features of 21 pictures of data={given['data']}, {seen}, by t-SNE of perplexity 5." in found.caption
    assert "Trustworthiness 0." in found.caption or "Trustworthiness 1.000" in found.caption
    mosaic = draw(scene(tmp_path, **given), EmbeddingConfig(by="pca", samples=9, show="pictures"))
    assert mosaic.image.width == WIDE_PX and "9 pictures" in mosaic.title and "as many of them as find room" in mosaic.caption


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ValueError, match=r"by=umap needs the package umap-learn: pip install .*or use by=tsne"):
        draw(scene(tmp_path, data="nowhere.tar"), EmbeddingConfig(by="umap"))  # before any work
    x = groups(10)[0]
    with pytest.raises(ValueError, match=r"perplexity=30 needs to be below the number of pictures, 10; use .* perplexity=2"):
        plane(x, EmbeddingConfig(), 0)
    with pytest.raises(ValueError, match="neighbours=15 needs to be below the number of pictures, 10"):
        plane(x, EmbeddingConfig(by="umap"), 0)
    with pytest.raises(ValueError, match="an embedding needs at least 3 pictures, got 2"):
        plane(x[:2], EmbeddingConfig(by="pca"), 0)
    for wrong, expected in (({"perplexity": 0.5}, "perplexity needs a number of at least 1"), ({"samples": 1}, "samples needs"),
                            ({"min_dist": 2.0}, "min_dist needs"), ({"neighbours": 1}, "neighbours needs")):
        with pytest.raises(ValueError, match=expected):
            EmbeddingConfig(**wrong)
