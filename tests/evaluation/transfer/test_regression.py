"""Logistic regression of the transfer protocol: chosen by the set's own metric, one class against the rest where there are
several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from viewmill.evaluation.linear import LinearConfig
from viewmill.evaluation.linear import run as linear
from viewmill.evaluation.logistic import OneAgainstRest
from viewmill.evaluation.pictures import Pictures
from viewmill.evaluation.split import hold_out
from viewmill.evaluation.transfer import regression
from viewmill.evaluation.transfer.regression import LogisticConfig, run
from viewmill.pipelines.source import open_source

from ..tasks import pictures, task
from ..test_svm import several

EXACT: dict[str, Any] = {"standardize": False, "dtype": "float64"}


def uneven(count: int, seed: int) -> Pictures:
    return pictures(count, 3, seed, label=np.random.default_rng(seed).choice(3, count, p=[0.8, 0.15, 0.05]), noise=70)


def test_by_top_1_it_is_the_linear_probe_s_regression(tmp_path: Path) -> None:
    found, wanted = run(task(tmp_path), LogisticConfig()), linear(task(tmp_path), LinearConfig(solver="lbfgs"))
    assert found["metric"] == "top1" and np.array_equal(found["correct"], wanted["correct"]) and found["top5"] == wanted["top5"]
    assert found["fits"] == wanted["fits"] and found["chosen"] == wanted["chosen"] and found["converged"]


def test_c_is_chosen_by_the_mean_per_class_where_that_is_the_metric(tmp_path: Path) -> None:
    """A rare class is not worth a small penalty by top-1, and is by the mean per class."""
    here = task(tmp_path, train=uneven(300, 1), test=uneven(200, 2))
    result = run(here, LogisticConfig(metric="mean_per_class", c=(1e-3, 1e-1, 10.0), split=0.4, **EXACT))
    train = here.features("train")
    fit, choose = hold_out(train.label.numpy(), 0.4)
    x, y = train.x.double().numpy(), train.label.numpy()
    for entry in result["fits"]:
        answers = LogisticRegression(C=entry["c"], max_iter=1000).fit(x[fit], y[fit]).predict(x[choose])
        assert entry["mean_per_class"] == pytest.approx(balanced_accuracy_score(y[choose], answers))
    by_top1 = run(here, LogisticConfig(c=(1e-3, 1e-1, 10.0), split=0.4, **EXACT))
    assert result["chosen"] == {"c": 10} and by_top1["chosen"] == {"c": 0.1}


def test_of_several_classes_a_picture_each_has_its_own_regression(tmp_path: Path) -> None:
    here = task(tmp_path, train=several(120, 1), test=several(60, 2))
    result = run(here, LogisticConfig(c=(0.01, 1.0), split=0.25, **EXACT))
    assert result["metric"] == "map_11_point" and "top1" not in result and "correct" not in result
    x, asked = (here.features(part).x.double().numpy() for part in ("train", "test"))
    shown, wanted = here.train.source.target, here.test.source.target  # type: ignore[attr-defined]
    expected = []
    for number in range(3):
        known, counted = shown[:, number] >= 0, wanted[:, number] >= 0
        model = LogisticRegression(C=result["chosen"]["c"], max_iter=1000).fit(x[known], shown[known, number])
        score = model.decision_function(asked)
        np.testing.assert_allclose(result["arrays"]["score"][:, number], score, rtol=1e-4, atol=1e-5)
        expected.append(average_precision_score(wanted[counted, number], score[counted]))
    assert result["map_summed"] == pytest.approx(np.mean(expected), abs=1e-4)
    assert [set(entry) for entry in result["fits"]] == [{"c", "map_11_point"}] * 2 and result["classes"] == 3


def test_a_set_s_own_validation_part_chooses_and_is_learned_in_the_end(tmp_path: Path) -> None:
    shown = tmp_path / "val"
    for number, (image, label) in enumerate(zip(*_arrays(pictures(40, 5, 3)), strict=True)):
        (shown / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(shown / str(label) / f"{number}.png")
    here = task(tmp_path, cache=True)
    result = run(here, LogisticConfig(c=(1e-4, 1.0), val_data=str(shown), **EXACT))
    train, test = here.features("train"), here.features("test")
    val = task(tmp_path, train=Pictures(open_source(str(shown)), None, "val", 1)).features("train")
    x, y, asked, truth = (of.double().numpy() for of in (train.x, train.label, val.x, val.label))
    for entry in result["fits"]:
        assert entry["top1"] == pytest.approx(LogisticRegression(C=entry["c"], max_iter=1000).fit(x, y).score(asked, truth))
    whole = LogisticRegression(C=1.0, max_iter=1000).fit(np.concatenate([x, asked]), np.concatenate([y, truth]))
    assert np.array_equal(result["correct"], whole.predict(test.x.double().numpy()) == test.label.numpy())
    assert result["chosen"] == {"c": 1} and result["chosen_on"] == "val_data" and result["train_images"] == 240
    with pytest.raises(ValueError, match=r"val_data=.*: of one the pictures show several classes"):
        run(task(tmp_path, train=several(40, 1), test=several(20, 2)), LogisticConfig(val_data=str(shown)))


def test_one_c_needs_nobody_to_choose(tmp_path: Path) -> None:
    few = task(tmp_path, train=pictures(5, 5, 1), test=pictures(10, 5, 2))
    result = run(few, LogisticConfig(c=(1.0,)))
    assert result["chosen_on"] == "nothing to choose" and result["fits"] == [] and not result["edge"]
    with pytest.raises(ValueError, match="leaves none to choose by"):
        run(few, LogisticConfig(c=(1.0, 2.0)))


def _arrays(of: Pictures) -> tuple[list[Any], list[int]]:
    return [of.source.read(int(i)) for i in of.index], of.label.tolist()


def test_a_class_that_all_pictures_show_or_none_says_nothing() -> None:
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[1, 0, 1], [1, 0, 0]] * 4)
    scores = OneAgainstRest(1.0, LinearConfig(solver="lbfgs")).fit(x, target).scores(x)
    assert scores.shape == (8, 3) and not scores[:, :2].any() and scores[:, 2].std() > 0


def test_fits_are_kept_and_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(task(tmp_path), LogisticConfig(c=(0.1, 1.0), metric="mean_per_class"))
    monkeypatch.setattr(regression, "figure", lambda *given: pytest.fail("a c was tried again"))
    assert run(task(tmp_path), LogisticConfig(c=(0.1, 1.0), metric="mean_per_class"))["fits"] == first["fits"]


def test_what_does_not_fit_the_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="metric=top1 is for pictures of one class, those of data=1 show several"):
        run(task(tmp_path, train=several(40, 1), test=several(20, 2)), LogisticConfig(metric="top1"))
    with pytest.raises(ValueError, match="data=1 and data=2: of one the pictures show several classes, of the other one each"):
        run(task(tmp_path, train=several(40, 1)), LogisticConfig())
    with pytest.raises(ValueError, match=r"c needs numbers above 0, got \[0.0\]"):
        LogisticConfig(c=(0.0,))
    with pytest.raises(ValueError, match="split needs a share of the training images"):
        LogisticConfig(split=1.0)


def on_a_rank(folder: str) -> dict[str, Any]:
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    result = run(task(Path(folder), rank=rank, ranks=ranks), LogisticConfig(c=(0.01, 0.1, 1.0)))
    return {**result, "correct": result["correct"].tolist()}


@pytest.mark.slow
def test_ranks_share_the_fits(tmp_path: Path, world: Callable[..., list[Any]]) -> None:
    alone = run(task(tmp_path / "one"), LogisticConfig(c=(0.01, 0.1, 1.0)))
    alone["correct"] = alone["correct"].tolist()
    assert world(2, on_a_rank, str(tmp_path / "two")) == [alone, alone]
