"""Pictures that show several classes: how VOC's lists and JSON beside pictures are read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from viewmill.evaluation.multilabel import MultiLabelSource, open_labelled, targets
from viewmill.evaluation.pictures import Pictures
from viewmill.evaluation.voc import CLASSES
from viewmill.pipelines.shard_writer import write_shard
from viewmill.pipelines.source import FolderSource, TarSource, open_source

from .voc_folders import write_voc


def png(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6)).save(path, "png")
    return path.read_bytes()


def shard(folder: Path, *about: Any) -> str:
    """A shard with a picture for each of `about`: its JSON, or None."""
    picture = png(folder / "picture.png")
    write_shard(folder / "a.tar", [(f"{i:03d}", {"png": picture, **({} if each is None else {"json": json.dumps(each).encode()})})
                                   for i, each in enumerate(about)])
    return str(folder / "a.tar")


def table(source: Any) -> list[list[int]]:
    assert isinstance(source, MultiLabelSource)
    return source.target.tolist()


def test_a_list_of_classes_in_a_shard_s_json(tmp_path: Path) -> None:
    source = open_labelled(shard(tmp_path, {"label": [2, 0], "difficult": [1, 2]}, {"label": []}, {"label": [1]}, {"label": 3},
                                 None))
    # A class that is shown and difficult too is shown; a single number is a class; without either nothing is known.
    assert table(source) == [[1, -1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [-1, -1, -1, -1]]
    assert [source.label(i) for i in range(5)] == [0, -1, 1, 3, -1] and source.key(1) == "001"


def test_pictures_of_one_label_each_stay_what_they_are(tmp_path: Path) -> None:
    assert isinstance(open_labelled(shard(tmp_path, {"label": 1}, {"label": 0, "caption": "x"}, [1, 2])), TarSource)
    for name in ("cat/1.png", "dog/1.png"):
        png(tmp_path / "folder" / name)
    (tmp_path / "folder" / "cat" / "1.json").write_text("no JSON")
    assert isinstance(open_labelled(str(tmp_path / "folder")), FolderSource)


def test_json_beside_a_file_counts_before_its_folder(tmp_path: Path) -> None:
    for name, label in (("x/1.png", [1, 2]), ("x/2.png", None), ("y/3.png", [0])):
        png(tmp_path / name)
        if label is not None:
            (tmp_path / name).with_suffix(".json").write_text(json.dumps({"label": label}))
    assert table(open_labelled(str(tmp_path))) == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]


def test_a_list_of_voc_s_is_its_pictures_in_its_order(tmp_path: Path) -> None:
    write_voc(tmp_path, {"trainval": {"b": [("cat", False), ("dog", True)], "a": [("dog", False), ("dog", True)], "c": []},
                         "test": {"z": [("bird", False)]}})
    source = open_labelled(str(tmp_path / "ImageSets" / "Main" / "trainval.txt"))
    assert isinstance(source, MultiLabelSource) and source.names == CLASSES
    assert [source.key(i) for i in range(len(source))] == ["b.jpg", "a.jpg", "c.jpg"]
    shown = [{CLASSES[c]: int(v) for c, v in enumerate(row) if v} for row in source.target]
    assert shown == [{"cat": 1, "dog": -1}, {"dog": 1}, {}]
    assert source.size_hw(np.array([1])).tolist() == [[16, 24]] and source.read(0)[:2] == b"\xff\xd8"


def test_what_is_no_class_is_refused_in_one_line(tmp_path: Path) -> None:
    for wrong in (["cat"], [-1], [True], [10**6]):
        with pytest.raises(ValueError, match=r"a.tar: 000.png: its JSON needs 'label' to be a list of classes, whole numbers"):
            open_labelled(shard(tmp_path, {"label": wrong}))
    with pytest.raises(ValueError, match="needs 'difficult' to be a list of classes"):
        open_labelled(shard(tmp_path, {"label": [1], "difficult": 2}))
    with pytest.raises(ValueError, match="show no class; of several pictures"):
        open_labelled(shard(tmp_path, {"label": []}))


def test_a_list_that_does_not_fit_its_folder_is_refused(tmp_path: Path) -> None:
    write_voc(tmp_path, {"trainval": {"a": [("cat", False)]}})
    listed = tmp_path / "ImageSets" / "Main" / "trainval.txt"
    (tmp_path / "Annotations" / "a.xml").write_text((tmp_path / "Annotations" / "a.xml").read_text().replace("cat", "zebra"))
    with pytest.raises(ValueError, match=r"a.xml: 'zebra' is none of the 20 classes"):
        open_labelled(str(listed))
    listed.write_text("nowhere\n")
    with pytest.raises(ValueError, match=r"trainval.txt lists 'nowhere', which .*JPEGImages has not"):
        open_labelled(str(listed))


def test_targets_of_some_pictures_and_of_more_classes(tmp_path: Path) -> None:
    several = open_labelled(shard(tmp_path, {"label": [1]}, {"label": [0]}, None))
    pictures = Pictures(several, None, "data", 1, unlabelled=True).part(np.array([2, 0]))
    assert targets(pictures).tolist() == [[-1, -1], [0, 1]] and targets(pictures, 3).tolist() == [[-1, -1, -1], [0, 1, 0]]
    single = Pictures(open_source((np.zeros((3, 8, 8, 3), np.uint8), np.array([1, 0, 2]))), None, "data", 1)
    assert targets(single, 4).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]


def test_other_labels_are_other_data(tmp_path: Path) -> None:
    one = open_labelled(shard(tmp_path / "1", {"label": [1]}, {"label": [0, 1]}))
    other = open_labelled(shard(tmp_path / "2", {"label": [1]}, {"label": [0]}))
    assert one.fingerprint != other.fingerprint != open_source(str(tmp_path / "2" / "a.tar")).fingerprint
