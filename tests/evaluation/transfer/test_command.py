"""`viewmill eval transfer`: several sets in one command, each by its metric, in one table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from viewmill import cli
from viewmill.evaluation import command
from viewmill.evaluation.transfer.command import DataSet, read
from viewmill.evaluation.transfer.sets import mean_per_class

from ..test_command import refused, write_tar
from ..test_encoder import write_run
from ..voc_folders import write_voc


@pytest.fixture
def run_folder(tmp_path: Path) -> str:
    write_run(tmp_path / "run")
    return str(tmp_path / "run")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three sets: pets in shards, voc2007 as VOC has it, and one that no table knows."""
    for name in ("pets", "mine"):
        (tmp_path / "sets" / name).mkdir(parents=True)
        write_tar(tmp_path / "sets" / name / "train-0.tar", 30, 1)
        write_tar(tmp_path / "sets" / name / "test-0.tar", 12, 2)
    shown = [[("cat", False)], [("dog", False)], [("cat", False), ("dog", False)], [("bird", False), ("cat", True)]]
    write_voc(tmp_path / "sets" / "voc2007", {part: {f"{part}{i}": shown[i % 4] for i in range(count)}
                                              for part, count in (("trainval", 24), ("test", 12))})
    return tmp_path / "sets"


def test_each_set_is_reported_by_its_metric(run_folder: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["transfer", run_folder, f"root={root}", "c=1", "threads=1", "torch_threads=1", "mine.metric=top1"]
    assert cli.main(["eval", *line]) == 0
    printed = capsys.readouterr().out.splitlines()
    start = next(place for place, text in enumerate(printed) if text.startswith("set        metric"))
    assert [text.split()[0] for text in printed[start + 1 : start + 4]] == ["mine", "pets", "voc2007"]
    out = Path(run_folder) / "eval"
    kept = json.loads((out / "transfer.json").read_text())
    assert {name: of["metric"] for name, of in kept["sets"].items()} == {"mine": "top1", "pets": "mean_per_class",
                                                                         "voc2007": "map_11_point"}
    assert kept["sets"]["voc2007"]["value"] > 0.9 and kept["mean"] == np.mean([of["value"] for of in kept["sets"].values()])
    assert kept["command"].split()[:3] == ["viewmill", "eval", "transfer"] and kept["sets"]["pets"]["chosen"] == {"c": 1}
    own = json.loads((out / "transfer" / "pets" / "logistic.json").read_text())
    arrays = np.load(out / "transfer" / "pets" / "logistic.npz")
    assert own["mean_per_class"] == kept["sets"]["pets"]["value"] == mean_per_class(arrays["correct"], np.arange(12) % 3)
    assert np.load(out / "transfer" / "voc2007" / "logistic.npz")["score"].shape == (12, 20)


def test_any_protocol_may_judge(run_folder: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["transfer", run_folder, f"root={root}", "by=knn", "k=[3]", "threads=1", "torch_threads=1"]
    assert "set voc2007 is reported by mean average precision, which by=knn does not give" in refused(capsys, *line)
    assert cli.main(["eval", *line, "sets=[pets]", f"out={root / 'out'}"]) == 0
    kept = json.loads((root / "out" / "transfer.json").read_text())
    assert kept["by"] == "knn" and kept["sets"]["pets"]["metric"] == "mean_per_class" and kept["sets"]["pets"]["value"] == 1
    assert json.loads((root / "out" / "transfer" / "pets" / "knn.json").read_text())["by_k"] == {"3": 1}


def test_a_set_that_is_not_there_is_found_before_the_first_is_judged(run_folder: str, root: Path,
                                                                     capsys: pytest.CaptureFixture[str]) -> None:
    line = ["transfer", run_folder, f"root={root}", "sets=[mine]", "later.data=no/x.tar", "later.test_data=no/y.tar", "c=1"]
    assert cli.main(["eval", *line]) == 2
    said = capsys.readouterr()
    assert "no/x.tar" in said.err and "set        " not in said.out


def test_words_belong_to_a_set_to_the_command_or_to_every_set(tmp_path: Path) -> None:
    config, sets, rest = read(["RUN", "CIFAR-10.data=a", "CIFAR-10.test_data=b", "x.data=c", "x.test_data=d",
                               "x.metric=mean_per_class", "x.val_data=e", "remote.attempts=3", "c=1", "by=logistic"])
    assert sets == {"CIFAR-10": DataSet("a", "b", "top1"), "x": DataSet("c", "d", "mean_per_class", "e")}
    assert sets["x"].words("logistic") == ["data=c", "test_data=d", "metric=mean_per_class", "val_data=e"]
    assert sets["x"].words("knn") == ["data=c", "test_data=d"]
    assert rest == ["remote.attempts=3", "c=1"] and config.by == "logistic"
    assert read(["RUN", "y.data=c", "y.test_data=d"])[1]["y"].metric is None
    assert read(["RUN", "dtd.data=c", "dtd.test_data=d", "dtd.metric=mean_per_class"])[1]["dtd"].metric == "mean_per_class"


@pytest.mark.parametrize(("words", "message"), [
    (["a.data=x"], "set a has no test_data; give a.test_data=PATTERN"),
    (["data=x"], r"takes data of each set: SET.data=..., for example cifar10.data=..."),
    ([], "needs data sets: root=FOLDER, or SET.data=... SET.test_data=... for each"),
    (["sets=[a]"], "sets= are folders of root="),
    (["a.data=x", "a.test_data=y", "a.metric=top5"], "a.metric needs one of top1, mean_per_class, map_11_point, got 'top5'"),
    (["a.data=x", "a.test_data=y", "cc=1"], "unknown key 'cc'"),
])
def test_what_is_wrong_is_one_line(run_folder: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused(capsys, "transfer", run_folder, *words)
    assert "needs one encoder" in refused(capsys, "transfer", *words)


def test_its_manual_says_how_sets_are_named() -> None:
    text = command.manual("transfer")
    assert "SET.data=" in text and "by=logistic" in text and "root=" in text and "transfer" in command.manual()
