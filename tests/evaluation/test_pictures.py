"""Pictures of an evaluation: which pixels are shown, which images are taken, in which order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from viewmill.augment import presets
from viewmill.augment.draw import draw
from viewmill.augment.ops import Normalize
from viewmill.augment.recipe import Recipe
from viewmill.evaluation.pictures import Pictures, evaluation_recipe, judged_side, sample
from viewmill.pipelines.engines import render
from viewmill.pipelines.source import NoSuchKey, Source, open_source


def colours(count: int, seed: int, side: tuple[int, int] = (40, 36)) -> tuple[list[np.ndarray], np.ndarray]:
    """Pictures of two classes: dark red and bright red, each with noise."""
    rng = np.random.default_rng(seed)
    label = np.arange(count) % 2
    pictures = [np.clip(np.array([90 + 100 * y, 40, 40]) + rng.normal(0, 20, (*side, 3)), 0, 255).astype(np.uint8) for y in label]
    return pictures, label


def test_small_views_show_the_whole_image_and_end_as_the_recipe_ends() -> None:
    recipe = evaluation_recipe(presets.recipe("simclr_cifar"), 32)
    assert [op.type for op in recipe.instances[0].ops] == ["resize", "normalize"] and recipe.instances[0].size_hw == (32, 32)
    assert recipe.instances[0].ops[0].filter == "bicubic" and recipe.instances[0].ops[1].kind == "none"


def test_large_views_are_the_central_crop_of_the_field() -> None:
    ops = evaluation_recipe(presets.recipe("mae"), 224).instances[0].ops
    assert [op.type for op in ops] == ["resize", "center_crop", "normalize"]
    assert (ops[0].side_px, ops[0].filter, ops[1].size_px, ops[2].kind) == (256, "bicubic", 224, "mean-std")


@pytest.mark.parametrize(("name", "side_px"), [
    ("simclr", 224), ("dino", 224), ("simclr_cifar", 32),  # the first view's
    ("jigsaw", 255), ("jigsaw_paper", 225), ("jigsaw++", 255),  # 3 x 3 cells of 85 or 75 px; of tiles with a margin too
    ("context", 240),  # a tile of 96 px and the next one, 144 px on
    ("counting", 114), ("pirl", 224),  # tiles come second: the whole picture is there
])
def test_a_network_of_tiles_is_judged_by_pictures_at_the_scale_of_the_tiles(name: str, side_px: int) -> None:
    assert judged_side(presets.recipe(name)) == side_px


def test_quadrants_are_judged_by_the_picture_that_they_make_up() -> None:
    views = presets.recipe("counting").views
    assert judged_side(Recipe(views=views[1:2])) == 228


def test_views_of_another_colour_space_are_evaluated_in_it() -> None:
    ops = evaluation_recipe(presets.recipe("cmc_resnet"), 224).instances[0].ops
    assert [op.type for op in ops] == ["resize", "center_crop", "lab_split", "normalize"]
    ops = evaluation_recipe(presets.recipe("deepcluster"), 224).instances[0].ops
    assert [op.type for op in ops] == ["resize", "center_crop", "normalize", "sobel"]


def test_groups_that_share_lab_out_among_them_are_evaluated_as_one_picture() -> None:
    shown = evaluation_recipe(presets.recipe("cmc_cifar"), 32)
    split, norm = shown.instances[0].ops[1:]
    assert (split.keep, norm.mean, norm.std) == (("L", "a", "b"), (50.0, 6.025, -6.69), (50.0, 92.208, 101.168))
    # Each channel as the group that it belongs to has it, of the same picture.
    pictures = [np.random.default_rng(i).integers(0, 256, (32, 32, 3)).astype(np.uint8) for i in range(3)]
    own = presets.recipe("cmc_cifar").with_op("*", "crop", scale=(1.0, 1.0), ratio=(1.0, 1.0)).with_op("*", "flip", p=0.0)
    groups = render(pictures, own, draw(own, 0, 0, np.arange(3), np.full((3, 2), 32)))
    plain = render(pictures, shown, draw(shown, 0, 0, np.arange(3), np.full((3, 2), 32)))["plain"][0]
    assert np.array_equal(plain, np.concatenate([groups["luma"][0], groups["chroma"][0]], 1))
    # Split-Brain's halves too; but what colorization has to tell is another size, and no part of what it sees.
    assert evaluation_recipe(presets.recipe("splitbrain"), 180).instances[0].ops[2].keep == ("L", "a", "b")
    told = presets.recipe("colorization")
    assert evaluation_recipe(told, 180).instances[0].ops[2].keep == ("L",)
    luma, target = told.views
    ab = Normalize(kind="mean-std", mean=(0.0, 0.0), std=(1.0, 1.0), space="lab")
    told = replace(told, views=(luma, replace(target, ops=(*(target.ops or ()), ab))))
    assert evaluation_recipe(told, 180).instances[0].ops[2].keep == ("L",)


def test_the_plain_view_equals_pillow() -> None:
    pictures, label = colours(3, 5, side=(61, 83))
    shown = Pictures(open_source((pictures, label)), 3, "data", 1)
    got = next(shown.pieces(evaluation_recipe(presets.recipe("mae"), 112, raw=True)))
    assert got.label.tolist() == label.tolist() and got.index.tolist() == [0, 1, 2]
    for picture, view in zip(pictures, got.images, strict=True):
        resized = Image.fromarray(picture).resize((int(128 * 83 / 61), 128), Image.Resampling.BICUBIC)
        left = round((resized.width - 112) / 2)
        expected = np.asarray(resized.crop((left, 8, left + 112, 120)), np.float32) / 255
        assert np.abs(view.numpy().transpose(1, 2, 0) - expected).max() < 1e-6


def test_the_part_taken_is_random_fixed_and_whole_where_it_can_be() -> None:
    source = open_source(([np.zeros((2, 2, 3), np.uint8)] * 1000, np.arange(1000)))
    some = sample(source, 200)
    assert len(np.unique(some)) == 200 and np.array_equal(some, sample(source, 200)) and (np.diff(some) > 0).all()
    assert 400 < some.mean() < 600 and set((some % 5).tolist()) == {0, 1, 2, 3, 4}
    assert np.array_equal(sample(source, 5000), np.arange(1000))


def test_images_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    pictures, label = colours(8, 3)
    for number, (picture, y) in enumerate(zip(pictures, label, strict=True)):
        (tmp_path / str(y)).mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / str(y) / f"{number}.png")
    (tmp_path / "0" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    shown = Pictures(open_source(str(tmp_path)), 100, "data", 2)
    (piece,) = shown.pieces(evaluation_recipe(presets.recipe("simclr_cifar"), 32))
    assert piece.images.shape == (7, 3, 32, 32) and piece.index.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert piece.label.tolist() == [0, 0, 0, 1, 1, 1, 1]


def test_pieces_by_number_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viewmill.evaluation.pictures.CHUNK", 3)
    shown = Pictures(open_source(colours(11, 4)), None, "data", 2)
    view = evaluation_recipe(presets.recipe("simclr_cifar"), 8)
    whole = list(shown.pieces(view))
    assert [piece.index.tolist() for piece in whole] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10]] and shown.piece_count == 4
    for number, piece in zip((3, 1), shown.pieces(view, [3, 1]), strict=True):
        assert torch.equal(piece.images, whole[number].images) and torch.equal(piece.index, whole[number].index)


def test_a_subset_is_a_source_of_just_these_pictures() -> None:
    pictures, label = colours(9, 4)
    shown = Pictures(open_source((pictures, np.where(np.arange(9) % 3, label, -1))), None, "data", 1)
    subset = shown.subset()
    assert isinstance(subset, Source) and len(subset) == 6 and subset.shard_sizes.tolist() == [6]
    assert [subset.key(i) for i in range(6)] == ["1", "2", "4", "5", "7", "8"] and subset.find("7") == 4
    assert [subset.label(i) for i in range(6)] == shown.label.tolist() and subset.read(2) is pictures[4]
    assert subset.size_hw(np.array([0, 5])).tolist() == [[40, 36]] * 2 and subset.fingerprint != shown.source.fingerprint
    with pytest.raises(NoSuchKey, match="'3' is not among the 6 samples that are used"):
        subset.find("3")


def test_some_rows_are_pictures_of_their_own() -> None:
    pictures, label = colours(10, 3)
    whole = Pictures(open_source((pictures, label)), None, "data", 1)
    part = whole.part(np.array([7, 2]))
    assert part.index.tolist() == [7, 2] and part.label.tolist() == [1, 0] and len(whole) == 10
    assert [part.subset().key(i) for i in (0, 1)] == ["7", "2"]
    view = evaluation_recipe(presets.recipe("simclr_cifar"), 32)
    torch.testing.assert_close(next(part.pieces(view)).images, next(whole.pieces(view)).images[[7, 2]])
