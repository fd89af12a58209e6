"""Cells: when one is stale, and that what is kept is whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewmill import train
from viewmill.evaluation.finetune import TUNINGS
from viewmill.evaluation.linear.probes import PROBES
from viewmill.evaluation.scoreboard import cells as room
from viewmill.evaluation.scoreboard.cells import Cell, Store, cells_of
from viewmill.evaluation.scoreboard.settings import read

SOURCES = {"train": "f1", "test": "f2"}
WORDS = ["simclr", "mae", "data=a.tar", "test_data=b.tar", "seeds=2"]


def keys(*more: str, sources: dict[str, str] = SOURCES, data: Any = "a.tar") -> dict[str, str]:
    return {cell.name: cell.key for cell in cells_of(read([*WORDS, *more]), train.read, data, sources)}


def changed(*more: str, **others: Any) -> set[str]:
    before, after = keys(), keys(*more, **others)
    return {name for name in before if before[name] != after.get(name)}


ALL = {"pixels", *(f"{m}-{kind}-{seed}" for m in ("simclr", "mae") for kind in ("trained", "untrained") for seed in (0, 1))}
SIMCLR = {name for name in ALL if name.startswith("simclr")}


def test_a_cell_for_each_method_and_seed_trained_and_not_and_one_of_pixels() -> None:
    found = cells_of(read(WORDS), train.read, "a.tar", SOURCES)
    assert {cell.name for cell in found} == ALL and len({cell.key for cell in found}) == len(ALL)
    assert [cell.name for cell in found][:3] == ["pixels", "simclr-untrained-0", "simclr-trained-0"]
    assert found[0].protocols == ("knn", "linear") and found[1].protocols == ("knn", "linear", "finetune")
    few = cells_of(read([*WORDS, "protocols=[finetune]"]), train.read, "a.tar", SOURCES)
    assert [cell.protocols for cell in few if cell.seed == 0 and cell.kind == "trained"] == [
        ("knn", "finetune"), ("linear", "finetune")]  # its own metric is there, asked for or not
    assert not any(cell.kind == "pixels" for cell in few)


def test_what_decides_a_figure_makes_it_stale_and_nothing_else() -> None:
    assert changed("simclr.optimizer.lr=1e-3") == SIMCLR  # its untrained network stays, but the pair is made together
    assert changed("simclr.recipe.global.grayscale.p=0") == SIMCLR
    assert changed("train.steps=5") == ALL - {"pixels"}
    assert changed("knn.k=[7]") == ALL and changed("max_test_images=9") == ALL
    assert changed("finetune.epochs=2") == ALL - {"pixels"}
    assert changed(sources={"train": "f1", "test": "other"}) == ALL
    assert changed("split=dev") == ALL
    # Where things lie, how fast they go, how sure a difference is said to be:
    assert changed("out=elsewhere", "torch_threads=1", "threads=1", "resamples=9", "stale=keep", data=["c.tar", "d.tar"]) == set()


def test_other_code_makes_a_cell_stale_and_another_way_of_judging_keeps_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {cell.name: cell for cell in cells_of(read(WORDS), train.read, "a.tar", SOURCES)}
    judged = {cell.name: cell for cell in cells_of(read([*WORDS, "knn.k=[7]"]), train.read, "a.tar", SOURCES)}
    trained = "simclr-trained-0"
    assert judged[trained].key != before[trained].key and judged[trained].training_key == before[trained].training_key
    real = room.code_of
    monkeypatch.setattr(room, "code_of", lambda names: real(names) + "x" * (("models.simclr", "SimCLR") in list(names)))
    edited = {cell.name: cell for cell in cells_of(read(WORDS), train.read, "a.tar", SOURCES)}
    assert {name for name in ALL if edited[name].key != before[name].key} == SIMCLR
    assert edited[trained].training_key != before[trained].training_key


@pytest.mark.parametrize(("numbers", "name", "judged_by_it"), [(TUNINGS, "small", ALL - {"pixels"}), (PROBES, "sweep", ALL),
                                                              (TUNINGS, "mae", set())])
def test_published_numbers_of_judging_make_a_cell_stale_where_it_is_judged_by_them(
        monkeypatch: pytest.MonkeyPatch, numbers: dict[str, Any], name: str, judged_by_it: set[str]) -> None:
    before = keys()
    monkeypatch.setitem(numbers, name, replace(numbers[name], weight_decay=0.123))
    after = keys()
    assert {each for each in before if before[each] != after[each]} == judged_by_it
    # Said by other words, they are the same.
    monkeypatch.undo()
    monkeypatch.setitem(numbers, name, replace(numbers[name], source="elsewhere"))
    assert keys() == before


def cell(key: str = "one", training: str = "t") -> Cell:
    configuration = {"sources": {"train": ""}, "what": key, "training": training}
    return Cell("simclr-trained-0", "trained", "simclr", 0, ("knn",), configuration, "code")


def test_what_is_kept_comes_back_whole_and_knows_when_it_is_stale(tmp_path: Path) -> None:
    store, right = Store(tmp_path), np.array([True, False, True])
    assert store.load(cell().name) is None and store.state(cell()) == "missing"
    store.save(cell(), {"trained": {"knn": {"top1": 2 / 3}}}, {"images_per_s": 9.0}, {("trained", "knn"): right})
    made = store.load(cell().name)
    assert made is not None and made.figures == {"trained": {"knn": {"top1": 2 / 3}}} and made.about == {"images_per_s": 9.0}
    assert np.array_equal(made.correct["trained", "knn"], right)
    assert store.state(cell()) == "made" and store.state(cell("two")) == "stale"
    store.save(cell("two"), {}, {}, {("trained", "knn"): ~right})
    assert store.state(cell("two")) == "made" and len(list((tmp_path / "cells").iterdir())) == 2  # nothing of the old one
    next((tmp_path / "cells").glob("*.npz")).write_bytes(b"cut")
    assert store.state(cell("two")) == "missing"


def test_a_cell_goes_on_in_its_folder_and_another_one_begins_anew_but_for_the_same_training(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def there(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    folder = store.begin(cell())
    (folder / "run").mkdir()
    (folder / "run" / "weights").touch()
    (folder / "judged.json").touch()
    assert there(store.begin(cell())) == {"key", "run/weights", "judged.json"}
    assert there(store.begin(cell("two"))) == {"key", "run/weights"}
    assert there(store.begin(cell("two", training="other"))) == {"key"}
