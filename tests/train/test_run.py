"""A run as a user meets it: what it writes, what reaches the method, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from viewmill import train as training
from viewmill.models.training import checkpoint, metrics

from .runs import THREE_EPOCHS, last_state, mae_words, run, words


def test_a_run_leaves_config_metrics_checkpoint_and_curves(unbroken: Path) -> None:
    rows = metrics.read(unbroken / "metrics.jsonl")
    steps = [row for row in rows if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 16))
    assert {"loss", "lr", "images_per_s", "data_wait", "epoch"} <= steps[0].keys()
    assert all(0 <= row["data_wait"] <= 1 and row["images_per_s"] > 0 for row in steps)
    assert [row["data/samples"] for row in steps] == [16 * step for step in range(1, 16)]
    assert all(row["data/read"] >= row["data/decoded"] >= row["data/samples"] and row["data/substituted"] == 0 for row in steps)
    assert not (unbroken / "quarantine.jsonl").exists()
    assert [row["step"] for row in rows if "knn" in row] == [0, 5, 10, 15]
    assert {"knn_raw_pixels", "knn_untrained"} <= rows[0].keys()
    config = json.loads((unbroken / "config.json").read_text())
    assert config["config"]["batch_size"] == 16 and config["recipe"]["name"] == "simclr_cifar" and "torch" in config["versions"]
    assert [p.name for p in checkpoint.written(unbroken / "checkpoints")] == ["step-00000015.pt"]
    assert Image.open(unbroken / "curves.png").width > 600


def test_a_run_ends_by_writing_its_report_unless_it_is_told_not_to(
        shards: Path, unbroken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = unbroken / "report.html"
    assert training.run(words(shards, unbroken, *THREE_EPOCHS, "report=false")) == 0  # it is at its end
    assert not report.exists() and "report " not in capsys.readouterr().out
    assert training.run(words(shards, unbroken, *THREE_EPOCHS)) == 0
    assert f"report     {report}, " in capsys.readouterr().out
    text = report.read_text()
    assert text.count('class="sample"') == 4 and "They could not" not in text and "untrained" in text


def test_the_rate_warms_up_and_ends_near_zero(unbroken: Path) -> None:
    rates = [row["lr"] for row in metrics.read(unbroken / "metrics.jsonl") if "lr" in row]
    assert rates[0] == 0 and max(rates) == rates[2] and rates[-1] < 0.05 * max(rates)


def test_knn_of_pixels_is_what_scikit_learn_style_cosine_voting_finds(unbroken: Path) -> None:
    # Four colours under noise: by hand, raw pixels tell them apart without a mistake.
    assert metrics.read(unbroken / "metrics.jsonl")[0]["knn_raw_pixels"] == 1.0


@pytest.mark.parametrize(("more", "message"), [
    (["batch_size=81"], "batch_size=81 needs at least as many images"),
    (["seed=5"], "seed=0, this run has seed=5"),
    (["model.backbone=test_vit"], "model.backbone=test_resnet, this run has model.backbone=test_vit"),
    (["recipe.global/0.grayscale.p=0"], "another recipe"),
    (["resume=never"], "choose another out="),
    (["knn.test_data=absent-*.tar"], "absent-"),
    (["knn.test_data=SHARDS/train-0.tar", "knn.k=41", "knn.max_images=40", "resume=auto"], "knn.k=41 needs as many"),
])
def test_what_does_not_fit_is_refused(shards: Path, unbroken: Path, more: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(shards, unbroken, "epochs=3", *more)


@pytest.mark.parametrize(("more", "message"), [
    (["model.backbone=resnet19"], "unknown backbone 'resnet19'; did you mean 'resnet1"),
    (["recipe.global.size_px=30", "model.backbone=vit_tiny_patch16_224"], "image size 30 px"),
    (["data=SHARDS/absent-{0..1}.tar"], "absent-"),
    (["data=SHARDS/*.zip"], "zip"),
])
def test_what_cannot_start_is_refused(shards: Path, tmp_path: Path, more: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        run(shards, tmp_path, *more)
    assert "\n" not in str(caught.value)
    assert not checkpoint.written(tmp_path / "checkpoints")


def test_a_checkpoint_of_another_method_is_refused(shards: Path, unbroken: Path) -> None:
    with pytest.raises(ValueError, match="is a checkpoint of simclr, this run is mae; choose another out= or resume="):
        training.train(*training.read(mae_words(shards, unbroken)))


def test_decay_that_changes_is_logged_and_reaches_the_weights_that_decay(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path, "epochs=2", "steps=4", "optimizer.name=adamw", "optimizer.weight_decay=0.04",
        "optimizer.final_weight_decay=0.4", "clip_grad=1e-3", "clip_mode=per-tensor")
    rows = [row for row in metrics.read(tmp_path / "metrics.jsonl") if "lr" in row]
    far = (1 + 0.5**0.5) / 2  # of half a cosine in four steps, after the first
    assert [row["weight_decay"] for row in rows] == pytest.approx([0.04, 0.4 - 0.36 * far, 0.22, 0.4 - 0.36 * (1 - far)])
    assert all(row["grad_norm"] > 1e-3 for row in rows)
    decays, spared = last_state(tmp_path)["optimizer"]["param_groups"]
    assert decays["weight_decay"] == pytest.approx(rows[-1]["weight_decay"]) and spared["weight_decay"] == 0


def test_the_method_is_told_the_epoch_before_each_step_and_the_progress_after(
        shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from viewmill.models.simclr import SimCLR

    told: list[float] = []
    monkeypatch.setattr(SimCLR, "before_step", lambda self, epoch: told.append(epoch))
    monkeypatch.setattr(SimCLR, "after_step", lambda self, progress: told.append(-progress))
    run(shards, tmp_path / "run", "epochs=2", "steps=6")  # 5 steps are an epoch
    assert told == pytest.approx([0, -1 / 6, 0.2, -2 / 6, 0.4, -3 / 6, 0.6, -4 / 6, 0.8, -5 / 6, 1.0, -1.0])


def test_a_batch_in_parts_of_blocks_that_compute_themselves_anew_trains_as_in_one_pass(shards: Path, tmp_path: Path) -> None:
    found = []
    for out, more in (("whole", ()), ("parts", ("accumulate=4", "activation_checkpointing=true"))):
        assert training.main(mae_words(shards, tmp_path / out, "epochs=1", "optimizer.name=sgd", "optimizer.lr=2",
                                       "report=false", *more)) == 0
        losses = [row["loss"] for row in metrics.read(tmp_path / out / "metrics.jsonl") if "loss" in row]
        found.append((losses, last_state(tmp_path / out)["model"]))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4) and len(found[0][0]) == 5
    assert all(torch.allclose(value, found[1][1][name], atol=1e-5) for name, value in found[0][1].items())


def test_a_profiled_run_leaves_a_trace_and_a_page_and_takes_the_same_steps(shards: Path, tmp_path: Path,
                                                                          capsys: pytest.CaptureFixture[str]) -> None:
    for out, more in (("plain", ()), ("profiled", ("profile=true",))):
        run(shards, tmp_path / out, "epochs=5", "report=false", "steps=24", *more)
    assert f"profile    {tmp_path}/profiled/profile/summary.md: where 10 steps went" in capsys.readouterr().out
    page = (tmp_path / "profiled" / "profile" / "summary.md").read_text()
    assert all(f"| {name} | " in page for name in ("data", "forward", "backward", "optimizer", "log", "the rest of the loop"))
    shares = [float(line.split("|")[3].strip(" %")) for line in page.split("operator")[0].splitlines() if line.endswith("% |")]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    trace = json.loads((tmp_path / "profiled" / "profile" / "trace.json").read_text())
    assert any(event.get("name") == "step: backward" for event in trace["traceEvents"])
    one, two = (last_state(tmp_path / out)["model"] for out in ("plain", "profiled"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert not (tmp_path / "plain" / "profile").exists()
