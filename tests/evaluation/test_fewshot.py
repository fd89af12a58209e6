"""Episodes of a few classes with a few pictures each: what they are made of, who answers, and how sure the mean is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from viewmill.evaluation.features import Features
from viewmill.evaluation.fewshot import (
    FewshotConfig,
    by_centroid,
    by_regression,
    episodes,
    half_width,
    run,
    transformed,
)

from .tasks import pictures, task


def labels_alone(label: np.ndarray) -> Features:
    return Features(torch.zeros(len(label), 2), torch.from_numpy(label), torch.arange(len(label)))


def drawn(config: FewshotConfig, *, seed: int = 0, same: bool = False) -> list[Any]:
    """From 8 classes of 20 training pictures and of 30 test pictures."""
    train, test = labels_alone(np.arange(160) % 8), labels_alone(np.arange(240) % 8)
    return list(episodes(train, train if same else test, config, seed, same, "data", "test_data"))


def test_an_episode_has_some_classes_and_some_pictures_of_each() -> None:
    for episode in drawn(FewshotConfig(ways=3, shots=(4,), queries=6, episodes=20)):
        assert episode.support.shape == (3, 4) and episode.query.shape == (3, 6)
        of_class = episode.support[:, 0] % 8
        assert len(set(of_class)) == 3 and (episode.support % 8 == of_class[:, None]).all()
        assert (episode.query % 8 == of_class[:, None]).all()
        assert len(np.unique(episode.support)) == 12 and len(np.unique(episode.query)) == 18


def test_episodes_are_their_number_s_and_all_classes_and_pictures_have_their_turn() -> None:
    config = FewshotConfig(ways=3, shots=(4,), queries=6, episodes=200)
    first, again = drawn(config), drawn(FewshotConfig(ways=3, shots=(4,), queries=6, episodes=300))
    assert all((a.support == b.support).all() and (a.query == b.query).all() for a, b in zip(first, again, strict=False))
    assert any((a.support != b.support).any() for a, b in zip(first, drawn(config, seed=1), strict=True))
    counts = np.bincount(np.concatenate([episode.support.reshape(-1) for episode in first]), minlength=160)
    assert counts.min() > 0 and counts.mean() == 15 and counts.max() < 35


def test_of_one_set_of_pictures_no_query_is_among_its_shots() -> None:
    for episode in drawn(FewshotConfig(ways=8, shots=(14,), queries=6, episodes=20), same=True):
        assert len(np.unique(np.concatenate([episode.support, episode.query], 1))) == 160


def test_the_nearest_mean_answers() -> None:
    support = np.array([[[0.0, 0.0], [2.0, 0.0]], [[0.0, 3.0], [0.0, 5.0]]])  # means (1, 0) and (0, 4)
    asked = np.array([[1.0, 1.0], [0.0, 2.2], [-9.0, 0.0]])
    assert by_centroid(support, asked, FewshotConfig()).tolist() == [0, 1, 1 if 9**2 + 16 < 100 else 0]


@pytest.mark.parametrize("kind", ["none", "l2", "cl2n"])
def test_features_are_transformed_by_training_pictures_alone(kind: str) -> None:
    x, asked = transformed(np.array([[1.0, 0.0], [3.0, 4.0]], np.float32), np.array([[2.0, 6.0]], np.float32), kind)
    expected = {"none": ([[1, 0], [3, 4]], [[2, 6]]), "l2": ([[1, 0], [0.6, 0.8]], [[2 / 40**0.5, 6 / 40**0.5]]),
                "cl2n": ([[-1 / 5**0.5, -2 / 5**0.5], [1 / 5**0.5, 2 / 5**0.5]], [[0, 1]])}[kind]
    np.testing.assert_allclose(x, expected[0])
    np.testing.assert_allclose(asked, expected[1])


def test_answers_are_scikit_learn_s() -> None:
    rng = np.random.default_rng(0)
    support, asked = rng.normal(size=(4, 5, 6)) + np.eye(4, 6)[:, None], rng.normal(size=(50, 6))
    label = np.repeat(np.arange(4), 5)
    for answer, model in ((by_centroid, NearestCentroid()), (by_regression, LogisticRegression(C=0.3))):
        theirs = model.fit(support.reshape(20, 6), label).predict(asked)
        assert answer(support, asked, FewshotConfig(c=0.3)).tolist() == theirs.tolist()


def test_the_interval_of_four_episodes_by_hand() -> None:
    """Student's t for three degrees of freedom covers 95 % within 3.182446; the standard deviation is 0.2 * sqrt(5 / 3) / 2."""
    assert half_width(np.array([0.2, 0.4, 0.6, 0.8])) == pytest.approx(3.182446 * np.sqrt(0.2 / 3) / 2, rel=1e-6)


@pytest.mark.parametrize("classifier", ["centroid", "logistic"])
def test_more_shots_answer_better_and_chance_is_left_behind(tmp_path: Path, classifier: Any) -> None:
    here = task(tmp_path, train=pictures(200, 5, 1, noise=30), test=pictures(100, 5, 2, noise=30))
    result = run(here, FewshotConfig(ways=4, shots=(10, 1), queries=10, episodes=40, classifier=classifier))
    assert 0.3 < result["by_shots"]["1"] < result["by_shots"]["10"] == result["top1"] < 1
    accuracy = result["arrays"]["accuracy"]
    assert accuracy.shape == (2, 40) and result["top1"] == pytest.approx(accuracy[0].mean()) and result["ways"] == 4
    low, high = result["interval"]
    assert (high - low) / 2 == pytest.approx(result["half_width"]["10"]) == pytest.approx(half_width(accuracy[0]))
    alone = run(here, FewshotConfig(ways=4, shots=(10,), queries=10, episodes=40, classifier=classifier))
    assert alone["top1"] == result["top1"]


def test_one_shot_is_the_first_of_ten_on_the_same_queries(tmp_path: Path) -> None:
    here, config = task(tmp_path), FewshotConfig(ways=3, shots=(10, 1), queries=4, episodes=6, transform="none")
    found = run(here, config)["arrays"]["accuracy"][1]
    train, test = here.features("train"), here.features("test")
    for number, episode in enumerate(episodes(train, test, config, here.seed, False, "", "")):
        shot, asked = train.x.double().numpy()[episode.support[:, 0]], test.x.double().numpy()[episode.query]
        nearest = np.linalg.norm(asked[:, :, None] - shot, axis=-1).argmin(-1)
        assert found[number] == (nearest == np.arange(3)[:, None]).mean()


def test_all_classes_and_too_few_pictures(tmp_path: Path) -> None:
    here = task(tmp_path, images=50)
    assert run(here, FewshotConfig(ways=None, shots=(2,), queries=5, episodes=3))["ways"] == 5
    for keys, message in (({"ways": 6}, "ways=6: data=1 has 5 classes; use ways=5 or fewer, or ways=null"),
                          ({"shots": (11,)}, "data=1 has 10 pictures of class 0 that can be read, an episode needs 11"),
                          ({"queries": 13}, "data=2 has 12 pictures of class 0 that can be read, an episode needs 13")):
        with pytest.raises(ValueError, match=message):
            run(here, FewshotConfig(**{"queries": 5, **keys}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("keys", "message"), [
    ({"ways": 1}, "ways needs a whole number of at least 2, got 1"),
    ({"shots": (5, 0)}, r"shots needs whole numbers of at least 1, got \[5, 0\]"),
    ({"episodes": 1}, "episodes of at least 2, got 15, 1"),
    ({"c": 0.0}, "c needs a number above 0"),
])
def test_keys_that_make_no_sense_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FewshotConfig(**keys)
