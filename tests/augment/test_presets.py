"""What every preset can do: be built, drawn, and found by its method's name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import viewmill as vm
from PIL import Image
from viewmill.augment import Params, Recipe, View
from viewmill.augment.draw import take
from viewmill.augment.ops import Grayscale, Resize
from viewmill.augment.presets import ALIASES, PRESETS, names, recipe
from viewmill.augment.render import render

METHODS = [
    "context", "jigsaw", "jigsaw++", "rotnet", "colorization", "splitbrain", "context_encoder", "damaged_jigsaw", "lci",
    "counting", "deepcluster", "decoupling", "instdisc", "moco", "moco_v2", "moco_v3", "simclr", "simclr_v2", "pirl", "cmc",
    "barlow", "vicreg", "byol", "simsiam", "swav", "deepcluster_v2", "nnclr", "dino", "esvit", "dinov2", "igpt", "beit",
    "beit_tokenizer", "ibot", "mae", "simmim", "cae", "milan", "maskfeat", "data2vec", "ijepa", "eva",
]

SIZE_HW = np.array([[375, 500], [64, 48], [90, 24], [333, 97], [32, 32]])
INDEX = np.array([0, 1, 2**40, 3, 99])


def draw(name: str, rows: list[int], epoch: int = 2) -> Params:
    return vm.draw(vm.recipe(name), 3, epoch, INDEX[rows], SIZE_HW[rows], position=np.array(rows), length=5,
                   partner_size_hw=SIZE_HW[::-1][rows])


@pytest.mark.parametrize("name", names())
def test_every_preset_states_all_that_a_draw_needs(name: str) -> None:
    instances = vm.recipe(name).instances
    groups = vm.recipe(name).groups
    assert sum(shape.count for shape in groups.values()) == len(instances)
    for instance in instances:
        shape = groups[instance.group]
        assert (shape.height, shape.width) == instance.size_hw and shape.channels == instance.channels


@pytest.mark.parametrize("name", names())
def test_every_preset_is_drawn(name: str) -> None:
    params = draw(name, [0, 1, 2, 3, 4])
    views = [v for v in params if v]
    assert views == [i.name for i in vm.recipe(name).instances]
    for instance in vm.recipe(name).instances:
        assert list(params[instance.name]) == [op.name for op in instance.ops]
        for arrays in params[instance.name].values():
            assert all(len(values) == 5 for values in arrays.values())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_names_a_recipe(method: str) -> None:
    assert vm.recipe(method) == PRESETS[ALIASES.get(method, method)].recipe


def test_a_second_name_is_a_preset_and_is_no_preset_itself() -> None:
    assert set(ALIASES.values()) <= set(names()) and not set(ALIASES) & set(names())
    assert vm.recipe("simmim").name == "simmim_vit"


@pytest.mark.parametrize(("wrong", "near"), [("dinov3", "dinov2"), ("jigsaw_plus", "jigsaw"), ("simim", "simmim")])
def test_a_misspelt_name_gets_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean '{near}"):
        recipe(wrong)


def test_shapes_of_some_groups_by_hand() -> None:
    """(count, channels, height, width), as the papers' networks take them."""
    shapes = {name: {g: (s.count, s.channels, s.height, s.width) for g, s in vm.recipe(name).groups.items()} for name in (
        "cmc", "colorization", "context", "counting", "deepcluster", "jigsaw++", "lci", "pirl", "cpc_v2", "eval_simclr")}
    assert shapes == {
        "cmc": {"luma": (1, 1, 224, 224), "chroma": (1, 2, 224, 224)},
        "colorization": {"luma": (1, 1, 180, 180), "target": (1, 2, 23, 23)},
        "context": {"patch": (96, 3, 96, 96)},
        "counting": {"whole": (2, 3, 114, 114), "tile": (4, 3, 114, 114)},
        "deepcluster": {"global": (1, 2, 224, 224), "cluster": (1, 2, 224, 224)},
        "jigsaw++": {"patch": (9, 3, 64, 64)},
        "lci": {"class": (6, 3, 128, 128)},
        "pirl": {"global": (1, 3, 224, 224), "patch": (9, 3, 64, 64)},
        "cpc_v2": {"patch": (36, 3, 80, 80)},
        "eval_simclr": {"global": (1, 3, 224, 224)},
    }


