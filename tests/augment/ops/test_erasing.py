"""Cutout, erase and noise: boxes and pixels by hand, their laws by enumeration and beside torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomErasing
from viewmill.augment import pixel_noise
from viewmill.augment.chance import Chance
from viewmill.augment.ops import Cutout, Erase, Noise, Op

IMAGE = (torch.arange(72.0) * 3.5).reshape(1, 3, 4, 6)  # all 72 values differ, 0 to 248.5
OPS = [Cutout(size_px=3), Erase(), Erase(value="noise"), Noise()]


def drawn(op: Op, n: int = 4000, size_hw: tuple[int, int] = (4, 6), seed: int = 0) -> dict[str, np.ndarray]:
    return op.draw(Chance(seed, 0, np.arange(n), stream=op.name), np.full((n, 2), size_hw))[0]


def furthest(a: np.ndarray, b: np.ndarray) -> float:
    """The largest distance of two samples' distribution functions, in units of its spread for equal laws."""
    at = np.sort(np.concatenate([a, b]))
    apart = [np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (a, b)]
    return float(np.abs(apart[0] - apart[1]).max() / (1 / len(a) + 1 / len(b)) ** 0.5)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.type)
def test_chance_zero_never_acts_and_one_always(op: Op) -> None:
    for p, frequency in ((0.0, 0.0), (1.0, 1.0), (0.3, 0.3)):
        apply = drawn(op.with_fields(p=p), size_hw=(40, 60))["apply"]
        assert abs(apply.mean() - frequency) <= 4 * (p * (1 - p) / len(apply)) ** 0.5
    params = drawn(op.with_fields(p=0.0), n=1)
    assert torch.equal(op.apply(IMAGE, params), IMAGE)  # type: ignore[arg-type]
    assert op.caption(params, 0) == ""


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.type)
def test_only_the_chosen_of_a_batch_change(op: Op) -> None:
    params = drawn(op.with_fields(p=1.0), n=3)
    params["apply"] = np.array([True, False, True])
    out = op.apply(IMAGE.repeat(3, 1, 1, 1), params)
    assert [bool((x != IMAGE[0]).any()) for x in out] == [True, False, True]
    assert op.caption(params, 1) == "" and op.caption(params, 0).startswith(op.type)


def test_a_box_is_filled_channel_by_channel() -> None:
    box = np.array([[1, 2, 3, 2]], np.int32)  # rows 1 to 3, columns 2 and 3
    expected = IMAGE.clone()
    for channel, level in enumerate((9.0, 8.0, 7.0)):
        for y, x in ((1, 2), (1, 3), (2, 2), (2, 3), (3, 2), (3, 3)):
            expected[0, channel, y, x] = level
    for op in (Cutout(size_px=3, fill=(9, 8, 7)), Erase(fill=(9, 8, 7))):
        params = {"apply": np.array([True]), "box": box}
        assert torch.equal(op.apply(IMAGE, params), expected)  # type: ignore[arg-type]
        assert op.caption(params, 0) == f"{op.type} 2x3 at 2,1"


