"""Features on a plane: t-SNE, UMAP or PCA, as points in their classes' colours, or as the pictures themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ...models.training.config import key
from .chart import literal, pixels_of
from .colours import MUTED, UNKNOWN, of_classes
from .scene import Drawn, Scene, at_least, numbers

NAMES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}
DIMENSIONS = 50
"""To which features are reduced before t-SNE, as van der Maaten's code does; distances are cheaper, and less noisy."""

MOST_JUDGED = 5_000
"""Pictures whose trustworthiness is said: it compares all with all, 8 bytes a pair."""

WIDE_PX, THUMBNAIL_PX = 1440, 36


@dataclass(frozen=True)
class EmbeddingConfig:
    by: Literal["tsne", "umap", "pca"] = key("tsne, umap (with the package umap-learn) or pca", "tsne")
    samples: int = key("so many pictures, a fixed random part of them", 2000)
    show: Literal["points", "pictures"] = key("points, or the pictures themselves, as many as find room", "points")
    perplexity: float = key("tsne: about how many neighbours each picture has", 30.0)
    neighbours: int = key("umap: how many neighbours each picture has", 15)
    min_dist: float = key("umap: how close points may lie", 0.1)

    def __post_init__(self) -> None:
        at_least(self, 2, "samples", "neighbours")
        if not self.perplexity >= 1:
            raise ValueError(f"perplexity needs a number of at least 1, got {self.perplexity}")
        if not 0 <= self.min_dist <= 1:
            raise ValueError(f"min_dist needs a number in [0, 1], got {self.min_dist}")


def draw(scene: Scene, config: EmbeddingConfig) -> Drawn:
    """Raises ValueError, one line, for too few pictures, and where UMAP is not installed."""
    if config.by == "umap":
        _umap()  # now, and not after minutes
    pictures = scene.pictures(limit=config.samples)
    features = scene.features(pictures)
    at = plane(features.x, config, scene.config.seed)
    label, name = features.label.numpy(), NAMES[config.by]
    classes = numbers(len(np.unique(label[label >= 0])), "class", "classes")
    if config.show == "points":
        image = points(at, label, scene.names(pictures, int(label.max()) + 1))
        seen = f"coloured by {classes}" if label.max() >= 0 else "which have no labels"
    else:
        shown = scene.shown(pictures, features.index.tolist())
        image, seen = laid([shown[number] for number in features.index.tolist()], at), "as many of them as find room"
    how = {"tsne": f"t-SNE of perplexity {config.perplexity:g}", "pca": "the first two principal components",
           "umap": f"UMAP with {config.neighbours} neighbours, min_dist {config.min_dist:g}"}[config.by]
    return Drawn(image, f"{name} of the features of {numbers(len(features), 'picture')}",
                 f"{scene.encoder.name}: normalised features of {numbers(len(features), 'picture')} of {pictures.name}, {seen}, "
                 f"by {how}. Trustworthiness {trust(features.x, at):.3f}; 1 where all neighbours on the plane are neighbours "
                 "among the features. Axes have no meaning, and distances between groups little.")


def plane(x: Tensor, config: EmbeddingConfig, seed: int) -> np.ndarray:
    """(N, 2) float32 of features x (N, D), L2-normalised first, so that distances go by the cosine, which kNN and most losses
    compare. Raises ValueError, one line, for fewer than two features, or as few as the perplexity or the neighbours."""
    from sklearn.decomposition import PCA

    if len(x) < 3:
        raise ValueError(f"an embedding needs at least 3 pictures, got {len(x)}")
    rows = F.normalize(x.float(), dim=1).numpy()
    if config.by == "pca":
        found = PCA(2, svd_solver="full").fit_transform(rows) if rows.shape[1] > 1 else np.hstack([rows, 0 * rows])
    elif config.by == "tsne":
        from sklearn.manifold import TSNE

        if config.perplexity >= len(x):
            raise ValueError(f"perplexity={config.perplexity:g} needs to be below the number of pictures, {len(x)}; use for "
                             f"example perplexity={max(len(x) // 4, 1)}")
        if min(rows.shape) > DIMENSIONS:
            rows = PCA(DIMENSIONS, random_state=seed).fit_transform(rows)
        found = TSNE(2, perplexity=config.perplexity, init="pca" if rows.shape[1] > 1 else "random",
                     random_state=seed).fit_transform(rows)
    else:
        if config.neighbours >= len(x):
            raise ValueError(f"neighbours={config.neighbours} needs to be below the number of pictures, {len(x)}; use for "
                             f"example neighbours={max(len(x) // 4, 2)}")
        found = _umap()(n_components=2, n_neighbors=config.neighbours, min_dist=config.min_dist, random_state=seed,
                        n_jobs=1).fit_transform(rows)
    return np.asarray(found, np.float32)


