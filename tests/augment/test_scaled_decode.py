"""Scaled decode: how far each image may shrink is told by its boxes, and what a reduced image and its divided boxes mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import viewmill as vm
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from viewmill.augment import Params, Recipe, UnsupportedRecipe, View
from viewmill.augment.ops import CenterCrop, Crop, Flip, Jitter, Op, RandomCrop, Resize, Tiles
from viewmill.augment.render import as_tensors, render
from viewmill.augment.scaled_decode import DENOMINATORS, denominators, in_scaled_pixels, reduced, reduced_levels


def scaled(*views: View, **fields: int) -> Recipe:
    return Recipe(views, name="test", decode="scaled", **fields)  # type: ignore[arg-type]


def crop(size_px: int | tuple[int, int] = 20, *more: Op, group: str = "a", count: int = 1) -> View:
    return View(group, size_px, (Crop(size_px=size_px), *more), count=count)


def boxed(*sides: tuple[int, int]) -> Params:
    """Parameters of as many copies of one view, one sample; their boxes' heights and widths."""
    return {f"a/{copy}": {"crop": {"box": np.array([[3, 5, *side]], np.int32)}} for copy, side in enumerate(sides)}


@pytest.mark.parametrize(("side", "expected"), [
    ((39, 500), 1), ((40, 500), 1), ((79, 500), 1), ((80, 500), 2), ((500, 80), 2), ((159, 160), 2), ((160, 160), 4),
    ((319, 900), 4), ((320, 320), 8), ((5000, 5000), 8),
])
def test_a_view_of_20_px_by_hand(side: tuple[int, int], expected: int) -> None:
    """Halved, 80 px are 40, twice 20."""
    assert denominators(scaled(crop()), boxed(side)).tolist() == [expected]


def test_the_neediest_view_decides() -> None:
    recipe = scaled(crop(count=3))
    assert denominators(recipe, boxed((900, 900), (160, 170), (400, 330))).tolist() == [4]
    wide = scaled(crop((10, 40)))
    assert denominators(wide, boxed((80, 319))).tolist() == [2]  # height allows 4, width 319 / 40 / 2 = 3.99


def test_a_resize_counts_with_its_drawn_size() -> None:
    recipe = scaled(View("a", 32, (Resize(side_px=40), CenterCrop(size_px=32))),
                    View("b", 30, (Resize(mode="exact", side_px=30),)))
    params = vm.draw(recipe, 0, 0, np.arange(5), np.array([[79, 999], [160, 999], [320, 320], [641, 640], [300, 4000]]))
    # Short sides 40: shrunk 1.98, 4, 8, 16 and 7.5 times, of which a factor of 2 stays.
    assert params[""]["decode"]["denominator"].tolist() == [1, 2, 4, 8, 2]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9000), st.integers(1, 9000)), min_size=1, max_size=6), st.integers(1, 300),
       st.integers(1, 300), st.integers(0, 2**31), st.integers(1, 3))
def test_the_largest_that_leaves_a_shrink_of_two(sizes: list[tuple[int, int]], a: int, b: int, seed: int, repeats: int) -> None:
    recipe = scaled(crop(a, group="a", count=2), crop((b, a), group="b"), repeats=repeats)
    n = len(sizes)
    params = vm.draw(recipe, seed, 1, np.arange(n), np.array(sizes))
    found = params[""]["decode"]["denominator"]
    assert found.dtype == np.int64 and found.shape == (n,)
    out = {"a": (a, a), "b": (b, a)}
    for row in range(n):
        boxes = [(params[i.name]["crop"]["box"][row, 2:], out[i.group]) for i in recipe.instances]
        assert len(boxes) == 3 * repeats
        shrink = min(int(side) / int(size) for box, view in boxes for side, size in zip(box, view, strict=True))
        allowed = [d for d in (1, 2, 4, 8) if d == 1 or shrink / d >= 2]
        assert found[row] == max(allowed)


@pytest.mark.parametrize("name", ["dino", "simclr_pil", "mae", "byol"])
def test_nothing_else_is_drawn_differently(name: str) -> None:
    full = vm.recipe(name)
    if name == "byol":
        full = full.with_op("*", "crop", antialias=True)
    size_hw = np.array([[375, 500], [3000, 4000], [1200, 900]])
    ways = [vm.draw(recipe, 3, 2, np.arange(3), size_hw) for recipe in (full, replace(full, decode="scaled"))]
    extra = ways[1].pop("")
    assert list(extra) == ["decode"] and ways[0].keys() == ways[1].keys()
    assert extra["decode"]["denominator"][0] == 1 and extra["decode"]["denominator"][1] >= 2  # 0.2 and 12 megapixels
    for view, ops in ways[0].items():
        for op, arrays in ops.items():
            for key, array in arrays.items():
                assert np.array_equal(array, ways[1][view][op][key])


