"""`viewmill eval` as a user meets it: what it prints and keeps, how it goes on, what it refuses."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from viewmill import cli
from viewmill.evaluation import command
from viewmill.evaluation.command import PROTOCOLS, default_out, manual, read
from viewmill.models.training import process
from viewmill.models.training.manual import rows

from tests.world import World

from .test_encoder import write_run

REPOSITORY = Path(__file__).resolve().parents[2]


def write_tar(path: Path, count: int, seed: int, labels: bool = True) -> str:
    """Red, green and blue under noise, 32 px."""
    rng = np.random.default_rng(seed)
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            pixels = np.clip(150 * np.eye(3)[number % 3] + 40 + rng.normal(0, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
            picture = io.BytesIO()
            Image.fromarray(pixels).save(picture, "png")
            entries = {"png": picture.getvalue(), **({"cls": str(number % 3).encode()} if labels else {})}
            for suffix, content in entries.items():
                entry = tarfile.TarInfo(f"{number:04d}.{suffix}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return str(path)


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """An untrained run, and pictures to judge it by."""
    write_run(tmp_path / "run")
    return [str(tmp_path / "run"), f"data={write_tar(tmp_path / 'train.tar', 90, 1)}",
            f"test_data={write_tar(tmp_path / 'test.tar', 30, 2)}"]


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["eval", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("viewmill: ") and error.count("\n") == 1
    return error


def test_a_run_is_judged_and_the_result_kept(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", "knn", *words, "k=[5,1]"]) == 0
    out = capsys.readouterr().out
    assert f"encoder    simclr of {tmp_path / 'run'}, step 7, 0.39 million weights, 256 features, 32 px" in out
    assert "90 to learn from, 30 to be tested on, 3 classes" in out and "knn        top-1 1.0000" in out
    kept = json.loads((tmp_path / "run" / "eval" / "knn.json").read_text())
    assert kept["top1"] == 1 and kept["by_k"] == {"5": 1, "1": 1} and kept["config"]["tau"] == 0.07
    assert (kept["pictures"], kept["test_pictures"], kept["encoder"]) == (90, 30, words[0])
    answers = np.load(tmp_path / "run" / "eval" / "knn.npz")
    assert answers["correct"].tolist() == [True] * 30 and answers["index"].tolist() == list(range(30))


def test_the_second_evaluation_finds_the_features_of_the_first(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["eval", "knn", *words, "k=[3]"]) == 0
    monkeypatch.setattr("viewmill.evaluation.features._made", lambda *given: pytest.fail("features were made again"))
    assert cli.main(["eval", "knn", *words, "k=[9]"]) == 0


def test_features_of_half_precision_are_kept_apart(words: list[str], tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        assert cli.main(["eval", "knn", *words, "k=3", f"out={tmp_path / 'o'}", f"precision={precision}"]) == 0
    full, half = ({path.relative_to(folder) for path in folder.rglob("*.safetensors")}
                  for folder in (tmp_path / "o" / "features", tmp_path / "o" / "bf16" / "features"))
    assert full and full == half


@pytest.mark.parametrize("protocol", ["linear", "linear solver=lbfgs"])
def test_a_linear_probe(words: list[str], protocol: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, *more = protocol.split()
    keys = ["epochs=20", "batch_size=16"] if not more else []
    assert cli.main(["eval", name, *words, *more, *keys]) == 0
    assert "linear     top-1 1.0000" in capsys.readouterr().out


@pytest.mark.parametrize(("protocol", "printed"), [
    ("fewshot ways=3 shots=[4,1] queries=5 episodes=9", "fewshot    top-1 1.0000\nby shots   4 1.0000  1 1.0000\n"),
    ("clusters", "clusters   NMI 1.0000, ARI 1.0000, purity 1.0000, accuracy 1.0000\nof training nmi 1.0000"),
])
def test_what_has_more_figures_than_one(words: list[str], protocol: str, printed: str, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    name, *keys = protocol.split()
    assert cli.main(["eval", name, *words, *keys, "threads=1", "torch_threads=1"]) == 0
    assert printed in capsys.readouterr().out
    arrays = np.load(tmp_path / "run" / "eval" / f"{name}.npz")
    assert arrays["index"].shape == (30,) and "correct" not in arrays


def test_few_labels_at_two_shares(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["labels=[0.3,0.6]", "epochs=1", "batch_size=9", "warmup_epochs=0", "sidecar=false", "torch_threads=1", "threads=1"]
    assert cli.main(["eval", "semi", *words, *few]) == 0
    assert "\nby labels  0.3 " in capsys.readouterr().out
    kept = json.loads((tmp_path / "run" / "eval" / "semi.json").read_text())
    assert kept["config"]["labels"] == [0.3, 0.6] and kept["shares"]["0.6"]["train_images"] == 54
    assert Path(kept["shares"]["0.3"]["split"]).read_text().count("\n") == 27
    assert (tmp_path / "run" / "eval" / "semi" / "0.3" / "finetune" / "classifier.pt").is_file()


def test_a_part_of_the_pictures_is_the_same_part_every_time(words: list[str], tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        assert cli.main(["eval", "knn", *words, "k=[1]", "max_images=40", "max_test_images=10", f"out={tmp_path / 'o'}"]) == 0
        found.append(np.load(tmp_path / "o" / "knn.npz")["index"].tolist())
    assert found[0] == found[1] and len(found[0]) == 10
    assert json.loads((tmp_path / "o" / "knn.json").read_text())["pictures"] == 40


def test_where_results_go_by_default(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    for what in (tmp_path / "run", tmp_path / "run" / "checkpoints", tmp_path / "run" / "checkpoints" / "step-00000007.pt"):
        assert default_out(str(what)) == str(tmp_path / "run" / "eval")
    (tmp_path / "dino b.pth").touch()
    assert default_out(str(tmp_path / "dino b.pth")) == "eval/dino-b" and default_out("vit_base/x") == "eval/vit_base-x"


def test_what_is_wrong_is_one_line(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data, test = words
    unlabelled = write_tar(tmp_path / "plain.tar", 6, 1, labels=False)
    assert "which protocol? viewmill eval PROTOCOL ENCODER data=" in refused(capsys, "knnn", *words)
    assert "eval knn needs one encoder, a run's folder, a checkpoint" in refused(capsys, "knn", data, test)
    assert "knn needs labelled pictures: test_data=PATTERN" in refused(capsys, "knn", run, data)
    assert "unknown key 'kk'; did you mean 'k'" in refused(capsys, "knn", *words, "kk=3")
    assert "unknown key 'test_dat'; did you mean 'test_data'" in refused(capsys, "knn", *words, "test_dat=3")
    assert "tau needs a number (float), got 'warm'" in refused(capsys, "knn", *words, "tau=warm")
    assert "k=200 needs as many training pictures, data=" in refused(capsys, "knn", *words)
    assert f"test_data={unlabelled} has no labels" in refused(capsys, "knn", run, data, f"test_data={unlabelled}")
    assert "there is no run and no file nowhere/x" in refused(capsys, "knn", "nowhere/x", data, test)
    assert "seed needs a whole number of at least 0, got -1" in refused(capsys, "knn", *words, "seed=-1")


def test_a_class_that_training_lacks_is_one_line(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in (0, 7):
        (tmp_path / "folder" / f"{label}").mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "folder" / f"{label}" / "a.png")
    error = refused(capsys, "knn", words[0], f"data={tmp_path / 'folder'}", words[2], "k=[1]")
    assert "test.tar has label 2, which" in error and "3 classes there, 2 here; give two parts of one data set" in error


def test_two_evaluations_in_one_folder_are_refused(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from viewmill.models.training.process import alone_in

    with alone_in(tmp_path / "run" / "eval"):
        assert "another run is writing to" in refused(capsys, "knn", *words)


def test_a_network_teaches_another_what_it_learned_of_a_few_labels(
        words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, _, test = words
    few = ["epochs=8", "batch_size=8", "sidecar=false", "torch_threads=1", "threads=1"]
    assert cli.main(["eval", "finetune", *words, "head_layers=1", "labels=0.4", *few]) == 0
    kept = json.loads((tmp_path / "run" / "eval" / "finetune.json").read_text())
    assert (kept["train_images"], kept["pictures"], kept["config"]["head_layers"], kept["config"]["labels"]) == (36, 90, 1, 0.4)
    unlabelled = write_tar(tmp_path / "plain.tar", 90, 1, labels=False)
    distill = ["distill", "convnet4", "pretrained=false", "image_px=32", f"data={unlabelled}", test, f"teacher={run}", *few]
    capsys.readouterr()
    assert cli.main(["eval", *distill, f"out={tmp_path / 'small'}"]) == 0
    printed = capsys.readouterr().out
    assert "90 to learn from, 30 to be tested on\n" in printed and "distill    top-1 " in printed
    kept = json.loads((tmp_path / "small" / "distill.json").read_text())
    assert kept["top1"] > 0.6 and kept["teacher"].startswith("simclr of ") and kept["labelled_images"] == 0
    assert "distill needs pictures: data=PATTERN" in refused(capsys, "distill", run, test)
    assert "eval distill needs a teacher, teacher=FOLDER" in refused(capsys, "distill", run, f"data={unlabelled}", test)


def test_layers_inside_the_head_are_judged_too_and_refused_where_they_have_no_part(
        words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", "knn", *words, "k=[5]", "head_layers=2"]) == 0
    assert "128 features, 32 px" in capsys.readouterr().out
    assert "head_layers=1 is for knn, linear, finetune and distill" in refused(capsys, "layers", *words, "head_layers=1")
    assert "kinds=cls1 are tokens of the backbone; with head_layers=1" in refused(
        capsys, "linear", *words, "head_layers=1", "kinds=cls1")
    assert "head_layers=3: the projection head of simclr of" in refused(capsys, "knn", *words, "head_layers=3")
    assert "head_layers needs a whole number of at least 0, got -1" in refused(capsys, "knn", *words, "head_layers=-1")


def test_the_manual_names_every_key() -> None:
    text = manual("knn")
    assert "tau=0.07" in text and "test_data=" in text and "remote.attempts=8" in text
    assert all(f"  {name}" in text for name in PROTOCOLS)
    with pytest.raises(ValueError, match="viewmill eval has no protocol 'kn'; did you mean 'knn'"):
        manual("kn")
    assert rows([("a", "1", "b")]) == [f"  {'a=1':<38} b"]


def test_no_protocol_s_key_hides_a_common_one() -> None:
    common = set(vars(command.EvalConfig(data="x", test_data="y")))
    for protocol in PROTOCOLS.values():
        assert not common & set(vars(protocol.defaults({})))


def test_keys_reach_their_owner() -> None:
    name, what, config, own = read(["knn", "resnet18", "data=a", "test_data=b", "k=[7]", "max_images=9", "remote.attempts=2"])
    assert (name, what, config.max_images, own.k, config.remote.attempts) == ("knn", "resnet18", 9, (7,), 2)


def test_a_single_value_is_a_list_of_one() -> None:
    assert read(["knn", "r", "data=a", "test_data=b", "k=7"])[3].k == (7,)
    assert read(["linear", "r", "data=a", "test_data=b", "lr=0.3", "kinds=cls4"])[3].lr == (0.3,)
    assert read(["linear", "r", "data=a", "test_data=b", "lr=null"])[3].lr is None
    with pytest.raises(ValueError, match=r"k needs a list like \[int\], got 'many'"):
        read(["knn", "r", "data=a", "test_data=b", "k=many"])


@pytest.mark.parametrize(("number", "status"), [
    (signal.SIGTERM, 0), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)])
def test_a_stopped_evaluation_says_how_to_go_on_and_does(words: list[str], tmp_path: Path, number: int, status: int) -> None:
    out = f"out={tmp_path / 'o'}"
    line = ["linear", *words, out, "epochs=100000", "batch_size=16", "lr=[0.1]"]
    start = [sys.executable, "-m", "viewmill.cli", "eval"]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".dev")}
    # Whoever starts the tests may have switched these signals off for its children.
    loose = lambda: [signal.signal(each, signal.SIG_DFL) for each in (signal.SIGTERM, signal.SIGINT)]  # noqa: E731
    ran = subprocess.Popen([*start, *line], stdout=subprocess.PIPE, text=True, env=env, preexec_fn=loose)
    assert ran.stdout is not None
    for text in ran.stdout:
        if text.startswith("linear: 1 heads"):
            break
    time.sleep(0.3)
    ran.send_signal(number)
    rest = ran.stdout.read()
    assert ran.wait(30) == status
    assert f"stopped by {signal.Signals(number).name} after step" in rest and "give the same command again to go on" in rest
    assert list((tmp_path / "o").rglob("step-*.pt")) and not (tmp_path / "o" / "linear.json").exists()


def on_a_rank(words: list[str]) -> float:
    name, what, config, own = read(words)
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    here = process.World(rank, ranks, rank, ranks, torch.device("cpu"))
    return float(command.evaluate(name, what, config, own, here)["top1"])


@pytest.mark.parametrize("protocol", ["knn k=[5]", "linear epochs=3 batch_size=18 lr=[0.01]"])
def test_two_ranks_find_what_one_process_finds(words: list[str], tmp_path: Path, world: World, protocol: str) -> None:
    name, *keys = protocol.split()
    line = [name, *words, *keys, "cache=false"]
    assert cli.main(["eval", *line, f"out={tmp_path / 'one'}"]) == 0
    alone = json.loads((tmp_path / "one" / f"{name}.json").read_text())["top1"]
    for found in world(2, on_a_rank, [*line, f"out={tmp_path / 'two'}"]):
        assert found == alone
