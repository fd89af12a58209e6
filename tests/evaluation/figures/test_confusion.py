"""Confusion matrices: the counts, against scikit-learn's; the answers, those of the protocols; the order; what is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from viewmill import cli
from viewmill.evaluation.figures.confusion import (
    ConfusionConfig,
    alike,
    counts,
    draw,
    logistic_answers,
    matrix,
    most_confused,
)
from viewmill.evaluation.figures.figure import read
from viewmill.evaluation.neighbours import KnnEvalConfig
from viewmill.evaluation.neighbours import run as protocol

from tests.evaluation import tasks
from tests.evaluation.figures.scenes import scene
from tests.evaluation.test_command import write_tar
from tests.evaluation.test_encoder import write_run


def test_counts_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    label, answer = rng.integers(0, 4, 200), rng.integers(0, 5, 200)
    found = counts(torch.from_numpy(label), torch.from_numpy(answer), 5)
    assert np.array_equal(found, confusion_matrix(label, answer, labels=range(5)))
    assert counts(torch.tensor([1, 1, 0]), torch.tensor([1, 2, 0]), 3).tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]


def test_classes_taken_for_each_other_come_side_by_side() -> None:
    found = np.diag([10, 10, 10, 10, 0])
    found[0, 3], found[3, 0], found[1, 2] = 9, 9, 8
    order = alike(found).tolist()
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert abs(order.index(0) - order.index(3)) == 1 and abs(order.index(1) - order.index(2)) == 1
    assert alike(found[:2, :2]).tolist() == [0, 1]


def test_the_worst_confusions_are_named_by_their_share_of_the_class() -> None:
    found = np.array([[6, 4, 0], [1, 98, 1], [5, 0, 5]])
    assert most_confused(found, ["a", "b", "c"]) == [("c", "a", 0.5), ("a", "b", 0.4), ("b", "a", 0.01)]
    assert most_confused(np.diag([3, 4]), ["a", "b"]) == []


@pytest.mark.parametrize("by", ["knn", "linear"])
def test_the_top_1_is_the_protocols(tmp_path: Path, by: str) -> None:
    write_run(tmp_path / "run")
    words = [str(tmp_path / "run"), f"data={write_tar(tmp_path / 'train.tar', 60, 1)}",
             f"test_data={write_tar(tmp_path / 'test.tar', 30, 2)}", "device=cpu"]
    own = {"knn": ["k=5"], "linear": ["solver=lbfgs"]}[by]
    assert cli.main(["eval", by, *words, *own]) == 0
    kept = json.loads((tmp_path / "run" / "eval" / f"{by}.json").read_text())
    assert cli.main(["eval", "figure", "confusion", *words, *({"knn": ["k=5"], "linear": ["by=logistic"]}[by])]) == 0
    said = read(tmp_path / "run" / "figures" / "confusion.png")
    assert said is not None and f"top-1 {kept['top1']:.4f} of 30 pictures of test_data=" in said.caption
    how = "5 nearest neighbours" if by == "knn" else f"logistic regression, c {kept['chosen']['c']:g}"
    assert said.title == f"Confusion of 3 classes, by {how}"


def test_votes_are_weighted_as_the_protocol_weights_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, of = tasks.task(tmp_path, classes=5), scene(tmp_path)
    monkeypatch.setattr(of, "task", lambda: task)
    found = {}
    for k, tau in ((60, 0.01), (60, 5.0), (3, 0.01)):  # of classes that overlap
        found[k, tau] = protocol(task, KnnEvalConfig(k=(k,), tau=tau))["top1"]
        assert f"top-1 {found[k, tau]:.4f} of 60 pictures" in draw(of, ConfusionConfig(k=k, tau=tau)).caption
    assert len(set(found.values())) > 1


def test_logistic_answers_of_a_given_c(tmp_path: Path) -> None:
    of = tasks.task(tmp_path, images=90, classes=3)
    train, test = of.features("train"), of.features("test")
    answer, c = logistic_answers(train, test, 0.5)
    from sklearn.linear_model import LogisticRegression

    mean, scale = train.x.numpy().mean(0), train.x.numpy().std(0)
    peer = LogisticRegression(C=0.5, max_iter=1000).fit((train.x.numpy() - mean) / scale, train.label.numpy())
    assert c == 0.5 and (answer.numpy() == peer.predict((test.x.numpy() - mean) / scale)).mean() > 0.98


def test_what_the_figure_says(tmp_path: Path) -> None:
    of = scene(tmp_path, data=write_tar(tmp_path / "train.tar", 30, 1), test_data=write_tar(tmp_path / "test.tar", 12, 2),
               classes=["red", "green", "blue"])
    found = draw(of, ConfusionConfig(k=3, order="alike"))
    assert "tiny: top-1 " in found.caption and "by 3 nearest neighbours among 30 pictures of data=" in found.caption
    assert "Rows are true classes, columns predicted ones, in % of the row." in found.caption


@pytest.mark.parametrize("classes", [2, 30, 100])
def test_any_number_of_classes_is_drawn(classes: int) -> None:
    image = matrix(np.eye(classes, dtype=int) * 3, [f"class {number}" for number in range(classes)])
    assert min(image.size) > 600 and max(image.size) < 2200
    pixels = np.asarray(image).reshape(-1, 3)
    assert (pixels == (8, 48, 107)).all(1).any()  # the darkest blue, where all is right


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    of = scene(tmp_path, data=write_tar(tmp_path / "a.tar", 9, 1), test_data=write_tar(tmp_path / "b.tar", 6, 2))
    with pytest.raises(ValueError, match=r"k=20 needs as many training pictures, data=.* has 9; use for example k=9"):
        draw(of, ConfusionConfig())
    for wrong, expected in (({"k": 0}, "k needs a whole"), ({"tau": 0.0}, "tau needs a number"), ({"c": -1.0}, "c needs")):
        with pytest.raises(ValueError, match=expected):
            ConfusionConfig(**wrong)
