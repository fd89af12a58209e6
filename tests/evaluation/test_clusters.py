"""k-means against classes that it is not told of: figures by hand and by scikit-learn, clusters beside scikit-learn's."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from viewmill.evaluation.clusters import ClustersConfig, agreement, run

from .tasks import pictures, task


def test_figures_of_six_pictures_by_hand() -> None:
    """Group 0 holds classes a, a, b; group 1 b, b, a: mutual information ln 2 - H(1/3) over ln 2; 4 of 6 by the commonest."""
    found = agreement(np.array([0, 0, 1, 1, 1, 0]), np.array([0, 0, 0, 1, 1, 1]), exact=True)
    inside = -(1 / 3 * log(1 / 3) + 2 / 3 * log(2 / 3))
    assert found["nmi"] == pytest.approx((log(2) - inside) / log(2))
    assert found["purity"] == found["accuracy"] == pytest.approx(4 / 6)
    # Of 15 pairs 2 are together in both (a a, b b); 6 and 6 are together in each; chance gives 36 / 15.
    assert found["ari"] == pytest.approx((2 - 36 / 15) / (6 - 36 / 15))


def test_purity_may_name_two_groups_alike_and_accuracy_may_not() -> None:
    label, group = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1, 0])
    found = agreement(label, group, exact=True)
    assert found["purity"] == pytest.approx(4 / 6) and found["accuracy"] == pytest.approx(3 / 6)
    assert "accuracy" not in agreement(label, group, exact=False)


def test_names_of_groups_do_not_matter() -> None:
    label, group = np.array([0, 0, 1, 1, 2, 2]), np.array([2, 2, 0, 0, 1, 1])
    assert agreement(label, group, True) == pytest.approx({"nmi": 1, "ami": 1, "ari": 1, "purity": 1, "accuracy": 1})


def test_clusters_are_as_tight_as_scikit_learn_s_and_test_pictures_join_them(tmp_path: Path) -> None:
    here = task(tmp_path, train=pictures(150, 4, 1, noise=15), test=pictures(60, 4, 2, noise=15))
    result = run(here, ClustersConfig())
    x, asked = (F.normalize(here.features(part).x, dim=1).double().numpy() for part in ("train", "test"))
    theirs = KMeans(4, n_init=10, random_state=0).fit(x)
    assert result["inertia"] == pytest.approx(theirs.inertia_ / 150, rel=1e-4)
    label = np.arange(60) % 4
    assert result["nmi"] == pytest.approx(normalized_mutual_info_score(label, theirs.predict(asked)))
    assert result["of_training"]["ari"] == pytest.approx(adjusted_rand_score(np.arange(150) % 4, theirs.labels_))
    assert adjusted_rand_score(result["arrays"]["cluster"], theirs.predict(asked)) == 1
    assert result["accuracy"] > 0.6 and result["clusters"] == 4 and sum(result["sizes"]) < 150
    assert run(here, ClustersConfig())["inertia"] == result["inertia"]


def test_any_number_of_clusters(tmp_path: Path) -> None:
    here = task(tmp_path, classes=3, images=60)
    result = run(here, ClustersConfig(clusters=7, starts=1, normalize=False))
    assert result["clusters"] == 7 and "accuracy" not in result and result["classes"] == 3
    assert set(result["arrays"]["cluster"]) <= set(range(7))
    with pytest.raises(ValueError, match="clusters=61 needs as many training pictures, data=1 has 60"):
        run(here, ClustersConfig(clusters=61))


@pytest.mark.parametrize(("keys", "message"), [
    ({"clusters": 1}, "clusters needs a whole number of at least 2, got 1"),
    ({"starts": 0}, "starts needs a whole number of at least 1, got 0"),
])
def test_keys_that_make_no_sense_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClustersConfig(**keys)