@pytest.mark.parametrize(("view", "finds"), [
    (View("a", 20, (Jitter(), Crop(size_px=20))), "finds jitter"),
    (View("a", 20, (Crop(size_px=20, antialias=False, cubic_a=-0.5),)), "finds crop without antialias"),
    (View("a", 20, (Flip(), RandomCrop(size_px=20))), "finds random_crop"),
    (View("a", 20, (CenterCrop(size_px=20), Crop(size_px=20))), "finds center_crop"),
    (View("a", 20, (Tiles(layout="cells", tile_px=20, grid=(1, 1), cell_px=20, offset_px=(0, 0)),)), "finds tiles"),
])
def test_what_is_not_cut_by_an_antialiased_resize_first_is_refused(view: View, finds: str) -> None:
    with pytest.raises(UnsupportedRecipe, match=f"view a/0: decode='scaled' needs an antialiased .* {finds}; use decode='full'"):
        vm.draw(scaled(view), 0, 0, np.arange(1), np.array([[900, 900]]))


def test_a_second_image_is_refused() -> None:
    recipe = scaled(crop(), View("b", 20, (Crop(size_px=20),), image="partner"))
    size = np.array([[900, 900]])
    with pytest.raises(UnsupportedRecipe, match="takes a second image, which decode='scaled' does not know; use decode='full'"):
        vm.draw(recipe, 0, 0, np.arange(1), size, position=np.arange(1), length=9, partner_size_hw=size)


def test_boxes_are_divided_exactly_and_only_those_of_first_resizes() -> None:
    recipe = scaled(View("a", 20, (Crop(size_px=40), Crop(size_px=20))))
    params = vm.draw(recipe, 0, 0, np.arange(2), np.array([[2001, 3003], [70, 90]]))
    params["a/0"]["crop"]["box"][:] = [[13, 7, 1999, 801], [1, 2, 60, 80]]
    params[""]["decode"]["denominator"][:] = [8, 1]
    divided = in_scaled_pixels(recipe, params)
    assert divided["a/0"]["crop"]["box"].tolist() == [[1.625, 0.875, 249.875, 100.125], [1, 2, 60, 80]]
    assert divided["a/0"]["crop.2"] is params["a/0"]["crop.2"]
    tensors = in_scaled_pixels(recipe, as_tensors(params))
    assert tensors["a/0"]["crop"]["box"].tolist() == divided["a/0"]["crop"]["box"].tolist()
    params[""]["decode"]["denominator"][:] = 1
    assert in_scaled_pixels(recipe, params) is params


def test_blocks_by_hand_also_where_they_end_at_the_edge() -> None:
    """(3, 5): the last column's blocks are 2 x 1, the last row's 1 x 2, the corner one pixel; halves are rounded up."""
    image = np.array([[0, 1, 10, 20, 7], [2, 3, 30, 41, 8], [5, 6, 9, 9, 200]], np.uint8)
    by_hand = [[2, 25, 8], [6, 9, 200]]  # 6 / 4 = 1.5, 101 / 4 = 25.25, 7.5; 5.5, 9, 200
    assert reduced(np.dstack([image, image, 255 - image]), 2)[..., 0].tolist() == by_hand
    assert reduced_levels(torch.from_numpy(image)[None].float(), 2)[0].tolist() == by_hand


@pytest.mark.parametrize("denominator", DENOMINATORS[1:])
def test_whole_blocks_equal_pillows_reduce(photograph: np.ndarray, denominator: int) -> None:
    """Pillow divides by other counts of pixels in fixed point, one level too low at times."""
    theirs = np.asarray(Image.fromarray(photograph).reduce(denominator))
    ours = reduced(photograph, denominator)
    assert ours.shape == theirs.shape and ours.dtype == np.uint8
    whole = np.s_[:photograph.shape[0] // denominator, :photograph.shape[1] // denominator]
    assert np.array_equal(ours[whole], theirs[whole]) and np.abs(ours.astype(int) - theirs).max() <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(DENOMINATORS), st.integers(0, 2**31))
