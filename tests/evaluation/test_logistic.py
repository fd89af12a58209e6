"""Logistic regression by L-BFGS: the optimum of the stated loss, chosen on a split, fitted to all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from viewmill.evaluation.linear import LinearConfig, run
from viewmill.evaluation.logistic import PUBLISHED, Logistic
from viewmill.evaluation.split import hold_out

from .tasks import pictures, task


def config(**keys: Any) -> LinearConfig:
    return LinearConfig(solver="lbfgs", **keys)


def some(rows: int = 200, dim: int = 7, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    label = torch.randint(classes, (rows,), generator=rng)
    return 3 + torch.randn(rows, dim, generator=rng) + torch.eye(dim)[label], label


@pytest.mark.parametrize("c", [0.01, 1.0])
def test_the_fit_is_the_optimum_of_the_regularised_loss(c: float) -> None:
    """By NumPy: the gradient of |W|^2 / (2 c N) + mean cross entropy vanishes."""
    x, label = some()
    fitted = Logistic(c, config(standardize=False, dtype="float64")).fit(x, label)
    w, b = fitted.model.coef_, fitted.model.intercept_
    rows, y = x.numpy().astype(np.float64), np.eye(4)[label.numpy()]
    z = rows @ w.T + b
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    gradient_w = w / (c * len(x)) + (p - y).T @ rows / len(x)
    gradient_b = (p - y).mean(0)
    assert np.abs(gradient_w).max() < 2e-4 and np.abs(gradient_b).max() < 2e-4 and np.abs(w / (c * len(x))).max() > 1e-3
    np.testing.assert_allclose(fitted.scores(x).numpy(), z)
    assert fitted.converged


def test_c_is_chosen_on_a_split_and_fitted_to_all_as_scikit_learn_does(tmp_path: Path) -> None:
    here = task(tmp_path)
    result = run(here, config(c=(1e-6, 1.0), standardize=False, dtype="float64"))
    train, test = here.features("train"), here.features("test")
    fit, choose = hold_out(train.label.numpy(), 0.1)
    for entry in result["fits"]:
        model = LogisticRegression(C=entry["c"], max_iter=1000).fit(train.x[fit].double().numpy(), train.label[fit].numpy())
        assert entry["top1"] == pytest.approx(model.score(train.x[choose].double().numpy(), train.label[choose].numpy()))
    whole = LogisticRegression(C=1.0, max_iter=1000).fit(train.x.double().numpy(), train.label.numpy())
    assert result["chosen"] == {"c": 1.0} and result["edge"] and result["chosen_on"] == "split"
    assert np.array_equal(result["correct"], whole.predict(test.x.double().numpy()) == test.label.numpy())
    assert result["top1"] == result["correct"].mean() and result["top1"] > 0.5 and result["train_images"] == 200


def test_features_are_standardised_where_that_is_asked(tmp_path: Path) -> None:
    x, label = some()
    fitted = Logistic(0.01, config(dtype="float64")).fit(x, label)  # as for the short grid
    scaler = StandardScaler().fit(x.double().numpy())
    model = LogisticRegression(C=0.01, max_iter=1000).fit(scaler.transform(x.double().numpy()), label.numpy())
    np.testing.assert_allclose(fitted.scores(x).numpy(), model.decision_function(scaler.transform(x.double().numpy())), rtol=1e-6)
    flat = Logistic(1.0, config(standardize=True)).fit(torch.cat([x, torch.ones(len(x), 1)], 1), label)
    assert np.isfinite(flat.model.coef_).all()


def test_the_published_grid_is_forty_five_values(tmp_path: Path) -> None:
    assert len(PUBLISHED) == 45 and PUBLISHED[0] == 1e-6 and PUBLISHED[-1] == 1e5
    published = Logistic(1.0, config(c_grid="published"))
    assert not published.standardizes and published.dtype == "float64"
    assert len(run(task(tmp_path, images=50), config(c_grid="published", split=0.3, max_iter=5))["fits"]) == 45


def test_of_equal_settings_the_most_regularised_is_chosen(tmp_path: Path) -> None:
    result = run(task(tmp_path, train=pictures(60, 2, 1, noise=1), test=pictures(20, 2, 2, noise=1)), config(c=(100.0, 10.0)))
    assert [entry["top1"] for entry in result["fits"]] == [1, 1] and result["chosen"] == {"c": 10.0}
    assert result["top1"] == 1 and "top5" not in result


def test_classes_without_a_training_image_are_never_the_answer() -> None:
    x, label = some()
    fitted = Logistic(1.0, config()).fit(x, torch.tensor([0, 2, 3, 6])[label])
    scores = fitted.scores(x)
    assert scores.shape == (200, 7) and set(scores.argsort(1)[:, :3].flatten().tolist()) == {1, 4, 5}


def test_a_fit_that_did_not_converge_says_so() -> None:
    assert not Logistic(1e5, config(max_iter=2)).fit(*some()).converged


def test_the_short_grid_in_single_precision(tmp_path: Path) -> None:
    """Five penalties of the mean loss, 1 to 1e-4: the best lies inside, and double precision finds the same."""
    result = run(task(tmp_path), config())
    assert [entry["c"] for entry in result["fits"]] == [0.005, 0.05, 0.5, 5.0, 50.0] and not result["edge"]
    assert result["top1"] == pytest.approx(run(task(tmp_path), config(dtype="float64"))["top1"], abs=0.002)


def test_fits_are_kept_and_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(task(tmp_path), config(c=(0.1, 1.0)))
    fits: list[float] = []
    whole = Logistic.fit
    monkeypatch.setattr(Logistic, "fit", lambda self, x, y: fits.append(self.c) or whole(self, x, y))
    second = run(task(tmp_path), config(c=(0.01, 0.1, 1.0)))
    assert fits == [0.01, second["chosen"]["c"]] and second["fits"][1:] == first["fits"]


def test_one_setting_is_fitted_without_a_split(tmp_path: Path) -> None:
    result = run(task(tmp_path), config(c=(1.0,)))
    assert result["chosen_on"] == "nothing to choose" and result["fits"] == []


def on_a_rank(folder: str) -> dict[str, Any]:
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    result = run(task(Path(folder), rank=rank, ranks=ranks), config(c=(0.01, 0.1, 1.0)))
    return {**result, "correct": result["correct"].tolist()}


def test_ranks_share_the_fits(tmp_path: Path, world: Callable[..., list[Any]]) -> None:
    alone = run(task(tmp_path / "one"), config(c=(0.01, 0.1, 1.0)))
    alone["correct"] = alone["correct"].tolist()
    assert world(2, on_a_rank, str(tmp_path / "two")) == [alone, alone]


@pytest.mark.parametrize(("keys", "message"), [
    ({"lr": (0.1,)}, "lr is for heads that are trained by steps, and solver=lbfgs has none"),
    ({"c": (0.0, 1.0)}, r"c needs numbers above 0, got \[0.0, 1.0\]"),
    ({"max_iter": 0}, "max_iter needs a whole number of at least 1"),
])
def test_keys_that_make_no_sense_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**keys)


def test_test_images_never_choose(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="select=test is DINOv2's way"):
        run(task(tmp_path), config(select="test"))
