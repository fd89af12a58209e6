"""`viewmill eval pseudo_labels`: the table it writes, that a run learns from it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from viewmill import cli
from viewmill.evaluation.command import manual
from viewmill.evaluation.features import Features
from viewmill.evaluation.opening import open_encoder
from viewmill.evaluation.pseudo_labels import ClusterConfig, clustered, seen_by
from viewmill.models.layers import maps
from viewmill.models.pseudo_labels import PseudoLabels, PseudoLabelsConfig

from .test_command import refused, write_tar
from .test_encoder import write_run

CPU = torch.device("cpu")


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """An untrained network, and red, green and blue pictures without labels, picture n of colour n % 3."""
    write_run(tmp_path / "run")
    return ["pseudo_labels", str(tmp_path / "run"), f"data={write_tar(tmp_path / 'train.tar', 60, 1, labels=False)}",
            f"out={tmp_path / 'clusters.npy'}", "clusters=3", "device=cpu", "threads=1", "torch_threads=1"]


def table_of(words: list[str], *more: str) -> np.ndarray:
    assert cli.main(["eval", *words, *more]) == 0
    found: np.ndarray = np.load(next(word.removeprefix("out=") for word in words if word.startswith("out=")), allow_pickle=False)
    return found


def test_pictures_that_look_alike_share_a_cluster_and_a_network_can_learn_it(
        words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_of(words)
    assert table.shape == (60,) and table.dtype == np.int64
    assert [len(set(table[colour::3])) for colour in range(3)] == [1, 1, 1] and len(set(table)) == 3
    out = capsys.readouterr().out
    assert "clustered  60 of 60 pictures, 256 values each" in out and "3, of 20 to 20 pictures, 0 empty" in out
    table_file = tmp_path / "clusters.npy"
    assert f"viewmill train pseudo_labels data={tmp_path / 'train.tar'} model.labels={table_file} model.clusters=3" in out
    facts = json.loads((tmp_path / "clusters.npy.json").read_text())
    assert (facts["smallest"], facts["largest"], facts["empty"]) == (20, 20, 0) and facts["config"]["clusters"] == 3
    # Another network than the one whose features were clustered.
    method = PseudoLabels(PseudoLabelsConfig("test_vit", str(tmp_path / "clusters.npy"), 3), image_px=32, images=60)
    assert method.labels is not None and method.labels.tolist() == table.tolist()


def test_the_same_seed_gives_the_same_table(words: list[str]) -> None:
    assert (table_of(words) == table_of(words)).all()


def test_a_layers_map_can_be_clustered_instead(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_of(words, "layer=conv2", "values=256")
    assert [len(set(table[colour::3])) for colour in range(3)] == [1, 1, 1]
    assert "256 values each" in capsys.readouterr().out
    encoder = open_encoder(str(tmp_path / "run"))
    see = seen_by(encoder, ClusterConfig(data="", layer="conv2", values=256))
    images = torch.rand(2, 3, 32, 32)
    assert see is not None
    with torch.no_grad():  # 64 channels of 8 x 8: the largest of each quarter
        quarters = maps(encoder.module, images)["conv2"].unflatten(3, (2, 4)).unflatten(2, (2, 4)).amax((3, 5))
        assert torch.equal(see(images), quarters.flatten(1))


def test_pictures_that_were_not_read_have_no_cluster() -> None:
    x = torch.tensor([[0.0], [10.0], [0.1], [10.1]])
    features = Features(x, torch.full((4,), -1), torch.tensor([0, 2, 3, 5]))
    table, facts = clustered(features, 6, ClusterConfig(data="", clusters=2), CPU)
    assert table[[1, 4]].tolist() == [-1, -1] and table[0] == table[3] != table[2] == table[5]
    assert facts == {"smallest": 2, "largest": 2, "empty": 0}
    with pytest.raises(ValueError, match="clusters=5 needs as many pictures, 4 can be read; use fewer"):
        clustered(features, 6, ClusterConfig(data="", clusters=5), CPU)


def test_what_cannot_be_is_refused_in_one_line(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, run, data = words[:3]
    for given, expected in (
            ([name, data], "needs one encoder"), ([name, run], "needs pictures: data=PATTERN"),
            ([name, run, data, "clusters=1"], "clusters needs a whole number of at least 2, got 1"),
            ([name, run, data, "out=clusters.pt"], "the table is a file of NumPy's; give out=NAME.npy"),
            ([name, run, data, f"out={tmp_path}/nowhere/a.npy"], "there is no folder"),
            ([*words, "layer=conv9"], "has conv1, conv2, conv3, conv4"), ([*words, "clusters=61"], "needs as many pictures, 60"),
            ([*words, "cluster=3"], "clusters")):
        assert expected in refused(capsys, *given)


def test_the_manual_names_it() -> None:
    assert "pseudo_labels" in manual() and "clusters" in manual("pseudo_labels")