def test_arrays_and_tensors_are_reduced_alike(height: int, width: int, denominator: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    levels = reduced_levels(torch.from_numpy(image).permute(2, 0, 1).float(), denominator)
    assert np.array_equal(levels.permute(1, 2, 0).numpy(), reduced(image, denominator))


RECIPE = scaled(View("a", 24, (Flip(p=0.5), Crop(size_px=24, scale=(0.5, 1.0)), Flip(p=0.5)), count=2),
                View("b", 20, (Resize(mode="exact", side_px=20, filter="lanczos"),)),
                View("c", 22, (Resize(side_px=22), CenterCrop(size_px=22))))


def photographs_of(photograph: np.ndarray, *sizes: tuple[int, int]) -> list[np.ndarray]:
    return [np.asarray(Image.fromarray(photograph).resize((w, h), Image.Resampling.BICUBIC)) for h, w in sizes]


def test_render_takes_whole_images_or_scaled_ones(photograph: np.ndarray) -> None:
    images = photographs_of(photograph, (333, 421), (61, 83), (190, 207))
    params = vm.draw(RECIPE, 0, 0, np.arange(3), np.array([i.shape[:2] for i in images]))
    by = params[""]["decode"]["denominator"]
    assert by.tolist() == [4, 1, 2]
    whole = render(images, RECIPE, params)
    small = render([reduced(image, d) for image, d in zip(images, by, strict=True)], RECIPE, params, scaled=True)
    for group in whole:
        assert torch.equal(whole[group], small[group])
    full = render(images, replace(RECIPE, decode="full"), params)
    for group in whole:
        assert torch.equal(whole[group][:, 1], full[group][:, 1])
        assert 0 < (whole[group] - full[group]).abs().mean() * 255 < 2  # the photograph has noise of 12 levels


def test_a_view_of_a_ramp_lies_where_it_lay_in_the_whole_image() -> None:
    """Levels of a plane x + 2 y keep their place to a hundredth of a pixel, whatever part of a pixel the box begins in."""
    y, x = np.mgrid[0:203, 0:301]
    image = torch.from_numpy(np.stack([(x + 2 * y) / 710] * 3))  # levels are rounded first: 255 / 710 a pixel
    recipe = scaled(View("a", 16, (Crop(size_px=16, filter="bilinear"),)))
    for box in ([3, 5, 190, 290], [8, 16, 192, 280], [7, 41, 129, 131]):
        params: Params = {"": {"decode": {"denominator": np.array([4])}}, "a/0": {"crop": {"box": np.array([box])}}}
        top, left, height, width = box
        at = np.arange(16) + 0.5
        expected = (left + at * width / 16 - 0.5 + 2 * (top + at * height / 16 - 0.5)[:, None]) / 710 * 255
        inner = np.s_[3:-3, 3:-3]  # where no tap is cut off
        apart = render([image], recipe, params)["a"][0, 0, 0].numpy() * 255 - expected
        assert np.abs(apart[inner]).max() < 1.01 and abs(apart[inner].mean()) < 0.1


def test_gradients_reach_whole_images(photograph: np.ndarray) -> None:
    image = torch.from_numpy(photographs_of(photograph, (333, 421))[0] / 255).permute(2, 0, 1).requires_grad_()
    params = vm.draw(RECIPE, 0, 0, np.arange(1), np.array([[333, 421]]))
    assert params[""]["decode"]["denominator"].tolist() == [4]
    views = render([image], RECIPE, params)
    views["b"].sum().backward()
    assert image.grad is not None and float(image.grad.sum()) == pytest.approx(3 * 20 * 20, rel=0.01)  # but for what is clipped


def test_a_graph_renders_scaled_images_and_refuses_whole_ones(photograph: np.ndarray) -> None:
    recipe = replace(RECIPE, views=RECIPE.views[:2])
    images = photographs_of(photograph, (333, 421), (331, 417))
    images = [images[0], images[0][::-1].copy()]
    params = vm.draw(recipe, 0, 0, np.arange(2), np.array([i.shape[:2] for i in images]))
    params[""]["decode"]["denominator"][:] = 4
    small = torch.from_numpy(np.stack([reduced(image, 4) for image in images])).permute(0, 3, 1, 2).contiguous()

    def run(images: torch.Tensor, params: dict[str, object]) -> dict[str, torch.Tensor]:
        return vm.render(images, recipe, params, engine="torch", scaled=True)

    graph = torch.compile(run, fullgraph=True, backend="eager")(small, as_tensors(params))
    eager = run(list(small), params)  # type: ignore[arg-type]
    for group in eager:
        apart = (graph[group] - eager[group]).abs() * 255
        assert apart.mean() < 0.01 and apart.max() < 1.01
    whole = torch.compile(lambda x, p: vm.render(x, recipe, p, engine="torch"), fullgraph=True, backend="eager")
    with pytest.raises(Exception, match="a traced graph cannot scale images"):
        whole(small, as_tensors(params))
    torch.compiler.reset()
