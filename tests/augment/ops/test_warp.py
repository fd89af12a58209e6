"""Warp: the spline against its definition, a solution by hand and scikit-image's; the pixels against moves one can count."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor
from viewmill.augment.chance import Chance, Seat
from viewmill.augment.ops import Warp
from viewmill.augment.ops.sampling import pixel_grid
from viewmill.augment.ops.spline import thin_plate

ROWS = [[3.0, 70, 15, 200, 9, 31], [120, 4, 44, 90, 255, 17], [60, 81, 0, 33, 142, 7], [11, 230, 5, 66, 28, 99]]
PICTURE = torch.tensor(ROWS)[None, None]
POINTS = np.array([[0.5, 1.0], [3.0, 0.0], [1.0, 4.5], [2.5, 5.0], [1.7, 2.2]])  # y before x, inside 4 x 6
SHIFT = np.array([[0.5, -0.25], [-0.75, 0.5], [0.25, 0.25], [0.0, -0.5], [1.0, 0.75]])


def flow(places: np.ndarray, values: np.ndarray, height: int = 4, width: int = 6) -> np.ndarray:
    """(height, width, 2) of one spline."""
    y, x = pixel_grid(torch.empty(1, 1, height, width))
    found = thin_plate(torch.from_numpy(places)[None], torch.from_numpy(values)[None], y, x)
    return torch.stack([f[0] for f in found], -1).numpy()


def warped(images: Tensor, points: np.ndarray, shift: np.ndarray) -> Tensor:
    params = {"points": np.float32(points)[None], "shift": np.float32(shift)[None]}
    return Warp(points=len(points), shift_fraction=(-1, 1)).apply(images, params)  # type: ignore[return-value]


def drawn(op: Warp, size_hw: tuple[int, int], n: int = 400) -> dict[str, np.ndarray]:
    params, after = op.draw(Chance(0, 0, np.arange(n), stream="warp", seats=(Seat("a"),)), np.tile(size_hw, (n, 1)))
    assert after.tolist() == [list(size_hw)] * n
    return params


def test_the_flow_at_the_moved_points_is_their_shift() -> None:
    moved = torch.from_numpy(POINTS + SHIFT)
    for place, shift in zip(moved, SHIFT, strict=True):
        y, x = thin_plate(moved[None], torch.from_numpy(SHIFT)[None], place[0].reshape(1, 1), place[1].reshape(1, 1))
        assert abs(y.item() - shift[0]) < 1e-7 and abs(x.item() - shift[1]) < 1e-7


def test_shifts_that_are_affine_in_the_place_are_affine_everywhere() -> None:
    matrix, offset = np.array([[0.25, -0.125], [0.5, 0.0625]]), np.array([-1.5, 0.75])
    everywhere = np.stack(np.mgrid[0:4, 0:6], -1) @ matrix.T + offset
    np.testing.assert_allclose(flow(POINTS, POINTS @ matrix.T + offset), everywhere, atol=1e-7)


def test_the_spline_solved_from_its_equations() -> None:
    """w and v of sum_j w_j r_ij^2 log r_ij + v (1, y, x)_i = s_i, sum w = sum w y = sum w x = 0, in plain pixels."""
    n = len(POINTS)
    r = np.linalg.norm(POINTS[:, None] - POINTS[None], axis=-1)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = [[d * d * np.log(d) if d else 0.0 for d in row] for row in r]
    system[:n, n], system[:n, n + 1:] = 1, POINTS
    system[n:, :n] = system[:n, n:].T
    solved = np.linalg.solve(system, np.concatenate([SHIFT, np.zeros((3, 2))]))
    expected = np.empty((4, 6, 2))
    for y in range(4):
        for x in range(6):
            to_points = np.hypot(y - POINTS[:, 0], x - POINTS[:, 1])
            bent = np.array([d * d * np.log(d) if d else 0.0 for d in to_points]) @ solved[:n]
            expected[y, x] = bent + np.array([1, y, x]) @ solved[n:]
    assert np.abs(expected - SHIFT.mean(0)).max() > 0.5
    np.testing.assert_allclose(flow(POINTS, SHIFT), expected, atol=1e-7)


def test_the_way_back_is_scikit_images_thin_plate_spline() -> None:
    transform = pytest.importorskip("skimage.transform")
    params = drawn(Warp(points=16, shift_fraction=(-0.0625, 0.0625)), (60, 83), 1)
    points, shift = (params[name][0].astype(np.float64) for name in ("points", "shift"))
    theirs = transform.ThinPlateSplineTransform()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the newer name is not in every release that we allow
        assert theirs.estimate((points + shift)[:, ::-1], points[:, ::-1])  # theirs has x before y
    q = np.stack(np.mgrid[0:60, 0:83], -1).reshape(-1, 2)
    ours = q - flow(points + shift, shift, 60, 83).reshape(-1, 2)
    np.testing.assert_allclose(ours, theirs(q[:, ::-1])[:, ::-1], rtol=0, atol=5e-4)  # theirs is solved in float32


def test_one_shift_for_all_points_moves_the_picture_and_repeats_its_edge() -> None:
    """Down by 1 and left by 2."""
    out = warped(PICTURE, POINTS, np.tile([1.0, -2.0], (5, 1)))
    assert out[0, 0].tolist() == [
        [15, 200, 9, 31, 31, 31], [15, 200, 9, 31, 31, 31], [44, 90, 255, 17, 17, 17], [0, 33, 142, 7, 7, 7]]


def test_half_a_pixel_is_the_mean_of_two_rounded_half_up() -> None:
    out = warped(PICTURE, POINTS, np.tile([0.0, -0.5], (5, 1)))
    assert out[0, 0, 0].tolist() == [37, 43, 108, 105, 20, 31]  # 36.5, 42.5, 107.5, 104.5, 20, the edge
    out = warped(PICTURE, POINTS, np.tile([-0.25, -0.5], (5, 1)))
    assert out[0, 0, 1, 2] == round(0.75 * (44 + 90) / 2 + 0.25 * (0 + 33) / 2)


def test_what_lies_at_a_point_goes_where_the_point_is_moved() -> None:
    """Five points on pixels, moved by whole pixels, each its own way."""
    points = np.array([[0, 0], [3, 0], [0, 5], [3, 5], [1, 2]])
    shift = np.array([[1, 0], [0, 1], [0, -1], [-1, 0], [1, 1]])
    out = warped(PICTURE, points, shift)
    for (y, x), (dy, dx) in zip(points, shift, strict=True):
        assert out[0, 0, y + dy, x + dx] == PICTURE[0, 0, y, x]


def test_no_shift_changes_nothing() -> None:
    assert torch.equal(warped(PICTURE, POINTS, np.zeros((5, 2))), PICTURE)


def test_equal_points_share_the_mean_of_their_shifts() -> None:
    places = np.concatenate([POINTS, POINTS[:1]])
    mean = np.concatenate([SHIFT, SHIFT[:1]])
    apart = mean.copy()
    apart[0], apart[5] = SHIFT[0] + 0.5, SHIFT[0] - 0.5
    np.testing.assert_allclose(flow(places, mean), flow(POINTS, SHIFT), atol=1e-6)
    np.testing.assert_allclose(flow(places, apart), flow(POINTS, SHIFT), atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_points_on_a_line_bend_nothing_across_it(count: int) -> None:
    places = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]])[:count]
    values = np.array([[0.5, 0.25], [1.0, -0.25], [0.0, 0.5]])[:count]
    found = flow(places, values)
    for (y, x), value in zip(places.astype(int), values, strict=True):
        np.testing.assert_allclose(found[y, x], value, atol=1e-6)
    if count < 3:
        np.testing.assert_allclose(found[0, 3], found[1, 2], atol=1e-6)  # across the line, through its second point
        np.testing.assert_allclose(found[3, 0], found[1, 2], atol=1e-6)


def test_each_image_has_its_own_points_whether_in_a_batch_a_list_or_alone(photograph: np.ndarray) -> None:
    image = torch.from_numpy(photograph).permute(2, 0, 1).float()
    op = Warp(points=16, shift_fraction=(-0.0625, 0.0625))
    params = drawn(op, (61, 83), 3)
    batch = op.apply(torch.stack([image, 255 - image, image]), params)
    listed = op.apply([image, 255 - image, image], params)
    for i, each in enumerate(listed):
        assert torch.equal(batch[i], each)
    tensors = {name: torch.as_tensor(values) for name, values in params.items()}
    assert torch.equal(op.apply(torch.stack([image, 255 - image, image]), tensors), batch)  # type: ignore[arg-type]
    assert not torch.equal(batch[0], batch[2]) and not torch.equal(batch[0], image)


def test_points_are_uniform_over_the_image_and_shifts_over_a_fraction_of_its_height() -> None:
    params = drawn(Warp(points=16, shift_fraction=(-0.125, 0.25)), (41, 91))
    points, shift = params["points"], params["shift"]
    assert points.shape == shift.shape == (400, 16, 2) and points.dtype == shift.dtype == np.float32
    for axis, last in ((0, 40), (1, 90)):
        assert 0 <= points[..., axis].min() < 0.01 * last and 0.99 * last < points[..., axis].max() <= last
        assert abs(points[..., axis].mean() / last - 0.5) < 0.02 and abs(points[..., axis].std() / last - 12**-0.5) < 0.01
        low, high = -0.125 * 41, 0.25 * 41
        assert low <= shift[..., axis].min() < low + 0.05 and high - 0.05 < shift[..., axis].max() <= high
        assert abs(shift[..., axis].mean() - (low + high) / 2) < 4 * (high - low) / (12 * 6400) ** 0.5
    flat = np.concatenate([points, shift], -1).reshape(-1, 4)
    assert np.abs(np.corrcoef(flat.T) - np.eye(4)).max() < 0.05


def test_its_caption_and_its_size() -> None:
    op = Warp(points=2, shift_fraction=(-1, 1))
    shift = np.array([[[1.0, -2.25], [0.5, 0.0]]], np.float32)
    assert op.caption({"points": np.zeros((1, 2, 2)), "shift": shift}, 0) == "warp 2 points, up to 2.2 px"
    assert op.output((4, 6), 3) == ((4, 6), 3) and op.output(None, 1) == (None, 1)
    assert Warp().unstated() == ("points", "shift_fraction")
