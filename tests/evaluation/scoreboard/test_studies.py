"""Studies: their runs as arms of a table, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewmill import train
from viewmill.evaluation.scoreboard import studies
from viewmill.evaluation.scoreboard.cells import Store, cells_of
from viewmill.evaluation.scoreboard.studies import Study
from viewmill.evaluation.scoreboard.table import in_markdown, table_of
from viewmill.models import METHODS

DATA = ("data=a.tar", "test_data=b.tar")
WARM = Study("How warm?", (("t-0.1", "simclr", ("model.temperature=0.1",)), ("t-1", "simclr", ("model.temperature=1",)),
                           ("masked", "mae", ())))


@pytest.mark.parametrize("name", studies.names())
def test_the_runs_of_each_study_can_be_trained(name: str) -> None:
    settings = studies.read([name, *DATA])
    assert settings.title.endswith("?") and len({arm.name for arm in settings.arms}) == len(settings.arms) > 1
    trained = [train.read([arm.method, "data=a.tar", *arm.words]) for arm in settings.arms]
    assert len({repr(run) for run in trained}) == len(trained)  # no two are the same
    assert settings.config.out == f"runs/{name}" and settings.config.protocols == ()


def test_runs_share_the_untrained_network_of_their_method(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(studies, "study", lambda name: WARM)
    settings = studies.read(["warm", *DATA, "seeds=1", "train.steps=7", "out=here"])
    assert settings.config.out == "here" and settings.typed[:2] == ("study", "warm")
    assert settings.arms[1].words == ("recipe=simclr_cifar", *METHODS["simclr"].small, "model.temperature=1", "steps=7")
    cells = cells_of(settings, train.read, "a.tar", {"train": "", "test": ""})
    assert [cell.name for cell in cells] == ["t-0.1-untrained-0", "t-0.1-trained-0", "t-1-trained-0", "masked-untrained-0",
                                             "masked-trained-0"]
    assert "model.temperature=1" in cells[2].words and cells[2].words[0] == "simclr"
    store = Store(tmp_path)
    for cell, right in zip(cells, (30, 50, 60, 20, 40), strict=True):
        metric, state = METHODS[cell.method].metric, "trained" if cell.kind == "trained" else "initialized"
        about: dict[str, Any] = {"cpu": "a processor", "cores": 2, "viewmill": "1", "torch": "2", "timm": "3"}
        store.save(cell, {state: {metric: {"top1": right / 100}}}, about, {(state, metric): np.arange(100) < right})
    said = in_markdown(table_of(settings, cells, store))
    assert said.startswith("How warm?\n") and "`viewmill bench study warm data=a.tar" in said
    assert "| t-1 | **60.0 (30.0), +30.0 [" in said and "| masked |  | **40.0 (20.0), +20.0 [" in said
    assert "- t-1: `viewmill train simclr recipe=simclr_cifar" in said


@pytest.mark.parametrize(("words", "message"), [
    ([*DATA], "which study\\?.*nce_negatives"), (["nce_negativs", *DATA], "unknown study 'nce_negativs'.*nce_negatives"),
    (["nce_negatives", "data=a.tar"], "needs labelled pictures: test_data"),
    (["nce_negatives", *DATA, "sedes=1"], "unknown key 'sedes'.*seeds")])
def test_what_makes_no_study_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        studies.read(words)
