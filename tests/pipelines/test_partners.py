"""Recipes that take a second image: which one it is, that everybody agrees, and what happens when it is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewmill import Batch, Loader, Recipe, View
from viewmill.augment.ops import Crop, Flip, Occlude, Permute, Resize, Tiles

from .shards import encoded

COUNT, BLOCK = 30, 8
PAIR = Recipe(name="pair", block=BLOCK, views=(
    View("own", 8, (Crop(size_px=8, filter="bilinear"),)),
    View("other", 8, (Crop(size_px=8, filter="bilinear"),), image="partner"),
))
PUZZLE = Recipe(name="puzzle", block=BLOCK, views=(View("tile", 8, (
    Resize(mode="exact", side_px=24),
    Tiles(layout="cells", grid=(3, 3), cell_px=8, tile_px=8, offset_px=(0, 0)),
    Permute(slots=9, free=True, scope="image"),
    Occlude(count=(2, 2), scope="image"),
    Flip(p=0.5),
), count=9),))


def flat(number: int, height: int = 20, width: int = 30) -> np.ndarray:
    """A picture of the one level 8 * number, so that a view tells which picture it shows."""
    return np.full((height + number % 3, width, 3), 8 * number, np.uint8)


def numbers(views: Any) -> np.ndarray:
    """(V, B): which flat picture each view shows; -1 where it shows two."""
    level = views.float() * 255 / 8
    low, high = level.amin((2, 3, 4)), level.amax((2, 3, 4))
    return np.where((high - low).numpy() < 0.5, level.mean((2, 3, 4)).round().numpy(), -1).astype(int)


def batches(source: Any, recipe: Recipe, batch_size: int = 4, **options: Any) -> list[Batch]:
    with Loader(source, recipe, batch_size, **{"sidecar": False, "threads": 2, "last": "short", **options}) as loader:
        return [Batch(**{**vars(batch), "views": {g: v.clone() for g, v in batch.views.items()}}) for batch in loader]


@pytest.fixture
def pictures() -> list[np.ndarray]:
    return [flat(i) for i in range(COUNT)]


def test_the_second_image_is_the_one_that_the_parameters_name(pictures: list[np.ndarray]) -> None:
    made = batches(pictures, PAIR)
    place = {int(p): int(i) for batch in made for p, i in zip(batch.position, batch.index, strict=True)}
    for batch in made:
        partner = batch.params[""]["partner"]
        assert numbers(batch.views["own"])[0].tolist() == batch.index.tolist()
        assert numbers(batch.views["other"])[0].tolist() == partner["index"].tolist()
        assert [place[int(p)] for p in partner["position"]] == partner["index"].tolist()
        assert (partner["position"] // BLOCK == batch.position.numpy() // BLOCK).all()
        assert (partner["position"] != batch.position.numpy()).all()


@pytest.mark.parametrize("options", [{"batch_size": 7}, {"threads": 1}, {"sidecar": True}, {"engine": "torch"}])
def test_batches_threads_processes_and_engines_agree(options: dict[str, Any], pictures: list[np.ndarray]) -> None:
    def of_each(**options: Any) -> dict[int, tuple[int, list[int]]]:
        return {int(i): (int(b.params[""]["partner"]["index"][row]), numbers(b.views["tile"])[:, row].tolist())
                for b in batches(pictures, PUZZLE, **options) for row, i in enumerate(b.index)}

    assert of_each(**options) == of_each()


def test_ranks_agree(pictures: list[np.ndarray]) -> None:
    alone = {int(i): int(p) for b in batches(pictures, PAIR)
             for i, p in zip(b.index, b.params[""]["partner"]["index"], strict=True)}
    both = {int(i): int(p) for rank in (0, 1) for b in batches(pictures, PAIR, rank=rank, world_size=2)
            for i, p in zip(b.index, b.params[""]["partner"]["index"], strict=True)}
    assert both == alone


def test_two_of_nine_tiles_come_from_the_second_image(pictures: list[np.ndarray]) -> None:
    for batch in batches(pictures, PUZZLE):
        shown, partner = numbers(batch.views["tile"]), batch.params[""]["partner"]["index"]
        occluded = np.stack([batch.params[f"tile/{slot}"]["occlude"]["partner"] for slot in range(9)])
        assert (occluded.sum(0) == 2).all()
        assert (shown == np.where(occluded, partner, batch.index.numpy())).all()


def test_a_damaged_second_image_is_replaced_and_the_parameters_say_by_which(tmp_path: Path) -> None:
    """Neither a picture cut short nor one without a header is ever shown, as own picture or as the other's."""
    broken, headless = {3, 4, 11}, {7, 20}
    for number in range(COUNT):
        content = encoded(flat(number, 200, 300), quality=95)
        content = content[: len(content) // 2] if number in broken else b"no picture" if number in headless else content
        (tmp_path / f"{number:03}.jpg").write_bytes(content)
    made = batches(tmp_path, PAIR, max_bad=1.0)
    assert sum(int(b.substitute.sum()) for b in made) == len(broken | headless)
    for batch in made:
        other = batch.params[""]["partner"]["index"]
        assert numbers(batch.views["other"])[0].tolist() == other.tolist()
        assert numbers(batch.views["own"])[0].tolist() == batch.index.tolist()
        assert not (broken | headless) & {*other.tolist(), *batch.index.tolist()}


def test_repeats_are_sets_of_views_of_one_picture(pictures: list[np.ndarray]) -> None:
    """The first set is the one that the recipe makes by itself; the others differ from it and from each other."""
    once = Recipe((View("a", 8, (Crop(size_px=8),)), View("b", 8, (Crop(size_px=8, scope="image"),), count=2)))
    thrice = Recipe(once.views, repeats=3)
    noise = [np.random.default_rng(i).integers(0, 256, (20, 30, 3), np.uint8) for i in range(8)]
    alone, many = (batches(noise, recipe, batch_size=8)[0].views for recipe in (once, thrice))
    assert many["a"].shape[0] == 3 and many["b"].shape[0] == 6
    for group, count in (("a", 1), ("b", 2)):
        assert (many[group][:count] == alone[group]).all()
        assert not (many[group][count:2 * count] == alone[group]).all()
    assert (many["b"][2] == many["b"][3]).all() and not (many["b"][2] == many["b"][4]).all()
