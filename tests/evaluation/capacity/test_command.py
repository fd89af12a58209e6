"""`viewmill plan`: what it takes and prints, and how it refuses."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from viewmill.cli import main
from viewmill.evaluation.capacity.command import planned, undashed
from viewmill.pipelines.shard_writer import write_shard
from viewmill.train import read

SMALL = ["simclr", "recipe=simclr_cifar", "model.backbone=convnet4", "batch_size=32", "epochs=100", "gpus=4", "gpu=h200"]


def test_dashed_words_are_keys_too() -> None:
    assert undashed(["mae", "--gpus", "8", "--gpu=h200", "--json", "epochs=3"]) == [
        "mae", "gpus=8", "gpu=h200", "json=true", "epochs=3"]
    assert undashed(["mae", "--gpus-per-node", "4", "--json"]) == ["mae", "gpus_per_node=4", "json=true"]


def test_json_has_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *SMALL]) == 0
    text = capsys.readouterr().out
    assert main(["plan", *SMALL, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["steps"] == 100 * (1_281_167 // 32)
    assert found["hours"] * 3600 == pytest.approx(found["steps"] * found["step_seconds"])
    assert f"{found['steps']:,} steps" in text
    assert found["fits"] and found["cores_suffice"] == (found["cores"] <= 56)
    assert {each["what"] for each in found["assumptions"]} >= {"share of the roofline", "data", "views", "cores of a node"}
    assert all(each["source"] for each in found["assumptions"])
    for each in found["assumptions"]:
        assert each["what"] in text


def test_data_are_measured(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes, samples = [], []
    for number in range(64):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (48 + number % 2 * 16, 50, 3), dtype=np.uint8)).save(buffer, "JPEG")
        sizes.append(len(buffer.getvalue()))
        samples.append((f"{number:03d}", {"jpg": buffer.getvalue()}))
    write_shard(tmp_path / "a.tar", samples)
    _, found = planned([*SMALL, f"data={tmp_path}/a.tar"], read)
    assert found.data_bytes == pytest.approx(sum(sizes), rel=1e-6)
    assert found.decoded_pixels_per_s / found.images_per_s == pytest.approx(56 * 50)
    assert found.steps == 100 * 2
    _, more = planned([*SMALL, f"data={tmp_path}/a.tar", "images=640", "bytes_per_image=1000"], read)
    assert more.data_bytes == 640_000
    assert more.steps == 100 * 20


@pytest.mark.parametrize(("words", "complaint"), [
    (["simclr", "gpu=h100"], "a plan needs gpus=N, at least 1, and gpu=NAME, one of v100"),
    (["simclr", "gpus=8"], "a plan needs gpus=N, at least 1, and gpu=NAME, one of v100"),
    (["simclr", "gpus=8", "gpu=h1000"], "gpu=h1000 is not known; did you mean h100? use one of"),
    (["simclr", "gpus=12", "gpu=h100"], "gpus=12 are no whole nodes of gpus_per_node=8; use gpus=8"),
    (["simclr", "gpus=8", "gpu=h100", "batch_size=100"], "gpus=8 do not divide it; use batch_size=96"),
    (["simclr", "gpus=8", "gpu=h100", "utilisation=1.5"], "utilisation needs a share in (0, 1] of the GPU's peak, got 1.5"),
    (["simclr", "gpus=8", "gpu=h100", "cores_per_node=0"], "cores_per_node needs a whole number of at least 1, got 0"),
    (["simclr", "gpus=8", "gpu=h100", "gpu_per_node=4"], "unknown key 'gpu_per_node'"),
    (["simclr", "gpus=8", "gpu=h100", "images=100"], "batch_size=4096 needs at least as many images"),
])
def test_mistakes_get_one_line(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *words]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_help_lists_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--help"]) == 0
    text = capsys.readouterr().out
    assert "gpus_per_node=8" in text and "a100-80" in text
