"""When a run is said to collapse: signs that last, once it learns, said once."""

from __future__ import annotations

from typing import Any

import pytest
from viewmill.evaluation.collapse import CollapseWatch

HEALTHY = {"health_std": 0.6, "health_rankme": 70.0, "health_negative": 0.58, "embed_std": 0.98, "embed_rankme": 20.0,
           "embed_negative": 0.02}
FALLEN = HEALTHY | {"embed_std": 0.005, "embed_rankme": 1.3, "embed_negative": 0.9999}


def said(rows: list[dict[str, Any]], watch: CollapseWatch | None = None) -> list[int]:
    """The numbers of the lines after which something is said."""
    watch = watch or CollapseWatch()
    return [number for number, row in enumerate(rows) if watch.add(row) is not None]


def test_said_once_after_three_in_a_row_beyond_the_first_two() -> None:
    assert said([FALLEN] * 12) == [4]


def test_a_recovery_begins_the_count_anew() -> None:
    assert said([HEALTHY] * 2 + [FALLEN, FALLEN, HEALTHY, FALLEN, FALLEN]) == []
    assert said([HEALTHY] * 2 + [FALLEN, FALLEN, HEALTHY, FALLEN, FALLEN, FALLEN]) == [7]


def test_while_the_rate_warms_up_a_network_is_as_it_began() -> None:
    rising = [FALLEN | {"lr": 0.1 * step} for step in range(8)]
    assert said(rising) == []
    assert said(rising + [FALLEN | {"lr": 0.7}] * 3) == [10]  # constant from here: the rate no longer rises
    # Lines without health tell of the rate too: it fell before the next measurement.
    assert said([{"lr": 0.1}, FALLEN | {"lr": 0.2}, FALLEN | {"lr": 0.3}] + [{"lr": 0.9}, FALLEN | {"lr": 0.8}] * 3) == [8]


@pytest.mark.parametrize("row", [
    # Measured: MAE in its first hundred steps (no embeddings), SimCLR in its tenth step and later.
    {"health_std": 0.2938, "health_rankme": 12.9, "health_negative": 0.8977},
    {"health_std": 0.4741, "health_rankme": 6.8, "health_negative": 0.6962},
    {"health_std": 0.2407, "health_rankme": 39.8, "health_negative": 0.9176, "embed_std": 0.2455, "embed_rankme": 8.3,
     "embed_negative": 0.9241},
    # DINO in its hundredth step.
    HEALTHY | {"embed_std": 0.613, "embed_rankme": 21.1, "embed_negative": 0.587, "teacher_entropy": 0.413,
               "teacher_marginal_entropy": 0.655, "kl": 1.231},
    # A healthy teacher: sharp for each image, all prototypes in use; and one that is not yet sharp, but learnt from.
    HEALTHY | {"teacher_entropy": 0.4, "teacher_marginal_entropy": 0.95, "kl": 1.5},
    HEALTHY | {"teacher_entropy": 0.99, "teacher_marginal_entropy": 1.0, "kl": 0.3},
    # VICReg before its first step, Barlow Twins in its twentieth.
    HEALTHY | {"variance": 0.66, "invariance": 0.13},
    HEALTHY | {"off_diagonal": 0.39, "diagonal": 0.9},
    HEALTHY | {"target_variance": 0.05},
    # iBOT in a step that masks nothing.
    HEALTHY | {"patch_teacher_entropy": float("nan"), "patch_teacher_marginal_entropy": float("nan"), "patch_kl": float("nan")},
])
def test_healthy_runs_are_not_accused(row: dict[str, float]) -> None:
    assert said([row] * 10) == []


@pytest.mark.parametrize(("change", "words"), [
    ({"embed_std": 0.0048, "embed_negative": 1.0}, ["embed_std 0.0048, embed_negative 1,", "embeddings of all images are alike"]),
    ({"health_std": 0.021, "health_negative": 0.9993}, ["health_std 0.021, health_negative 0.999,", "features of all images"]),
    ({"embed_rankme": 2.45}, ["embed_rankme 2.45,", "very few directions"]),  # a last batch norm keeps the std
    ({"teacher_marginal_entropy": 0.03}, ["teacher_marginal_entropy 0.03,", "one prototype", "lower model.center_momentum"]),
    ({"teacher_entropy": 0.999, "kl": 0.001}, ["teacher_entropy 0.999, kl 0.001,", "all prototypes alike",
                                               "lower model.teacher_temperature"]),
    ({"variance": 0.95, "invariance": 0.001}, ["variance 0.95, invariance 0.001,", "shrink to one point", "model.variance"]),
    ({"off_diagonal": 0.62, "diagonal": 0.99}, ["off_diagonal 0.62, diagonal 0.99,", "say the same", "model.off_diagonal"]),
    ({"target_variance": 0.004}, ["target_variance 0.004,", "says the same of all patches", "model.teacher_momentum"]),
    ({"region_teacher_marginal_entropy": 0.02}, ["region_teacher_marginal_entropy 0.02,", "all regions to one prototype"]),
    ({"region_teacher_entropy": 0.99, "region_kl": 0.01}, ["region_kl 0.01,", "every region to all prototypes alike"]),
    ({"patch_teacher_marginal_entropy": 0.02}, ["patch_teacher_marginal_entropy 0.02,", "all patches to one prototype"]),
    ({"patch_teacher_entropy": 0.99, "patch_kl": 0.01}, ["patch_kl 0.01,", "every patch to all prototypes alike"]),
])
def test_each_sign_is_named_with_its_value_and_what_helps(change: dict[str, float], words: list[str]) -> None:
    watch = CollapseWatch()
    lines = [line for _ in range(5) if (line := watch.add(HEALTHY | change)) is not None]
    assert len(lines) == 1 and "3 measurements in a row" in lines[0] and "try " in lines[0] and "\n" not in lines[0]
    assert all(word in lines[0] for word in words)


def test_a_rank_of_few_images_says_nothing() -> None:
    for low in (HEALTHY | {"health_rankme": 1.9, "embed_rankme": 1.9}, HEALTHY | {"off_diagonal": 0.6, "diagonal": 0.9}):
        assert said([low] * 9, CollapseWatch(images=31)) == [] and said([low] * 9, CollapseWatch(images=32)) == [4]


def test_lines_without_health_and_values_that_are_not_finite_are_passed_over() -> None:
    assert said([{"loss": 1.0}] * 9) == []
    assert said([FALLEN | {"embed_std": None, "embed_rankme": None}] * 9) == []
