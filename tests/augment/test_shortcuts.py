"""Puzzles cannot be solved from what their papers warn of: a linear model of each low-level cue fails on the rendered tiles.

Each cue is first shown to betray the answer where the defence is left out; otherwise its failure would mean nothing. One
thing no defence removes: brightness that changes slowly goes on across a gap of any width, so levels may betray a little.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import viewmill as vm
from viewmill.augment import Params, Recipe, View
from viewmill.augment.ops import Op, Permute, Tiles
from viewmill.augment.render import render


def held_out(cues: np.ndarray, answer: np.ndarray, train: int) -> float:
    """The share of right answers of least squares with a ridge, on all rows from `train` on. cues (N, F), answer (N,)."""
    x = (cues - cues[:train].mean(0)) / (cues[:train].std(0) + 1e-9)
    x = np.concatenate([x, np.ones((len(x), 1))], 1)
    target = np.eye(answer.max() + 1)[answer[:train]]
    gram = x[:train].T @ x[:train] + 0.1 * train * np.eye(x.shape[1])
    guess = (x[train:] @ np.linalg.solve(gram, x[:train].T @ target)).argmax(1)
    return float((guess == answer[train:]).mean())


def tiles_of(pictures: np.ndarray, ops: tuple[Op, ...]) -> tuple[np.ndarray, Params]:
    """(9, N, 3, H, W) views of pictures (N, H, W, 3), and their parameters."""
    side = next(op.output(None, 3)[0] for op in ops if op.type == "tiles")
    assert side is not None
    recipe = Recipe((View("patch", side, ops, count=9),))
    n = len(pictures)
    params = vm.draw(recipe, 0, 0, np.arange(n), np.full((n, 2), pictures.shape[1]))
    return render(torch.from_numpy(pictures), recipe, params)["patch"].numpy(), params


def published(name: str) -> tuple[Op, ...]:
    """The preset's ops on the tiles; the pictures here already have the size that its first steps make."""
    ops = vm.recipe(name).views[0].ops
    assert ops is not None
    return tuple(op for op in ops if op.type not in ("resize", "center_crop", "shrink"))


def open_puzzle(set_size: int) -> tuple[Op, ...]:
    """Tiles side by side, as they are."""
    return (Tiles(layout="cells", tile_px=64, grid=(3, 3), cell_px=64, offset_px=(0, 0)),
            Permute(slots=9, set_size=set_size, min_hamming=2))


def photographs() -> np.ndarray:
    """(340, 255, 255, 3): windows of photographs, the last 100 from others than the first 240."""
    data = pytest.importorskip("skimage.data")
    rng = np.random.default_rng(0)
    windows = []
    for pictures, count in (((data.astronaut(), data.coffee(), data.rocket()), 240),
                            ((data.chelsea(), data.stereo_motorcycle()[0]), 100)):
        for i in range(count):
            picture = pictures[i % len(pictures)]
            top, left = (rng.integers(0, picture.shape[axis] - 254) for axis in (0, 1))
            windows.append(picture[top:top + 255, left:left + 255, :3][:, ::rng.choice([-1, 1])])
    return np.stack(windows)