def trust(x: Tensor, at: np.ndarray, neighbours: int = 12) -> float:
    """In [0, 1]: scikit-learn's trustworthiness of places at (N, 2) of features x (N, D), by cosine; of MOST_JUDGED at most."""
    from sklearn.manifold import trustworthiness

    rows = F.normalize(x[:MOST_JUDGED].float(), dim=1).numpy()
    return float(trustworthiness(rows, at[:MOST_JUDGED], n_neighbors=max(min(neighbours, len(rows) // 2 - 1), 1)))


def points(at: np.ndarray, label: np.ndarray, names: Sequence[str]) -> Image.Image:
    """at (N, 2), label (N,) int64, -1 where there is none, drawn first and gray; a legend for up to 20 classes."""
    from matplotlib.figure import Figure

    span = np.maximum(np.ptp(at, axis=0), 1e-9)
    tall = float(np.clip(span[1] / span[0], 0.5, 1.2))
    figure = Figure(figsize=(8.4, 8.4 * tall))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    colours = np.array([*of_classes(len(names)), UNKNOWN])
    order = np.random.default_rng(0).permutation(len(at))  # so that no class lies on top of all others
    order = order[np.argsort(label[order] >= 0, kind="stable")]
    size = float(np.clip(30_000 / len(at), 5, 40))
    axes.scatter(at[order, 0], at[order, 1], s=size, c=colours[label[order]], alpha=0.8, linewidths=0)
    axes.margins(0.02)
    axes.set_aspect("equal", adjustable="datalim")
    axes.axis("off")
    used = np.unique(label[label >= 0])
    if 0 < len(used) <= 20:
        for each in used:
            axes.scatter([], [], s=60, c=colours[each], linewidths=0, label=literal(names[each]))
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=12, labelcolor=MUTED,
                    handletextpad=0.3, labelspacing=0.7)
    return pixels_of(figure)


def laid(pictures: Sequence[np.ndarray], at: np.ndarray) -> Image.Image:
    """Pictures (H, W, 3) uint8 at their places at (N, 2), in a lattice of cells; of several in one cell, the first."""
    span = np.maximum(np.ptp(at, axis=0), 1e-9)
    columns = WIDE_PX // THUMBNAIL_PX
    rows = max(round(columns * float(np.clip(span[1] / span[0], 0.5, 1.2))), 1)
    part = (at - at.min(0)) / span  # in [0, 1], y upwards
    cells = np.stack([(1 - part[:, 1]) * (rows - 1), part[:, 0] * (columns - 1)], 1).round().astype(int)
    canvas = Image.new("RGB", (columns * THUMBNAIL_PX, rows * THUMBNAIL_PX), "white")
    _, first = np.unique(cells, axis=0, return_index=True)
    for number in first:
        row, column = (int(each) for each in cells[number])
        small = Image.fromarray(pictures[number]).resize((THUMBNAIL_PX - 2, THUMBNAIL_PX - 2), Image.Resampling.LANCZOS)
        canvas.paste(small, (column * THUMBNAIL_PX + 1, row * THUMBNAIL_PX + 1))
    return canvas


def _umap() -> Any:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ValueError("by=umap needs the package umap-learn: pip install 'viewmill[umap]'; or use by=tsne") from error
    return UMAP
