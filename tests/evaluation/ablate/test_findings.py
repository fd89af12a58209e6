"""Differences, effects and rules on answers made by hand."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewmill import train
from viewmill.evaluation.ablate import heat_map, table, writing
from viewmill.evaluation.ablate.findings import Effect, Findings
from viewmill.evaluation.ablate.planning import Plan, planned
from viewmill.evaluation.ablate.reading import parsed
from viewmill.evaluation.ablate.stopping import stopped
from viewmill.evaluation.figures.figure import read as read_figure
from viewmill.evaluation.scoreboard.cells import Made

PICTURES = 200
SWITCHES = {"a": {"model.temperature": 0.5}, "b": {"epochs": 3}, "c": {"batch_size": 64}}


def plan(tmp_path: Path, factors: dict[str, Any], design: str, *words: str) -> Plan:
    study = parsed("s", {"question": "What?", "method": "simclr", "factors": factors, "design": design})
    given = ["data=a.tar", "test_data=b.tar", f"out={tmp_path}", "resamples=400", *words]
    return planned(study, given, train.read, ("ablate", "s"))


def found(made: Plan, right: Mapping[str, list[int]], protocol: str = "knn") -> Findings:
    """right: of each arm, how many of the first pictures each seed answers rightly."""
    answers = {arm: {seed: np.arange(PICTURES) < count for seed, count in enumerate(counts)} for arm, counts in right.items()}
    return Findings(made, {}, answers={protocol: answers})


def by_name(effects: list[Effect]) -> dict[tuple[str, ...], float]:
    return {effect.of: round(effect.difference.mean, 6) for effect in effects}


def test_a_difference_is_over_the_seeds_that_both_have(tmp_path: Path) -> None:
    of = found(plan(tmp_path, SWITCHES, "one-at-a-time"), {"base": [100, 120, 80], "a": [110, 126], "b": [100, 120, 80], "c": []})
    effects = {effect.of[1]: effect for effect in of.differences("knn")}
    assert effects["a"].seeds == (0, 1) and effects["a"].difference.mean == pytest.approx(0.04)  # 10 and 6 of 200
    assert effects["a"].accuracy == pytest.approx(0.59) and effects["a"].difference.excludes_zero
    assert effects["b"].difference.mean == 0 and not effects["b"].difference.excludes_zero and "c" not in effects
    assert of.main_effects("knn") == []  # they would be the same again


def test_pairing_leaves_out_what_seeds_have_in_common(tmp_path: Path) -> None:
    # Seeds are 40 points apart, the arm always 2 points above the base of its seed.
    of = found(plan(tmp_path, SWITCHES, "one-at-a-time"), {"base": [40, 80, 120], "a": [44, 84, 124]})
    (effect,) = of.differences("knn")
    assert effect.difference.low > 0 and effect.difference.high < 0.06


def test_effects_of_a_pairwise_design_by_hand(tmp_path: Path) -> None:
    made = plan(tmp_path, SWITCHES, "pairwise")
    of = found(made, {"base": [100], "a": [110], "b": [104], "c": [100], "a_b": [120], "a_c": [108], "b_c": [106]})
    # a: against base 10, against b 16, against c 8; b: 4, 10, 6; c: 0, -2, 2; of 200 pictures.
    assert by_name(of.main_effects("knn")) == {("factor", "a", "a"): round(34 / 3 / 200, 6),
                                               ("factor", "b", "b"): round(20 / 3 / 200, 6), ("factor", "c", "c"): 0.0}
    assert by_name(of.interactions("knn")) == {("pair", "a", "a", "b", "b"): 0.03, ("pair", "a", "a", "c", "c"): -0.01,
                                               ("pair", "b", "b", "c", "c"): 0.01}
    assert [effect.pairs for effect in of.main_effects("knn")] == [3, 3, 3]


def test_effects_of_a_full_grid_go_from_the_bases_level(tmp_path: Path) -> None:
    made = plan(tmp_path, {"model.temperature": [0.5, 0.2], "epochs": [1, 2]}, "full")  # the base: 0.2 and 2
    names = list(made.trials)
    assert names == ["base", "temperature-0.5_epochs-1", "temperature-0.5_epochs-2", "temperature-0.2_epochs-1"]
    of = found(made, dict(zip(names, ([100], [60], [90], [80]), strict=True)))
    assert by_name(of.main_effects("knn")) == {("factor", "temperature", "0.5"): -0.075, ("factor", "epochs", "1"): -0.125}
    assert by_name(of.interactions("knn")) == {("pair", "temperature", "0.5", "epochs", "1"): -0.05}
    grid = heat_map.grid_of(of, "knn")
    assert grid is not None and grid.rows == ("temperature 0.5", "temperature 0.2") and grid.columns == ("epochs 1", "epochs 2")
    assert grid.accuracy.tolist() == [[0.3, 0.45], [0.4, 0.5]]


def test_a_grid_of_pairs_is_symmetric_with_each_alone_on_the_diagonal(tmp_path: Path) -> None:
    of = found(plan(tmp_path, SWITCHES, "pairwise"), {"base": [100], "a": [110], "b": [104], "a_b": [120]})
    grid = heat_map.grid_of(of, "knn")
    assert grid is not None and grid.rows == grid.columns == ("a", "b", "c") and "With none of them: 50.0" in grid.about
    assert np.array_equal(grid.accuracy, [[0.55, 0.6, np.nan], [0.6, 0.52, np.nan], [np.nan] * 3], equal_nan=True)
    assert heat_map.draw(of, "knn", tmp_path / "map.png", ("viewmill", "ablate", "s"))
    figure = read_figure(tmp_path / "map.png")
    assert figure is not None and figure.line == "viewmill ablate s" and figure.caption.startswith("What? Each alone")
    assert not heat_map.draw(of, "linear", tmp_path / "none.png", ("viewmill",)) and not (tmp_path / "none.png").exists()


def test_halving_keeps_the_better_half_and_always_the_base(tmp_path: Path) -> None:
    made = plan(tmp_path, {"model.temperature": [0.1, 0.3, 0.4, 0.5, 0.6]}, "one-at-a-time", "seeds=4")
    arms = list(made.trials)
    right = dict(zip(arms, ([10] * 4, [60], [90, 50, 50], [80, 80, 80], [70, 90, 70], [50]), strict=True))
    # After seed 0 three of five go on; after two seeds, with means 70, 80 and 80, two of three.
    assert stopped(found(made, right), "halving", 4) == {"temperature-0.1": 1, "temperature-0.6": 1, "temperature-0.3": 2}
    assert stopped(found(made, right), "no", 4) == {}
    assert stopped(found(made, right), "halving", 1) == {}  # all have what is asked for


def test_nothing_is_decided_by_half_a_round(tmp_path: Path) -> None:
    made = plan(tmp_path, {"model.temperature": [0.1, 0.3]}, "one-at-a-time", "seeds=4")
    assert stopped(found(made, {"base": [50], "temperature-0.1": [50]}), "halving", 4) == {}


def test_an_arm_that_is_behind_by_an_interval_stops_from_two_seeds_on(tmp_path: Path) -> None:
    made = plan(tmp_path, {"model.temperature": [0.1, 0.3]}, "one-at-a-time", "seeds=4")
    right = {"base": [40, 40, 40], "temperature-0.1": [150, 150, 150], "temperature-0.3": [100, 100]}
    assert stopped(found(made, right), "behind", 4) == {"temperature-0.3": 2}
    close = {"base": [40, 40, 40], "temperature-0.1": [150, 100, 150], "temperature-0.3": [100, 150, 149]}
    assert stopped(found(made, close), "behind", 4) == {}


def test_results_are_tidy(tmp_path: Path) -> None:
    made = plan(tmp_path, SWITCHES, "one-at-a-time")
    cell = Made("", {"trained": {"knn": {"top1": 0.25, "top5": 0.75}, "linear": {"top1": 0.5}}}, {"training_s": 3.0},
                {("trained", "knn"): np.arange(8) < 2}, {}, "")
    raw = Made("", {"pixels": {"knn": {"top1": 0.125}}}, {}, {}, {}, "")
    of = Findings(made, {("a", 1): cell, ("base", 0): cell}, {"pixels": raw, "base-untrained-0": raw})
    rows = list(csv.DictReader(io.StringIO(writing.as_csv(writing.results(of)))))
    assert [(row["arm"], row["seed"], row["protocol"]) for row in rows] == [
        ("base", "0", "knn"), ("base", "0", "linear"), ("a", "1", "knn"), ("a", "1", "linear"), ("", "0", "knn"),
        ("base", "0", "knn")]
    one = rows[2]
    assert (one["factor.a"], one["factor.b"], one["reference"], one["is_metric"]) == ("a", "base", "False", "True")
    told = [one[name] for name in ("accuracy", "top5", "pictures", "training_s", "network")]
    assert told == ["0.25", "0.75", "8", "3.0", "trained"]


def test_parquet_holds_what_csv_holds(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    of = found(plan(tmp_path, SWITCHES, "one-at-a-time"), {"base": [100], "a": [110]})
    assert [path.name for path in writing.keep(tmp_path, "effects", writing.effects(of))] == ["effects.csv", "effects.parquet"]
    (row,) = parquet.read_table(tmp_path / "effects.parquet").to_pylist()
    assert (row["of"], row["against"], row["kind"], row["is_metric"]) == ("a", "base", "arm", True)
    assert row["difference"] == pytest.approx(0.05) and row["accuracy"] == pytest.approx(0.55)
    (said,) = csv.DictReader((tmp_path / "effects.csv").open())
    assert float(said["difference"]) == row["difference"] and said.keys() == row.keys()


def test_without_pyarrow_there_is_csv_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "find_spec", lambda name: None)
    assert [path.name for path in writing.keep(tmp_path, "effects", [{"a": 1}])] == ["effects.csv"]
    assert (tmp_path / "effects.csv").read_text() == "a\n1\n" and not list(tmp_path.glob("*.parquet"))


def test_the_table_says_differences_and_what_is_not_there(tmp_path: Path) -> None:
    made = plan(tmp_path, SWITCHES, "one-at-a-time", "seeds=2", "stop=halving")
    of = found(made, {"base": [100, 120], "a": [110, 126], "b": [100, 120], "c": [60]})
    board = {"command": "viewmill ablate s", "origins": [], "split": "test", "seeds": 2,
             "missing": ["b-trained-9", "c-trained-1"], "stale": ["a-trained-0"], "kept": False,
             "failed": [{"name": "b-trained-9", "why": "no room"}]}
    said = table.in_markdown(of, board, {"c": 1})
    lines = said.splitlines()
    assert said.startswith("What?\n") and "| **base** | 55.0 |  |  | 2 of 2 |" in lines
    assert any(line.startswith("| a | 59.0 | **+4.0 [+") and line.endswith("** |  | 2 of 2 |") for line in lines)
    assert any(line.startswith("| c | 30.0 | **-20.0 [") and line.endswith("** |  | 1 of 2, stopped after 1 |") for line in lines)
    assert "Missing: b-trained-9." in lines and "Failed: b-trained-9: no room" in lines
    assert any(line.startswith("Stale, not shown, to be made again: a-trained-0") for line in lines)