def textures(n: int, side: int, aberration: float = 0.0) -> np.ndarray:
    """(n, side, side, 3): clouds of all scales, coloured, brighter at the top as under a sky. aberration: the red plane is
    larger, and the blue one smaller, by that fraction of the distance to the centre."""
    rng = np.random.default_rng(1)
    frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None])
    frequency[0, 0] = np.inf
    clouds = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(n // 8, 4, 256, 256))) * frequency**-1.2, s=(256, 256))
    clouds /= clouds.std((2, 3), keepdims=True)
    sky = np.linspace(1, -1, side)[:, None]
    middle = (side - 1) / 2
    planes = [np.clip(np.rint(middle + (np.arange(side) - middle) / grown), 0, side - 1).astype(int)
              for grown in (1 + aberration, 1, 1 - aberration)]
    pictures = []
    for i in range(n):
        top, left = rng.integers(0, 257 - side, 2)
        gray, *colours = clouds[i % len(clouds), :, top:top + side, left:left + side]
        levels = 128 + 40 * (0.9 * gray + 0.4 * np.stack(colours) + 0.5 * sky)
        pictures.append(np.stack([plane[at][:, at] for plane, at in zip(levels, planes, strict=True)], -1))
    return np.clip(pictures, 0, 255).astype(np.uint8)


def borders(tiles: np.ndarray, alike: str) -> np.ndarray:
    """(N, 144): how well each tile's right and lower border go on in each other's left and upper one. alike "pixels": the
    correlation of the steps from pixel to pixel along the border; "levels": the logarithm of the mean difference."""
    left, right, upper, lower = tiles[..., 0], tiles[..., -1], tiles[..., 0, :], tiles[..., -1, :]
    cues = []
    for ends, starts in ((right, left), (lower, upper)):
        for a in range(9):
            for b in range(9):
                if a != b and alike == "pixels":
                    p, q = np.diff(ends[a]), np.diff(starts[b])
                    cues.append((p * q).sum((1, 2)) / np.sqrt((p * p).sum((1, 2)) * (q * q).sum((1, 2)) + 1e-12))
                elif a != b:
                    cues.append(np.log(np.abs(ends[a] - starts[b]).mean((1, 2)) + 1e-3))
    return np.stack(cues, 1)


def chromatic_shift(tiles: np.ndarray) -> np.ndarray:
    """(9, N, 6): by how many pixels down and right each plane lies off another, by least squares on its slopes."""
    cues = []
    for a, b in ((0, 1), (2, 1), (0, 2)):
        first, second = (tiles[:, :, c] - tiles[:, :, c].mean((2, 3), keepdims=True) for c in (a, b))
        for axis in (2, 3):
            slope = np.gradient(second, axis=axis)
            cues.append((slope * (first - second)).sum((2, 3)) / ((slope * slope).sum((2, 3)) + 1e-9))
    return np.clip(np.stack(cues, -1), -3, 3)


def test_tile_borders_do_not_solve_the_jigsaw() -> None:
    """The published 100 permutations: chance is 0.01."""
    pictures = photographs()

    def accuracy(ops: tuple[Op, ...]) -> list[float]:
        tiles, params = tiles_of(pictures, ops)
        return [held_out(borders(tiles, alike), params["patch/0"]["permute"]["index"], 240) for alike in ("pixels", "levels")]

    pixels, levels = accuracy(open_puzzle(100))
    assert pixels > 0.6 and levels > 0.3
    pixels, levels = accuracy(published("jigsaw"))
    assert pixels < 0.06 and levels < 0.12


def test_tile_means_do_not_solve_the_jigsaw() -> None:
    """Ten permutations, an easier puzzle than any published: chance is 0.1."""
    pictures = textures(480, 63)
    small = Tiles(layout="cells", tile_px=16, grid=(3, 3), cell_px=21, offset_px=(0, 5))
    permute = Permute(slots=9, set_size=10, min_hamming=2)
    normalize = next(op for op in published("jigsaw") if op.type == "normalize")

    def accuracy(*ops: Op) -> float:
        tiles, params = tiles_of(pictures, ops)
        return held_out(tiles.mean((3, 4)).swapaxes(0, 1).reshape(480, -1), params["patch/0"]["permute"]["index"], 320)

    assert accuracy(small, permute) > 0.3
    assert accuracy(small, normalize, permute) < 0.2


def test_chromatic_shift_does_not_tell_the_relative_position() -> None:
    """Eight positions: chance is 0.125. The lattice is Context Prediction's at a third of its size."""
    pictures = textures(200, 160, aberration=0.02)
    lattice = Tiles(layout="lattice", tile_px=32, pitch_px=48, gap_px=16, origin_px=(0, 15), jitter_px=(-2, 2), lattices=1,
                    scope="image")
    ops = tuple(lattice if op.type == "tiles" else op for op in published("context"))

    def accuracy(ops: tuple[Op, ...]) -> float:
        tiles, params = tiles_of(pictures, ops)
        shift = chromatic_shift(tiles)
        pairs = params["patch/0"]["pair"]["pairs"].astype(np.int64)  # 40 of each picture: nine tiles always fit
        sample = np.arange(200)[:, None]
        cues = np.concatenate([shift[pairs[..., 0], sample], shift[pairs[..., 1], sample]], -1)
        return held_out(cues.reshape(8000, -1), pairs[..., 2].ravel(), 40 * 130)

    assert accuracy(tuple(op for op in ops if op.type != "colour_drop")) > 0.4
    assert accuracy(ops) < 0.18
