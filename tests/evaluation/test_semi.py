"""Fine-tuning on few labels: which numbers, whose labels, lists that can be read again, two rates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from viewmill.augment.presets import recipe
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.finetune.protocol import Tuned
from viewmill.evaluation.labels import labelled
from viewmill.evaluation.pictures import Pictures, evaluation_recipe
from viewmill.evaluation.semi import SEMI, SemiConfig, run
from viewmill.evaluation.semi.config import numbers
from viewmill.evaluation.semi.splits import per_class, read_split, write_split
from viewmill.models.backbone import backbone
from viewmill.pipelines.source import open_source

from .tasks import SIDE, pictures, task

SHORT: dict[str, Any] = {"batch_size": 10, "epochs": 2, "sidecar": False}


def convnet() -> Encoder:
    torch.manual_seed(0)
    module, dim = backbone("convnet4", SIDE)
    return Encoder(module, dim, SIDE, evaluation_recipe(recipe("probe"), SIDE), "convnet4").eval().requires_grad_(False)


def test_numbers_are_those_that_were_published() -> None:
    rates = {name: (of.lr, of.head_lr, of.law, of.epochs, of.batch_size) for name, of in SEMI.items()}
    assert rates["swav_1"] == (0.02, 5, "steps", 20, 256) and rates["swav_10"] == (0.01, 0.2, "steps", 20, 256)
    assert rates["barlow_twins_1"] == (0.005, 0.5, "cosine", 20, 256)
    assert rates["vicreg_1"] == (0.03, 0.08, "cosine", 20, 256) and rates["vicreg_10"] == (0.01, 0.1, "cosine", 20, 256)
    for name in ("swav_1", "swav_10", "barlow_twins_1", "vicreg_1", "vicreg_10"):
        of = SEMI[name]
        assert (of.optimizer, of.scaling, of.weight_decay, of.smoothing, of.mixup, of.per, of.recipe) == (
            "sgd", "none", 0, 0, 0, "epoch", "probe")
    assert (SEMI["swav_1"].steps_at, SEMI["swav_1"].step_factor) == ((12, 16), 0.2)


def test_a_protocol_s_numbers_follow_the_share() -> None:
    assert [numbers("swav", share) for share in (0.001, 0.01, 0.1, 1)] == ["swav_1", "swav_1", "swav_10", "swav_10"]
    assert numbers("barlow_twins", 0.1) == "barlow_twins_1" and numbers("swav_10", 0.01) == "swav_10"
    with pytest.raises(ValueError, match="unknown protocol 'swaw'; did you mean 'swav'"):
        SemiConfig(protocol="swaw")


def test_a_split_is_a_list_that_is_read_again(tmp_path: Path) -> None:
    here = pictures(143, 3, 1, label=np.repeat([2, 0, 1], [3, 100, 40]))
    for number, rows in enumerate((labelled(here, 0.1, 0), per_class(here, 2, 0))):
        path = tmp_path / "splits" / f"{number}.txt"
        write_split(path, here, rows)
        assert path.read_text().splitlines() == [str(row) for row in rows] and read_split(path, here).tolist() == rows.tolist()
    assert [path.name for path in (tmp_path / "splits").iterdir() if path.name.startswith(".")] == []


def test_so_many_of_each_class_are_the_first_of_its_order() -> None:
    here = pictures(143, 3, 1, label=np.repeat([2, 0, 1], [3, 100, 40]))
    rows = per_class(here, 3, 0)
    assert np.bincount(here.label[rows]).tolist() == [3, 3, 3] and set(rows) < set(labelled(here, 1, 0))
    assert set(per_class(here, 2, 0)) < set(rows) and rows.tolist() != per_class(here, 3, 1).tolist()
    ten = labelled(here, 0.1, 0)
    assert set(per_class(here, 3, 0)[here.label[rows] == 0]) < set(ten[here.label[ten] == 0])
    with pytest.raises(ValueError, match="per_class=4: data=1 has 3 pictures of class 2; use fewer"):
        per_class(here, 4, 0)


def test_a_list_that_would_not_say_which_is_not_written(tmp_path: Path) -> None:
    class Twins:
        """Another source whose first two pictures share a key."""

        def __init__(self, source: Any) -> None:
            self.source = source

        def __getattr__(self, name: str) -> Any:
            return getattr(self.source, name)

        def __len__(self) -> int:
            return len(self.source)

        def key(self, index: int) -> str:
            return "twin" if index < 2 else self.source.key(index)

    images = np.zeros((4, 8, 8, 3), np.uint8)
    here = Pictures(Twins(open_source((images, np.array([0, 1, 0, 1])))), None, "data=x", 1)
    with pytest.raises(ValueError, match="data=x: 'twin' is the key of 2 pictures, so that no list of keys can say"):
        write_split(tmp_path / "a.txt", here, np.array([0, 3]))
    write_split(tmp_path / "a.txt", here, np.array([2, 3]))
    assert (tmp_path / "a.txt").read_text() == "2\n3\n"


def test_each_share_is_learned_by_itself_and_its_list_kept(tmp_path: Path) -> None:
    here = task(tmp_path, encoder=convnet(), images=100)
    before = here.encoder.fingerprint
    result = run(here, SemiConfig(labels=[0.2, 0.6], **{**SHORT, "epochs": 4}))
    assert list(result["by_labels"]) == ["0.2", "0.6"]
    assert result["top1"] == result["by_labels"]["0.2"] == result["correct"].mean()
    few, more = result["shares"].values()
    assert (few["train_images"], more["train_images"], few["steps"], more["steps"]) == (20, 60, 8, 24)
    listed = [set(Path(of["split"]).read_text().splitlines()) for of in (few, more)]
    assert listed[0] < listed[1] and few["split"] == str(tmp_path / "splits" / "0.2-seed0.txt") and len(listed[1]) == 60
    assert here.encoder.fingerprint == before and few["protocol"] == "small_10" and json.dumps(result["shares"])
    again = run(task(tmp_path / "again", encoder=convnet(), images=100),
                SemiConfig(labels=few["split"], **{**SHORT, "epochs": 4}))
    assert again["shares"]["0.2-seed0"]["top1"] == few["top1"] and np.array_equal(again["correct"], result["correct"])


def test_the_head_has_a_rate_of_its_own(tmp_path: Path) -> None:
    """Plain SGD's first step is the rate times the gradient: 0.5 for the head, 0.01 for the last layer, half of it below."""
    steps: dict[str, Tensor] = {}
    whole = Tuned.step

    def one(self: Tuned, number: int) -> Any:
        before = {name: p.detach().clone() for name, p in self.classifier.named_parameters()}
        found = whole(self, number)
        if number == 0:
            for name, p in self.classifier.named_parameters():
                if p.grad is not None and float(p.grad.abs().max()) > 1e-4:
                    steps[name] = ((before[name] - p.detach()) / p.grad)[p.grad.abs() > 1e-4].median()
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Tuned, "step", one)
        run(task(tmp_path, encoder=convnet(), images=100),
            SemiConfig(protocol="swav", lr=0.01, head_lr=0.5, layer_decay=0.5, init_std=0.1, per_class=(4,), **SHORT))
    assert steps["head.0.weight"] == pytest.approx(0.5, rel=1e-3) and steps["head.0.bias"] == pytest.approx(0.5, rel=1e-3)
    assert steps["encoder.whole.layers.9.weight"] == pytest.approx(0.005, rel=1e-2)
    assert steps["encoder.whole.layers.0.weight"] == pytest.approx(0.000625, rel=0.05)


@pytest.mark.parametrize(("keys", "message"), [
    ({"labels": [0.1, 0]}, r"labels needs a share of each class in \(0, 1\]"),
    ({"labels": None}, "labels=null are all, for which there is viewmill eval finetune"),
    ({"labels": []}, "labels needs a share of each class at least"),
    ({"per_class": (0,)}, r"per_class needs whole numbers of at least 1, got \[0\]"),
    ({"head_lr": 0.0}, "head_lr needs a number above 0, got 0.0"),
    ({"smoothing": 1.0}, "smoothing needs a number in"),
])
def test_keys_that_make_no_sense_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SemiConfig(**keys)
