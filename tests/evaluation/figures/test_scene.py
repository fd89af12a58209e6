"""What figures are drawn from: pictures and features as evaluations have them, and what is no number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from viewmill.evaluation.figures.chart import literal
from viewmill.evaluation.figures.confusion import matrix
from viewmill.evaluation.figures.embedding import points
from viewmill.evaluation.figures.scene import numbers

from tests.evaluation.figures.scenes import scene
from tests.evaluation.tasks import tiny_encoder
from tests.evaluation.test_command import write_tar


def test_features_of_half_precision_lie_where_evaluations_keep_them(tmp_path: Path) -> None:
    data = write_tar(tmp_path / "a.tar", 6, 0)
    for precision, folder in (("fp32", tmp_path / "o"), ("bf16", tmp_path / "o" / "bf16")):
        of = scene(tmp_path / "o", data=data, test_data=data, precision=precision)
        of.features(of.pictures())
        assert len(list((folder / "features").iterdir())) == 1 and of.task().out == folder
    none = scene(tmp_path / "n", data=data, cache=False)
    none.features(none.pictures())
    assert not (tmp_path / "n").exists()


def test_pictures_are_a_part_no_larger_than_anyone_asked_for(tmp_path: Path) -> None:
    data = write_tar(tmp_path / "a.tar", 9, 0)
    of = scene(tmp_path, data=data, test_data=data, max_images=4)
    assert [len(of.pictures(limit=limit)) for limit in (None, 3, 7)] == [4, 3, 4]
    assert len(of.pictures("test_data")) == 9 and of.pictures("test_data", 2).name == f"test_data={data}"


def test_some_pictures_as_they_look_by_number(tmp_path: Path) -> None:
    data = write_tar(tmp_path / "a.tar", 9, 0)
    of = scene(tmp_path, data=data)
    shown = of.shown(of.pictures(), [7, 2, 7])
    images, plain, keys = of.seen(of.pictures())
    assert sorted(shown) == [2, 7] and images.shape == plain.shape == (9, 3, 16, 16) and keys[2] == "0002"
    for number, pixels in shown.items():
        assert np.array_equal(pixels, plain[number].mul(255).round().byte().permute(1, 2, 0).numpy())
    assert images.min() < -0.5 and plain.min() >= 0  # normalised, and not


def test_features_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    encoder = tiny_encoder()
    with torch.no_grad():
        encoder.module.conv.weight[0, 0, 0, 0] = torch.nan  # type: ignore[union-attr, index]
    of = scene(tmp_path, encoder, data=write_tar(tmp_path / "a.tar", 6, 0))
    with pytest.raises(ValueError, match="features of tiny are not finite: the network diverged; give an earlier checkpoint"):
        of.features(of.pictures())


def test_names_are_drawn_as_they_are_written() -> None:
    assert literal("a$b$") == r"a\$b\$" and literal("_x") == " _x" and literal("cat") == "cat"
    at = np.random.default_rng(0).normal(size=(6, 2))
    wide = [points(at, np.zeros(6, np.int64), [name]).width for name in ("i", "_background_", "$x^", "$x^{$")]
    assert all(width > wide[0] + 20 for width in wide[1:])
    matrix(np.eye(2, dtype=int), ["$x^{$", "_"])


def test_numbers_in_words() -> None:
    assert numbers(1, "picture") == "1 picture" and numbers(2000, "picture") == "2,000 pictures"
    assert numbers(3, "class", "classes") == "3 classes"
