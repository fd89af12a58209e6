"""What classes are called: as given, else as the data say it, else by number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from viewmill.evaluation.figures.class_names import class_names
from viewmill.pipelines.source import open_source

from tests.evaluation.test_command import write_tar

ARRAYS = open_source((np.zeros((3, 8, 8, 3), np.uint8), np.array([0, 1, 2])))


def test_names_that_are_given_win(tmp_path: Path) -> None:
    (tmp_path / "n.json").write_text('["a", "b", 3]')
    (tmp_path / "n.txt").write_text("a\n\n b \nc\n")
    assert class_names(ARRAYS, 3, ["x", "y", "z"]) == ["x", "y", "z"]
    assert class_names(ARRAYS, 2, ("x", "y", "z")) == ["x", "y"]
    assert class_names(ARRAYS, 3, str(tmp_path / "n.json")) == ["a", "b", "3"]
    assert class_names(ARRAYS, 3, str(tmp_path / "n.txt")) == ["a", "b", "c"]


def test_folders_and_packed_shards_know_their_names_and_other_classes_are_numbers(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name / "1.png")
    assert class_names(open_source(tmp_path / "photos"), 2) == ["cat", "dog"]
    assert class_names(open_source(tmp_path / "photos"), 3) == ["0", "1", "2"]  # not those classes
    shard = open_source(write_tar(tmp_path / "a.tar", 3, 0))
    assert class_names(shard, 3) == class_names(ARRAYS, 3) == ["0", "1", "2"]
    (tmp_path / "classes.json").write_text(json.dumps(["red", "green", "blue"]))
    assert class_names(shard, 3) == ["red", "green", "blue"]
    for damaged in ("{", '{"red": 0}'):
        (tmp_path / "classes.json").write_text(damaged)
        assert class_names(shard, 3) == ["0", "1", "2"]


def test_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "n.json").write_text('{"a": 1}')
    (tmp_path / "d.json").write_text("[")
    for given, expected in ((["x"], r"classes=\['x'\] has 1 names for 3 classes; name them all"),
                            ("nowhere.txt", r"classes=nowhere.txt is no list of names, and no file .*FileNotFound"),
                            (str(tmp_path / "d.json"), "no file of them that can be read .JSONDecodeError"),
                            (str(tmp_path / "n.json"), "holds a dict; it needs a list of names, the first of class 0")):
        with pytest.raises(ValueError, match=expected):
            class_names(ARRAYS, 3, given)
