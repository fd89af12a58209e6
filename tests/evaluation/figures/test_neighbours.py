"""Neighbours: which are nearest, in which order, what stands below them, and which pictures are asked about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from viewmill.evaluation.figures import neighbours
from viewmill.evaluation.figures.neighbours import NeighboursConfig, draw, in_turn, nearest
from viewmill.evaluation.figures.sheet import Tile

from tests.evaluation.figures.scenes import scene
from tests.evaluation.test_command import write_tar


def test_nearest_is_by_cosine_and_falls() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.0, 5.0], [3.0, 3.0], [-1.0, 0.1]])
    cosine, at = nearest(bank, torch.tensor([[2.0, 0.0], [0.0, 1.0]]), 3, chunk=1)
    assert at.tolist() == [[0, 2, 1], [1, 2, 3]]
    assert cosine[0].tolist() == pytest.approx([1, 2**-0.5, 0]) and cosine[1, 2] == pytest.approx(0.1 / 1.01**0.5)
    never = torch.tensor([[True, False, False, False], [False, True, False, False]])
    assert nearest(bank, torch.tensor([[2.0, 0.0], [0.0, 1.0]]), 1, never)[1].tolist() == [[2], [2]]


def test_classes_take_turns() -> None:
    label = np.array([0] * 50 + [1] * 3 + [2] * 7)
    rows = in_turn(label, 8)
    assert label[rows].tolist() == [0, 1, 2, 0, 1, 2, 0, 1] and len(set(rows.tolist())) == 8
    assert in_turn(label, 8).tolist() == rows.tolist() and in_turn(label, 4).tolist() == rows[:4].tolist()
    assert sorted(in_turn(label, 99).tolist()) == list(range(60))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows of tiles of each sheet."""
    kept: list[Any] = []
    monkeypatch.setattr(neighbours, "sheet", lambda rows, **more: kept.append((rows, more)) or Image.new("RGB", (9, 9)))
    return kept


def test_queries_and_their_neighbours_with_classes_and_cosines(tmp_path: Path, drawn: list[Any]) -> None:
    train, test = write_tar(tmp_path / "train.tar", 30, 1), write_tar(tmp_path / "test.tar", 12, 2)
    of = scene(tmp_path, data=train, test_data=test, classes=["red", "green", "blue"])
    found = draw(of, NeighboursConfig(queries=4, k=3))
    (rows, more), bank, asked = drawn[0], of.features(of.pictures("data")), of.features(of.pictures("test_data"))
    assert more["heads"] == ["query", "nearest", "2.", "3."] and len(rows) == 4
    assert [row[0].caption for row in rows] == ["red", "green", "blue", "red"] and all(row[0].frame is None for row in rows)
    x, y = (features.x / features.x.norm(dim=1, keepdim=True) for features in (bank, asked))
    images = of.shown(of.pictures("data"), bank.index.tolist())
    queries = of.shown(of.pictures("test_data"), asked.index.tolist())
    for row in rows:
        query = next(number for number, pixels in queries.items() if (pixels == row[0].pixels).all())
        order = (y[query] @ x.T).argsort(descending=True)[:3]
        for tile, near in zip(row[1:], order.tolist(), strict=True):
            assert (tile.pixels == images[near]).all()
            name = ["red", "green", "blue"][int(bank.label[near])]
            assert tile.caption == f"{name} {float(y[query] @ x[near]):.2f}"
            assert tile.frame == ("#0072b2" if name == row[0].caption else "#d55e00")
    right = [tile.frame == "#0072b2" for row in rows for tile in row[1:]]
    assert f"Blue: of the query's class, {100 * np.mean(right):.0f} % of all here; vermilion: of another." in found.caption
    assert f"beside each picture of test_data={test}, the 3 of 30 pictures of data={train}" in found.caption


def test_of_one_set_a_picture_is_not_its_own_neighbour(tmp_path: Path, drawn: list[Any]) -> None:
    of = scene(tmp_path, data=write_tar(tmp_path / "a.tar", 6, 1, labels=False))
    found = draw(of, NeighboursConfig(queries=6, k=5))
    for row in drawn[0][0]:
        assert all(not (tile.pixels == row[0].pixels).all() and tile.frame is None for tile in row[1:])
        assert row[0].caption == "" and len({tile.caption for tile in row[1:]}) > 1
        assert isinstance(row[1], Tile) and float(row[1].caption) <= 1
    assert found.title == "Nearest neighbours of 6 pictures" and "vermilion" not in found.caption


def test_of_a_part_of_the_pictures_neighbours_are_of_that_part(tmp_path: Path, drawn: list[Any]) -> None:
    of = scene(tmp_path, data=write_tar(tmp_path / "a.tar", 30, 1), max_images=7)
    draw(of, NeighboursConfig(queries=3, k=2))
    part = of.features(of.pictures())
    unit, images = part.x / part.x.norm(dim=1, keepdim=True), of.shown(of.pictures(), part.index.tolist())
    for row in drawn[0][0]:
        query = next(place for place, number in enumerate(part.index.tolist()) if (images[number] == row[0].pixels).all())
        order = [place for place in (unit[query] @ unit.T).argsort(descending=True).tolist() if place != query][:2]
        assert all((tile.pixels == images[int(part.index[near])]).all() for tile, near in zip(row[1:], order, strict=True))


def test_pictures_can_be_asked_about_by_key(tmp_path: Path, drawn: list[Any]) -> None:
    data = write_tar(tmp_path / "a.tar", 9, 1)
    of = scene(tmp_path, data=data)
    draw(of, NeighboursConfig(keys=("0007", "0002"), k=1))
    images = of.shown(of.pictures(), [7, 2])
    assert [(row[0].pixels == images[number]).all() for row, number in zip(drawn[0][0], (7, 2), strict=True)] == [True, True]
    assert [row[0].caption for row in drawn[0][0]] == ["1", "2"]
    with pytest.raises(ValueError, match=r"keys=\[0099\]: "):
        draw(of, NeighboursConfig(keys=("0099",)))
    few = scene(tmp_path, data=data, max_images=2)
    absent = next(f"{number:04d}" for number in range(9) if number not in few.pictures().index)
    with pytest.raises(ValueError, match=rf"keys=\[{absent}\]: it is not in the part of data="):
        draw(few, NeighboursConfig(keys=(absent,)))


def test_more_neighbours_than_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"k=6 needs as many pictures besides, data=.* has 5; use for example k=5"):
        draw(scene(tmp_path, data=write_tar(tmp_path / "a.tar", 6, 1)), NeighboursConfig(queries=1, k=6))
    with pytest.raises(ValueError, match="k needs a whole number of at least 1"):
        NeighboursConfig(k=0)