@pytest.mark.parametrize("size_px", [2, 3, (2, 5), (4, 1), 20])
def test_cutout_s_centre_is_any_pixel_with_the_same_chance(size_px: int | tuple[int, int]) -> None:
    """Of an even side the larger half lies before the centre, as in the source; what is outside is cut off."""
    height, width = size_px if isinstance(size_px, tuple) else (size_px, size_px)
    expected: dict[tuple[int, ...], int] = {}
    for y in range(4):
        for x in range(6):
            rows = [r for r in range(y - height // 2, y - height // 2 + height) if 0 <= r < 4]
            columns = [c for c in range(x - width // 2, x - width // 2 + width) if 0 <= c < 6]
            box = (rows[0], columns[0], len(rows), len(columns))
            expected[box] = expected.get(box, 0) + 1
    n = 24_000
    boxes, counts = np.unique(drawn(Cutout(size_px=size_px), n)["box"], axis=0, return_counts=True)
    assert set(map(tuple, boxes.tolist())) == set(expected)
    for box, count in zip(boxes.tolist(), counts.tolist(), strict=True):
        p = expected[tuple(box)] / 24
        assert abs(count - n * p) <= 4.5 * (n * p * (1 - p)) ** 0.5


def test_erase_draws_torchvision_s_boxes() -> None:
    """Area, ratio, place and how often no attempt fits; here three boxes in four are too wide or too tall."""
    n, (height, width) = 4000, (40, 64)
    for scale, ratio in (((0.02, 0.33), (0.3, 3.3)), ((0.6, 1.0), (0.05, 2.0))):
        torch.manual_seed(0)
        image = torch.empty(1, height, width)
        theirs = np.array([RandomErasing.get_params(image, scale, ratio)[:4] for _ in range(n)])
        fits = (theirs[:, 2:] != (height, width)).any(1)
        ours = drawn(Erase(p=1.0, scale=scale, ratio=ratio), n, (height, width))
        found = ours["apply"]
        assert abs(found.mean() - fits.mean()) < 4 * (0.5 / n) ** 0.5 and (0.5 < found.mean() < 0.95) == (scale[0] > 0.5)
        assert (ours["box"][~found] == 0).all()
        a, b = theirs[fits].astype(float), ours["box"][found].astype(float)
        assert (b[:, :2] >= 0).all() and (b[:, :2] + b[:, 2:] <= (height, width)).all() and (b[:, 2:] < (height, width)).all()
        for what in (lambda box: box[:, 2] * box[:, 3], lambda box: box[:, 2] / box[:, 3],
                     lambda box: box[:, 0], lambda box: box[:, 1]):
            assert furthest(what(a), what(b)) < 1.95  # the chance that equal laws exceed it is one in a thousand


def test_a_box_that_no_attempt_fits_leaves_the_image() -> None:
    params = drawn(Erase(p=1.0, scale=(1.0, 1.0), ratio=(1.0, 1.0)), n=5)  # a 5 x 5 box does not fit a height of 4
    assert not params["apply"].any()
    assert torch.equal(Erase().apply(IMAGE.repeat(5, 1, 1, 1), params), IMAGE.repeat(5, 1, 1, 1))  # type: ignore[arg-type]


def test_erase_with_noise_takes_the_pixel_s_own_number_of_the_stream() -> None:
    params = {"apply": np.array([True, True]), "box": np.array([[0, 1, 2, 4], [3, 0, 1, 1]]), "seed": np.array([5, 2**32 - 1])}
    out = Erase(value="noise").apply(IMAGE.repeat(2, 1, 1, 1), params)
    normal = pixel_noise.normal(torch.tensor([5, 2**32 - 1]), 72)
    for n, (top, left, height, width) in enumerate(params["box"].tolist()):
        for c, y, x in np.ndindex(3, 4, 6):
            inside = top <= y < top + height and left <= x < left + width
            level = min(max(127.5 + 64 * normal[n, c * 24 + y * 6 + x].item(), 0), 255)
            assert out[n][c, y, x] == pytest.approx(level if inside else IMAGE[0, c, y, x].item(), abs=1e-4)


def test_noise_is_a_standard_deviation_times_the_stream_and_clipped() -> None:
    params = {"apply": np.array([True]), "std": np.array([0.1], np.float32), "seed": np.array([77])}
    out = Noise().apply(IMAGE, params)
    normal = pixel_noise.normal(torch.tensor([77]), 72)[0].tolist()
    expected = [min(max(v + 25.5 * z, 0), 255) for v, z in zip(IMAGE.flatten().tolist(), normal, strict=True)]
    assert np.allclose(out[0].flatten().tolist(), expected, atol=1e-4)
    assert 0.0 in expected and Noise().caption(params, 0) == "noise 0.100"


def test_noise_has_a_uniform_spread_and_a_seed_for_each_image() -> None:
    params = drawn(Noise(p=1.0, std=(0.02, 0.1)))
    u = (params["std"] - 0.02) / 0.08
    assert u.min() >= 0 and u.max() <= 1 and furthest(u, np.linspace(0, 1, 4001)) < 1.95
    assert len(set(params["seed"].tolist())) == 4000 and params["seed"].dtype == np.int64
    assert abs(np.corrcoef(u, params["seed"])[0, 1]) < 4 / 4000**0.5


def test_a_shared_scope_shares_what_is_drawn() -> None:
    chance = Chance(0, 0, np.arange(8), np.arange(8), block=4, stream="noise")
    params = Noise(scope="batch").draw(chance, np.full((8, 2), 9))[0]
    for values in params.values():
        assert (values[:4] == values[0]).all() and (values[4:] == values[4]).all()
    assert params["seed"][0] != params["seed"][4]
