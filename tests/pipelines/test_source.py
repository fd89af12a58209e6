"""What open_source takes for what, and what it refuses in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewmill.pipelines.source import ArraySource, DataError, FolderSource, Source, TarSource, open_source

from .shards import encoded, picture, shard

IMAGES = np.stack([picture(4, 6, i) for i in range(3)])


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIEWMILL_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(3):
        shard(tmp_path / f"train-{i}.tar", 2, first=2 * i)
    (tmp_path / "images" / "cat").mkdir(parents=True)
    (tmp_path / "images" / "cat" / "a.jpg").write_bytes(encoded(picture(4, 6)))
    return tmp_path


def test_tars_by_path_pattern_glob_and_list(folder: Path) -> None:
    for data, count in ((folder / "train-0.tar", 2), (f"{folder}/train-0.tar", 2),
                        (f"{folder}/train-{{0..2}}.tar", 6), (f"{folder}/train-*.tar", 6),
                        ([f"{folder}/train-2.tar", folder / "train-0.tar"], 4),
                        ((f"{folder}/train-{{0,1}}.tar", f"{folder}/train-2.tar"), 6)):
        source = open_source(data)
        assert isinstance(source, TarSource) and isinstance(source, Source) and len(source) == count
    assert open_source([f"{folder}/train-2.tar", f"{folder}/train-0.tar"]).key(0) == "00004"


def test_a_folder_of_images(folder: Path) -> None:
    for data in (folder / "images", f"{folder}/images", f"{folder}/images/"):
        source = open_source(data)
        assert isinstance(source, FolderSource) and isinstance(source,
                                                               Source) and source.key(0) == "cat/a.jpg" and source.label(0) == 0


def test_arrays_with_and_without_labels() -> None:
    torch = pytest.importorskip("torch")
    for data in (IMAGES, list(IMAGES), tuple(IMAGES), torch.from_numpy(IMAGES), (IMAGES[0], IMAGES[1], IMAGES[2])):
        source = open_source(data)
        assert isinstance(source, ArraySource) and isinstance(source, Source) and len(source) == 3 and not source.labelled
    for data in ((IMAGES, [2, 1, 0]), (list(IMAGES), np.array([2, 1, 0])), (torch.from_numpy(IMAGES), torch.tensor([2, 1, 0]))):
        assert [open_source(data).label(i) for i in range(3)] == [2, 1, 0]
    assert len(open_source((IMAGES[0], IMAGES[1]))) == 2  # two images, not images with labels


def test_a_source_is_taken_as_it_is(folder: Path) -> None:
    source = open_source(IMAGES)
    assert open_source(source) is source


@pytest.mark.parametrize(("data", "message"), [
    ("none-{0..3}.tar", r"none-\{0\.\.3\}\.tar: matches no file"),
    ("none", "none: does not exist"),
    (["s3://bucket/x.tar", "{folder}/a.tar"], "a s3:// address where local files are needed"),
    ([], "data: an empty list"),
    ("", "data: an empty path"),
    (7, "data: cannot read images from a int: give tar shards"),
    (None, "data: cannot read images from a NoneType"),
    (["{folder}/images", "{folder}/train-0.tar"], "images: a folder among 2 shards"),
    ("{folder}", r"a folder of 3 tars, from train-0\.tar to train-2\.tar and no shards\.catalogue: say which, as in .*NAME-"),
    ("{folder}/empty", "empty: no images in this folder or below"),
    ("{folder}/images/cat/a.jpg", r"a\.jpg: not a tar: give tar shards, or a folder of images as the folder itself"),
    (["{folder}/train-0.tar", "{folder}/train-*.tar"], r"train-0\.tar: given twice"),
    ((IMAGES, [1.5, 2.0, 3.0]), "labels: need 3 whole numbers"),
])
def test_refusals_are_one_line(folder: Path, data: Any, message: str) -> None:
    (folder / "empty").mkdir()
    if isinstance(data, str):
        data = data.replace("{folder}", str(folder))
    elif isinstance(data, list):
        data = [each.replace("{folder}", str(folder)) for each in data]
    with pytest.raises(DataError, match=message) as error:
        open_source(data)
    assert "\n" not in str(error.value) and isinstance(error.value, ValueError)


def test_no_torch_is_imported() -> None:
    """The sidecar process starts without it."""
    modules = ["source", "decode", "order", "state", "index"]
    code = f"import sys; import {', '.join('viewmill.pipelines.' + m for m in modules)}; sys.exit('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[2] / ".dev"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(root), "PATH": ""}, check=False).returncode == 0


def test_real_shards(shared: Path) -> None:
    source = open_source(f"{shared}/data/cifar10/train-{{0000..0001}}.tar")
    assert len(source) == 10_000 and source.labelled and (source.size_hw(np.arange(0, 10_000, 97)) == 32).all()
    labels = np.bincount([source.label(i) for i in range(0, 10_000, 2)])
    assert len(labels) == 10 and labels.min() > 400
