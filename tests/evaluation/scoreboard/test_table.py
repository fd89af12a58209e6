"""The table, of cells made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewmill import train
from viewmill.evaluation.scoreboard.cells import Cell, Store, cells_of
from viewmill.evaluation.scoreboard.making import Failed
from viewmill.evaluation.scoreboard.settings import Settings, read
from viewmill.evaluation.scoreboard.table import in_markdown, table_of

ABOUT = {"cpu": "a processor", "cores": 2, "viewmill": "1", "torch": "2", "timm": "3"}
RUN = ABOUT | {"images_per_s": 1000.0, "data_wait": 0.02, "training_s": 60.0, "judging_s": 30.0, "pretext": 0.25,
               "health": {"health_std": 0.5, "health_rankme": 70.0}}


def share(right: float, images: int = 100) -> np.ndarray:
    return np.arange(images) < round(right * images)


@pytest.fixture
def bench(tmp_path: Path) -> tuple[Settings, list[Cell], Store]:
    """SimCLR, two seeds: kNN 0.50 and 0.60; untrained 0.30 and 0.30 as initialized, 0.45 and 0.25 calibrated."""
    settings = read(["simclr", "data=a.tar", "test_data=b.tar", "seeds=2", "protocols=[knn,linear]"])
    cells = cells_of(settings, train.read, "a.tar", {"train": "", "test": ""})
    store = Store(tmp_path)
    for cell in cells:
        if cell.kind == "pixels":
            store.save(cell, {"pixels": {"knn": {"top1": 0.2}, "linear": {"top1": 0.21}}}, ABOUT, {})
        elif cell.kind == "trained":
            save(store, cell, {"trained": {"knn": (0.5, 0.6)[cell.seed], "linear": 0.7}}, RUN)
        else:
            save(store, cell, {"initialized": {"knn": 0.3, "linear": 0.4},
                               "calibrated": {"knn": (0.45, 0.25)[cell.seed], "linear": 0.35}}, ABOUT)
    return settings, cells, store


def save(store: Store, cell: Cell, accuracies: dict[str, dict[str, float]], about: dict[str, Any], images: int = 100) -> None:
    figures = {state: {name: {"top1": top1} for name, top1 in of.items()} for state, of in accuracies.items()}
    answers = {(state, name): share(top1, images) for state, of in accuracies.items() for name, top1 in of.items()}
    store.save(cell, figures, about, answers)


def test_gains_are_over_the_better_untrained_network_of_each_metric(bench: Any) -> None:
    row = table_of(*bench)["rows"][0]
    knn, linear = row["protocols"]["knn"], row["protocols"]["linear"]
    assert (knn["trained"], knn["untrained"], knn["which"]) == pytest.approx((0.55, 0.35, "calibrated"))
    assert (linear["trained"], linear["untrained"], linear["which"]) == pytest.approx((0.7, 0.4, "initialized"))
    assert knn["gain"]["mean"] == pytest.approx(0.2) and knn["gain"]["low"] < 0.2 < knn["gain"]["high"]
    assert knn["by_seed"] == pytest.approx({"0": 0.5, "1": 0.6}) and row["seeds"] == [0, 1] and row["metric"] == "knn"


def test_the_metric_that_counts_is_bold_with_its_interval_and_pixels_stand_beside(bench: Any) -> None:
    said = in_markdown(table_of(*bench))
    (line,) = [line for line in said.splitlines() if line.startswith("| simclr")]
    assert line.startswith("| simclr | **55.0 (35.0), +20.0 [") and line.count("**") == 2
    assert "| 70.0 (40.0) | 25.0 | 1,000 | 2.0 |" in line
    assert "| raw pixels | 20.0 | 21.0 |" in said
    assert "`viewmill bench methods simclr data=a.tar test_data=b.tar seeds=2 'protocols=[knn,linear]'`" in said
    assert "5 cells on 2 cores of a processor, viewmill 1, torch 2, timm 3" in said and "(60 s, then judged in 30 s)" in said
    assert "Stale" not in said and "Missing" not in said and "Failed" not in said and "Not to be published" not in said


def test_what_is_missing_stale_or_failed_is_said(bench: Any) -> None:
    settings, cells, store = bench
    (store.cells / "simclr-untrained-1.json").unlink()
    table = table_of(settings, cells, store, [Failed("simclr-untrained-1", "judging: no room")])
    assert table["missing"] == ["simclr-untrained-1"] and table["rows"][0]["seeds"] == [0]  # an arm alone is no pair
    assert table["rows"][0]["protocols"]["knn"]["gain"]["mean"] == pytest.approx(0.05)
    said = in_markdown(table)
    assert all(words in said for words in ("Missing: simclr-untrained-1.", "Failed: simclr-untrained-1: judging: no room",
                                             "1 of 2 |"))


def test_a_stale_cell_counts_only_where_it_is_to_be_kept(bench: Any) -> None:
    _, _, store = bench
    words = ["simclr", "data=a.tar", "test_data=b.tar", "seeds=2", "protocols=[knn,linear]", "simclr.optimizer.lr=1"]
    for keep in (False, True):
        settings = read([*words, *(["stale=keep"] if keep else [])])
        table = table_of(settings, cells_of(settings, train.read, "a.tar", {"train": "", "test": ""}), store)
        assert table["stale"] == [f"simclr-{kind}-{seed}" for seed in (0, 1) for kind in ("untrained", "trained")]
        assert table["rows"][0]["seeds"] == ([0, 1] if keep else []) and ("knn" in table["rows"][0]["protocols"]) == keep
        assert ("shown as they are" if keep else "to be made again") in in_markdown(table)


def test_networks_tested_on_other_pictures_are_not_compared(bench: Any) -> None:
    settings, cells, store = bench
    cell = next(cell for cell in cells if cell.name == "simclr-trained-1")
    save(store, cell, {"trained": {"knn": 0.9, "linear": 0.9}}, RUN, images=50)
    assert table_of(settings, cells, store)["rows"][0]["protocols"]["knn"]["by_seed"] == pytest.approx({"0": 0.5})


def test_a_table_of_nothing_is_one_too(tmp_path: Path) -> None:
    settings = read(["rotnet", "data=a.tar", "test_data=b.tar", "seeds=1"])
    cells = cells_of(settings, train.read, "a.tar", {"train": "", "test": ""})
    said = in_markdown(table_of(settings, cells, Store(tmp_path)))
    assert "no cell is made yet" in said and "Missing: pixels, rotnet-untrained-0, rotnet-trained-0." in said