def test_all_tiles_of_a_puzzle_come_from_one_square_in_different_places() -> None:
    """Every op before the tiles is drawn once an image; each tile has a place of its own."""
    for name in ("jigsaw_paper", "jigsaw_vissl", "context_resnet", "pirl", "counting"):
        made = vm.recipe(name)
        group = next(g for g in made.siblings if len(g) > 2)
        params = draw(name, [0, 1, 3])
        at = [op.type for op in group[0].ops].index("tiles")
        for op in group[0].ops[:at]:
            for arrays in zip(*(params[i.name][op.name].values() for i in group), strict=True):
                assert all(np.array_equal(arrays[0], other) for other in arrays[1:]), (name, op.name)
        boxes = {tuple(params[i.name]["tiles"]["box"][0].tolist()) for i in group}
        assert len(boxes) == len(group)


def test_every_window_of_colorization_has_its_own_size_and_is_not_resized() -> None:
    for name, size_px in (("colorization", 180), ("colorization_v2", 176)):
        params = draw(name, [0, 1, 2, 3, 4])
        box = params["luma/0"]["crop"]["box"]
        assert (box[:, 2:] == size_px).all() and np.array_equal(box, params["target/0"]["crop"]["box"])
        assert len({tuple(b) for b in box[:, :2].tolist()}) == 5


@pytest.mark.parametrize("name", ["beit", "data2vec", "eva"])
def test_ops_before_the_crop_see_each_image_at_its_own_size(name: str) -> None:
    """Images of different sizes, together or each alone: the same views to the bit."""
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 61), (52, 33), (37, 37))]
    size_hw = np.array([image.shape[:2] for image in images])
    params = vm.draw(vm.recipe(name), 0, 0, np.arange(3), size_hw)
    views = vm.render(images, vm.recipe(name), params, engine="torch")
    for row, image in enumerate(images):
        alone = render(torch.from_numpy(image)[None], vm.recipe(name), take(params, np.array([row])))
        for group in views:
            assert np.array_equal(views[group][:, row].numpy(), alone[group][:, 0].numpy())


@pytest.mark.parametrize("together", [True, False])
def test_a_resize_takes_the_whole_levels_that_pillow_would_have(together: bool) -> None:
    """Gray before the resize, as Pillow does it on bytes; fractions of a level would leave a tenth of a level on average."""
    image = np.random.default_rng(2).integers(0, 256, (40, 61, 3), dtype=np.uint8)
    gray = Image.fromarray(image).convert("L").resize((64, 64), Image.Resampling.BILINEAR)
    small = Resize(mode="exact", side_px=64, filter="bilinear", antialias=True)
    made = Recipe((View("a", 64, (Grayscale(p=1.0), small)),))
    params = vm.draw(made, 0, 0, np.arange(1), np.array([[40, 61]]))
    views = render(torch.from_numpy(image)[None] if together else [image], made, params)["a"][0, 0] * 255
    apart = np.abs(views.numpy() - np.asarray(gray, np.float32))
    assert apart.max() <= 1.001 and apart.mean() < 0.01


def test_a_recipe_of_ones_own_is_named_by_its_file(tmp_path: Path) -> None:
    own = recipe("dino").with_op("*", "blur", p=0.0)
    (tmp_path / "own.json").write_text(json.dumps(own.to_dict()))
    assert recipe(str(tmp_path / "own.json")) == own
    (tmp_path / "other.json").write_text('{"views": [{"group": "a", "ops": [{"op": "blurr"}]}]}')
    for name, message in (("absent", "cannot be read: No such file"), ("other", "no recipe as Recipe.to_dict.*blurr")):
        with pytest.raises(ValueError, match=message):
            recipe(str(tmp_path / f"{name}.json"))
