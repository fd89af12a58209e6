"""Lab halves, dropped and shifted colours, modes, palettes and normalizations by tile: values by hand on small pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from viewmill.augment import Recipe, View
from viewmill.augment.chance import Chance, Seat
from viewmill.augment.draw import draw
from viewmill.augment.ops import ColourDrop, ColourMode, ColourShift, Crop, LabSplit, Normalize, Op, Palette
from viewmill.augment.ops.palette import fit_palette, nearest_colour
from viewmill.augment.render import render

SIZE = (5, 7)


@pytest.fixture
def images() -> torch.Tensor:
    """(3, 3, 5, 7) levels, whole ones."""
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 3, *SIZE))).float()


def drawn(op: Op, n: int = 4000, size_hw: tuple[int, int] = SIZE) -> dict[str, np.ndarray]:
    chance = Chance(7, 0, np.arange(n), np.arange(n), seats=(Seat("global"),)).of(op.name)
    params, after = op.draw(chance, np.broadcast_to(np.array(size_hw), (n, 2)))
    expected, _ = op.output(size_hw, 3)
    assert expected is not None and (after == expected).all()
    return params


def tensor(op: Op, images: torch.Tensor, params: dict[str, np.ndarray]) -> torch.Tensor:
    out = op.apply(images, params)
    assert isinstance(out, torch.Tensor)
    return out


# ---- Lab


def test_lab_channels_are_those_of_scikit_image_in_the_order_asked_for(images: torch.Tensor) -> None:
    lab = np.moveaxis(rgb2lab(images.permute(0, 2, 3, 1).numpy().astype(np.uint8)), -1, 1)
    for keep, planes in ((("L",), [0]), (("a", "b"), [1, 2]), (("b", "L"), [2, 0])):
        op = LabSplit(keep=keep)
        assert np.abs(tensor(op, images, {}).numpy() - lab[:, planes]).max() < 1e-3
        assert op.output((5, 7), 3) == ((5, 7), len(keep))


def test_images_of_different_sizes_are_split_one_by_one(images: torch.Tensor) -> None:
    op = LabSplit(keep=("a", "b"))
    out = op.apply([images[0], images[1, :, :2]], {})
    whole = tensor(op, images, {})
    for one, expected in zip(out, (whole[0], whole[1, :, :2]), strict=True):  # powers of a vector's last pixels round apart
        assert torch.allclose(one, expected, atol=1e-3)


@pytest.mark.parametrize("keep", [(), ("l",), ("a", "a"), ("L", "a", "b", "c")])
def test_channels_that_lab_does_not_have_are_refused(keep: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="some of L, a and b, each once"):
        LabSplit(keep=keep)


def test_a_lab_view_comes_out_in_lab_units_or_normalized_in_them() -> None:
    rgb = np.full((6, 8, 3), (255, 0, 0), np.uint8)
    ops = (Crop(size_px=4), LabSplit(keep=("L",)))
    normalize = Normalize(kind="mean-std", mean=(50.0,), std=(2.0,), space="lab")
    for end, expected in (((), 53.24), ((normalize,), 1.62), ((Normalize(kind="none", space="lab"),), 53.24)):
        recipe = Recipe((View("global", 4, (*ops, *end)),))
        view = render([rgb], recipe, draw(recipe, 0, 0, np.arange(1), np.array([[6, 8]])))["global"][0]
        assert view.shape == (1, 1, 4, 4) and torch.allclose(view, torch.tensor(expected), atol=0.01)


def test_lab_normalization_is_a_gain_and_an_offset_of_the_lab_value(images: torch.Tensor) -> None:
    op = Normalize(kind="mean-std", mean=(6.025, -6.69), std=(92.208, 101.168), space="lab")
    gain, offset = op.affine(2)
    assert np.allclose(gain, [1 / 92.208, 1 / 101.168]) and np.allclose(offset, [-6.025 / 92.208, 6.69 / 101.168])
    assert not op.pixelwise
    ab = images[:, :2] - 100
    assert torch.allclose(tensor(op, ab, {})[:, 1], (ab[:, 1] + 6.69) / 101.168, atol=1e-5)


# ---- colour_drop

CONTEXT = ColourDrop(p=1.0, keep=1, subtract_mean=True, fill="uniform-noise", fill_range=(-0.5, 0.5), value_scale=255)


def test_the_kept_channel_loses_its_mean_and_the_others_become_noise(images: torch.Tensor) -> None:
    kept = np.array([[False, True, False], [True, False, False], [False, False, True]])
    params = {"apply": np.array([True, True, False]), "kept": kept, "seed": np.array([5, 6, 7])}
    out = tensor(CONTEXT, images, params)
    assert torch.allclose(out[0, 1], images[0, 1] - images[0, 1].mean(), atol=1e-4)
    assert torch.allclose(out[1, 0], images[1, 0] - images[1, 0].mean(), atol=1e-4)
    assert torch.equal(out[2], images[2])
    noise = torch.cat([out[0, [0, 2]], out[1, 1:]])
    assert noise.min() >= -0.5 and noise.max() < 0.5 and noise.std() > 0.2 and len(noise.unique()) == noise.numel()


def test_noise_is_counted_from_the_view_not_the_channel_and_follows_its_scale() -> None:
    """Dropping other channels of the same sample changes no element; a unit scale is 255 times as large."""
    images = torch.zeros(1, 3, *SIZE)
    params = {"apply": np.array([True]), "kept": np.array([[True, False, False]]), "seed": np.array([123456789])}
    one = tensor(CONTEXT, images, params)
    other = tensor(CONTEXT, images, {**params, "kept": np.array([[False, True, False]])})
    assert torch.equal(one[0, 2], other[0, 2])
    unit = tensor(CONTEXT.with_fields(value_scale=1.0), images, params)
    assert torch.allclose(unit[0, 1:], 255 * one[0, 1:], rtol=1e-5)
    assert not torch.equal(tensor(CONTEXT, images, {**params, "seed": np.array([123456790])})[0, 2], one[0, 2])


def test_dropped_channels_may_be_nothing(images: torch.Tensor) -> None:
    op = ColourDrop(p=1.0, keep=2, subtract_mean=False, fill="zero")
    assert op.unstated() == ()
    out = tensor(op, images[:1], {"apply": np.array([True]), "kept": np.array([[True, False, True]]), "seed": np.zeros(1, int)})
    assert torch.equal(out[0, [0, 2]], images[0, [0, 2]]) and not out[0, 1].any()


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_each_channel_stays_equally_often(keep: int) -> None:
    params = drawn(CONTEXT.with_fields(keep=keep, p=0.3))
    assert (params["kept"].sum(1) == keep).all()
    assert np.allclose(params["kept"].mean(0), keep / 3, atol=0.032) and abs(params["apply"].mean() - 0.3) < 0.03
    assert len(np.unique(params["seed"])) > 3990 and params["seed"].max() > 2**31 and params["seed"].dtype == np.int64


def test_what_colour_drop_must_be_told() -> None:
    assert ColourDrop().unstated() == ("p", "keep", "subtract_mean", "fill")
    assert CONTEXT.with_fields(value_scale=None).unstated() == ("value_scale",)
    with pytest.raises(ValueError, match="1 to 3 of the three channels, got 4"):
        ColourDrop(keep=4)


def test_captions_say_what_was_left() -> None:
    params = {"apply": np.array([True, False]), "kept": np.array([[False, True, True], [True, False, False]])}
    assert [CONTEXT.caption(params, row) for row in (0, 1)] == ["only green, blue", ""]


# ---- colour_mode

MODES = ColourMode(gray=0.5, projection=0.25, raw=0.25, gray_weights=(1 / 3, 1 / 3, 1 / 3))


def test_gray_projection_and_raw_by_hand() -> None:
    image = torch.tensor([30.0, 90.0, 210.0]).reshape(1, 3, 1, 1).repeat(3, 1, 1, 2)
    out = tensor(MODES, image, {"mode": np.array([0, 1, 2], np.int8)})
    assert torch.allclose(out[0], torch.tensor(110.0))
    # along a = (-1, 2, -1): -30 + 180 - 210 = -60 of 6, so -10 a = (10, -20, 10) is taken away
    assert torch.allclose(out[1, :, 0, 0], torch.tensor([20.0, 110.0, 200.0]), atol=1e-4)
    assert torch.equal(out[2], image[2])


def test_projection_is_held_within_the_levels() -> None:
    blue = torch.tensor([0.0, 0.0, 240.0]).reshape(1, 3, 1, 1)
    assert torch.allclose(tensor(MODES, blue, {"mode": np.array([1])}).flatten(), torch.tensor([0.0, 80.0, 200.0]), atol=1e-4)


def test_modes_come_as_often_as_stated() -> None:
    mode = drawn(MODES)["mode"]
    assert mode.dtype == np.int8 and np.allclose(np.bincount(mode) / 4000, [0.5, 0.25, 0.25], atol=0.033)
    for only in range(3):
        chances = dict(zip(("gray", "projection", "raw"), np.eye(3)[only].tolist(), strict=True))
        assert (drawn(MODES.with_fields(**chances))["mode"] == only).all()


def test_chances_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        ColourMode(gray=0.5, projection=0.25, raw=0.5)


# ---- colour_shift


def test_each_plane_is_cut_at_its_own_place(images: torch.Tensor) -> None:
    op = ColourShift(offset_px=(0, 2))
    offset = np.array([[[0, 0], [1, 2], [2, 0]], [[2, 2], [0, 1], [1, 1]], [[0, 2], [2, 1], [0, 0]]], np.int32)
    out = tensor(op, images, {"offset": offset})
    assert op.output(SIZE, 3) == ((3, 5), 3) and out.shape == (3, 3, 3, 5)
    for n in range(3):
        for c, (down, right) in enumerate(offset[n]):
            assert torch.equal(out[n, c], images[n, c, down:down + 3, right:right + 5])


def test_planes_of_images_of_different_sizes_are_shifted_before_a_crop() -> None:
    """More pixels than small images have; as each image by itself."""
    op = ColourShift(offset_px=(0, 11))
    recipe = Recipe((View("global", 8, (op, Crop(size_px=8))),))
    pictures = [np.random.default_rng(size).integers(0, 256, (size, 31, 3), dtype=np.uint8) for size in (20, 27)]
    params = draw(recipe, 0, 0, np.arange(2), np.array([p.shape[:2] for p in pictures]))
    views = render(pictures, recipe, params)["global"][0]
    for row, picture in enumerate(pictures):
        one = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
        shifted = tensor(op, one, {"offset": params["global/0"]["colour_shift"]["offset"][row:row + 1]})
        cropped = Crop(size_px=8).apply(shifted, {"box": params["global/0"]["crop"]["box"][row:row + 1]})
        assert torch.equal(views[row] * 255, (cropped[0] / 255) * 255)  # type: ignore[index]


def test_offsets_are_whole_uniform_and_independent() -> None:
    offset = drawn(ColourShift(offset_px=(1, 3)))["offset"]
    assert offset.shape == (4000, 3, 2) and offset.dtype == np.int32
    flat = offset.reshape(-1, 6)
    assert all(np.allclose(np.bincount(column, minlength=4)[1:] / 4000, 1 / 3, atol=0.03) for column in flat.T)
    assert np.abs(np.corrcoef(flat.T) - np.eye(6)).max() < 0.066


@pytest.mark.parametrize("offset_px", [(-1, 2), (0, 1.5)])
def test_shifts_of_part_of_a_pixel_or_backwards_are_refused(offset_px: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="whole pixels >= 0"):
        ColourShift(offset_px=offset_px)


def test_a_shift_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves nothing of 5 x 7 px"):
        ColourShift(offset_px=(0, 5)).output(SIZE, 3)


# ---- palette


def test_the_palette_leaves_pixels_alone(images: torch.Tensor) -> None:
    assert Palette(colours=512).apply(images, {}) is images and drawn(Palette(colours=512)) == {}


def test_the_nearest_colour_is_that_of_all_distances(images: torch.Tensor) -> None:
    palette = torch.from_numpy(np.random.default_rng(2).uniform(0, 255, (50, 3))).float()
    got = nearest_colour(images, palette)
    squared = ((images.double().numpy()[:, None] - palette.double().numpy()[:, :, None, None]) ** 2).sum(2)
    assert got.dtype == torch.int64 and np.array_equal(got.numpy(), squared.argmin(1))


def test_a_fitted_palette_finds_the_colours_there_are() -> None:
    """Four clouds far apart: each centre is the mean of its own."""
    rng = np.random.default_rng(4)
    corners = np.array([[0, 0, 0], [200, 0, 0], [0, 200, 100], [200, 200, 255]], float)
    clouds = corners[:, None] + rng.normal(0, 3, (4, 60, 3))
    pixels = torch.from_numpy(clouds.reshape(-1, 3)[rng.permutation(240)]).float()
    for seed in (0, 1):
        palette = fit_palette(pixels, 4, seed)
        assert torch.equal(palette, fit_palette(pixels, 4, seed))
        order = np.argsort(((palette.numpy()[None] - corners[:, None]) ** 2).sum(-1), 1)[:, 0]
        assert np.allclose(palette.numpy()[order], clouds.mean(1), atol=1e-3)


def test_a_palette_larger_than_the_colours_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 3 different colours, the pixels have 2"):
        fit_palette(torch.tensor([[1.0, 2, 3], [4, 5, 6], [1, 2, 3]]), 3, 0)


# ---- normalize by tile


def test_tiles_lose_their_own_mean(images: torch.Tensor) -> None:
    v = images.double().numpy() / 255
    separate = tensor(Normalize(kind="tile-mean", channels="separate"), images, {})
    assert np.allclose(separate, v - v.mean((2, 3), keepdims=True), atol=1e-6)
    joint = tensor(Normalize(kind="tile-mean", channels="joint"), images, {})
    assert np.allclose(joint, v - v.mean((1, 2, 3), keepdims=True), atol=1e-6)


@pytest.mark.parametrize(("channels", "axes"), [("separate", (2, 3)), ("joint", (1, 2, 3))])
def test_tiles_are_standardised_and_scaled(images: torch.Tensor, channels: str, axes: tuple[int, ...]) -> None:
    out = tensor(Normalize(kind="tile-mean-std", channels=channels, gain=50.0), images, {})
    v = images.double().numpy() / 255
    expected = 50 * (v - v.mean(axes, keepdims=True)) / v.std(axes, keepdims=True)  # NumPy's std is the population's
    assert np.allclose(out, expected, atol=1e-3)


def test_tiles_are_divided_by_their_root_mean_square() -> None:
    image = torch.tensor([3.0, 4.0, 0.0, 0.0, 0.0, 0.0]).reshape(1, 3, 1, 2) - 10 * torch.tensor([0, 1.0, 0]).reshape(1, 3, 1, 1)
    rms = np.sqrt((9 + 16 + 100 + 100) / 6)
    assert torch.allclose(tensor(Normalize(kind="tile-rms", gain=50.0), image, {}), 50 * image / rms, atol=1e-4)


@pytest.mark.parametrize("op", [
    Normalize(kind="tile-mean-std", channels="separate", gain=50.0), Normalize(kind="tile-mean-std", channels="joint", gain=50.0),
    Normalize(kind="tile-mean", channels="separate"), Normalize(kind="tile-rms", gain=50.0),
])
def test_a_tile_of_one_colour_stays_finite(op: Normalize) -> None:
    """Float noise on one colour is no contrast: divided by its own spread it would come out as 50 to 200."""
    image = torch.full((1, 3, 31, 33), 77.3 if op.kind != "tile-rms" else 0.0)
    image[..., -3:] += 1e-4
    assert tensor(op, image, {}).abs().max() < 1e-3
    image[:, :, 7, 9] += 3  # and three levels of one pixel are
    assert op.kind == "tile-mean" or tensor(op, image, {}).abs().max() > 50


def test_what_each_kind_must_be_told() -> None:
    assert Normalize(kind="tile-mean").unstated() == ("channels",)
    assert Normalize(kind="tile-mean-std").unstated() == ("channels", "gain")
    assert Normalize(kind="tile-rms").unstated() == ("gain",)


# ---- all of them


@pytest.mark.parametrize(("op", "params"), [
    (LabSplit(keep=("L", "b")), {}),
    (CONTEXT, {"apply": torch.tensor([True, False, True]), "kept": torch.eye(3) > 0, "seed": torch.tensor([1, 2, 2**32 - 1])}),
    (MODES, {"mode": torch.tensor([0, 1, 2], dtype=torch.int8)}),
    (ColourShift(offset_px=(0, 2)), {"offset": torch.tensor([[[0, 1], [2, 2], [1, 0]]] * 3, dtype=torch.int32)}),
    (Normalize(kind="tile-mean", channels="joint"), {}),
    (Normalize(kind="tile-mean-std", channels="separate", gain=2.0), {}),
    (Normalize(kind="tile-rms", gain=50.0), {}),
    (Normalize(kind="mean-std", mean=(50.0, 0.0, 1.0), std=(2.0, 3.0, 4.0), space="lab"), {}),
], ids=lambda v: v.type if isinstance(v, Op) else "")
def test_every_op_traces_whole_and_takes_tensors(op: Op, params: dict[str, torch.Tensor], images: torch.Tensor) -> None:
    traced: Callable[..., torch.Tensor] = torch.compile(op.apply, fullgraph=True, backend="eager")
    assert torch.equal(traced(images, params), op.apply(images, params))  # type: ignore[arg-type]


def test_the_nearest_colour_traces_whole(images: torch.Tensor) -> None:
    palette = torch.from_numpy(np.random.default_rng(2).uniform(0, 255, (50, 3))).float()
    traced = torch.compile(nearest_colour, fullgraph=True, backend="eager")
    assert torch.equal(traced(images, palette), nearest_colour(images, palette))
