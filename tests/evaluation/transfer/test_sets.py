"""The table of twelve: who is reported by what, and where a folder keeps its parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from viewmill.evaluation.transfer.sets import in_root, mean_per_class, metric_of


def test_the_table_s_metrics_however_names_are_spelt() -> None:
    table = {"Food-101": "top1", "CIFAR-10": "top1", "cifar100": "top1", "birdsnap": "top1", "SUN397": "top1",
             "stanford_cars": "top1", "FGVC-Aircraft": "mean_per_class", "VOC2007": "map_11_point", "dtd": "top1",
             "oxford-pets": "mean_per_class", "Caltech-101": "mean_per_class", "flowers-102": "mean_per_class"}
    assert {name: metric_of(name) for name in table} == table and len(table) == 12
    assert metric_of("my photographs") is None and metric_of("cifar1000") is None


def test_every_class_counts_alike_in_the_mean_per_class() -> None:
    """Class 3: 1 of 4; class 7: 1 of 1; class 9: 0 of 2."""
    label, correct = np.array([3, 3, 3, 3, 7, 9, 9]), np.array([0, 1, 0, 0, 1, 0, 0], bool)
    assert mean_per_class(correct, label) == pytest.approx((1 / 4 + 1 + 0) / 3)
    rng = np.random.default_rng(0)
    truth, answer = rng.choice(4, 100, p=[0.5, 0.3, 0.1, 0.1]), rng.integers(0, 4, 100)
    assert mean_per_class(truth == answer, truth) == pytest.approx(balanced_accuracy_score(truth, answer))


def test_a_root_s_folders_with_both_parts_are_sets(tmp_path: Path) -> None:
    for folder in ("pets/trainval", "pets/train", "pets/test", "pets/val", "dtd/train", "dtd/val", "flowers/train", "flowers/val",
                   "flowers/test", "only/train", ".hidden/train",
                   ".hidden/test", "voc2007/ImageSets/Main", "voc2007/test", "shards"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("voc2007/ImageSets/Main/trainval.txt", "voc2007/ImageSets/Main/test.txt", "shards/train-0.tar",
                 "shards/test-0.tar"):
        (tmp_path / file).touch()
    main = tmp_path / "voc2007" / "ImageSets" / "Main"
    assert in_root(tmp_path) == {
        "dtd": {"data": f"{tmp_path}/dtd/train", "test_data": f"{tmp_path}/dtd/val"},
        "flowers": {"data": f"{tmp_path}/flowers/train", "test_data": f"{tmp_path}/flowers/test",
                    "val_data": f"{tmp_path}/flowers/val"},
        "pets": {"data": f"{tmp_path}/pets/trainval", "test_data": f"{tmp_path}/pets/test"},
        "shards": {"data": f"{tmp_path}/shards/train-*.tar", "test_data": f"{tmp_path}/shards/test-*.tar"},
        "voc2007": {"data": f"{main}/trainval.txt", "test_data": f"{main}/test.txt"}}
    assert list(in_root(tmp_path, ["shards", "dtd"])) == ["shards", "dtd"]
    for wanted, message in ((["dtt"], "has no folder 'dtt'; did you mean 'dtd'"),
                            (["only"], "only has no test, neither a folder nor shards; say where, only.test_data=PATTERN")):
        with pytest.raises(ValueError, match=message):
            in_root(tmp_path, wanted)
    with pytest.raises(ValueError, match="there is no such folder"):
        in_root(tmp_path / "no")
    with pytest.raises(ValueError, match="none of its 2 folders has a train and a test"):
        in_root(_empty(tmp_path / "empty"))


def _empty(root: Path) -> Path:
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
    return root
