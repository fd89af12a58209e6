"""`viewmill eval detection` and `segmentation` as a user meets them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch
from viewmill import cli
from viewmill.evaluation.command import manual as of_all
from viewmill.models.backbone import backbone

from .sets import write_coco, write_voc

TINY = ["backbone=convnet4", "image_px=32", "steps=1", "batch_size=2", "threads=1", "torch_threads=1"]


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A file of an untrained network's weights."""
    torch.manual_seed(0)
    torch.save(backbone("convnet4", 32)[0].state_dict(), tmp_path / "weights.pt")
    return str(tmp_path / "weights.pt")


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["eval", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("viewmill: ") and error.count("\n") == 1
    return error


def test_things_are_found_and_the_figures_kept(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, test_data = write_coco(tmp_path, "train2017", 4), write_coco(tmp_path, "val2017", 3, 20)
    words = ["detection", weights, f"data={data}", f"test_data={test_data}", f"out={tmp_path / 'out'}", *TINY, "masks=true",
             "pyramid_dim=8", "head_dim=16", "sides_px=[24]", "test_side_px=24"]
    assert cli.main(["eval", *words]) == 0
    said = capsys.readouterr().out
    for line in ("encoder    convnet4 of weights.pt, 0.39 million weights", "detection: 1 steps of 2, 3 pictures, 0.667 epochs",
                 "pictures   4 to learn from, 3 to be tested on, 2 classes", "box        AP ", "mask       AP "):
        assert f"\n{line}" in f"\n{said}"
    kept = json.loads((tmp_path / "out" / "detection.json").read_text())
    assert (kept["eval"], kept["encoder"], kept["pictures"], kept["test_pictures"]) == ("detection", weights, 4, 3)
    assert set(kept["box"]) == set(kept["mask"]) == {"AP", "AP50", "AP75", "APs", "APm", "APl"} and "voc" not in kept
    assert kept["command"] == shlex.join(["viewmill", "eval", *words])
    assert kept["config"]["sides_px"] == [24] and kept["config"]["schedule"]["lr"] == 5e-5 and kept["config"]["lr"] is None


def test_pixels_are_named_and_the_figures_kept(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, test_data = write_voc(tmp_path, "train", 4), write_voc(tmp_path, "val", 3, 20)
    words = ["segmentation", weights, f"data={data}", f"test_data={test_data}", f"out={tmp_path / 'out'}", *TINY, "short_px=24",
             "crop_px=24"]
    assert cli.main(["eval", *words]) == 0
    said = capsys.readouterr().out
    assert "4 to learn from, 3 to be tested on, 3 classes" in said and "\nmIoU       0." in said
    kept = json.loads((tmp_path / "out" / "segmentation.json").read_text())
    assert 0 < kept["miou"] < 1 and set(kept["iou"]) == {"0", "1", "2"} and kept["classes"] == 3


def test_what_is_missing_or_amiss_is_said_in_a_line(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_coco(tmp_path, "train2017", 3)
    assert "did you mean 'detection'" in refused(capsys, "detektion", weights, f"data={data}")
    assert "needs one encoder" in refused(capsys, "detection", f"data={data}")
    assert "eval detection needs test_data=, COCO's JSON" in refused(capsys, "detection", weights, f"data={data}")
    common = [weights, f"data={data}", f"test_data={data}", *TINY]
    assert "unknown key 'stepz'; did you mean 'steps'" in refused(capsys, "detection", *common, "stepz=3")
    assert "convnet4 of weights.pt is none; use neck=pyramid" in refused(capsys, "detection", *common, "neck=c4")
    content, cubes = json.loads(data.read_text()), [{"id": 3, "name": "cube"}, {"id": 7, "name": "disc"}]
    for name, change, said in (("none", {"annotations": []}, "shows nothing to learn"),
                               ("cube", {"categories": cubes}, "the class 'cube'")):
        (tmp_path / "annotations" / f"{name}_train2017.json").write_text(json.dumps({**content, **change}))
        first, second = (data, f"{tmp_path}/annotations/{name}_train2017.json")[:: -1 if name == "none" else 1]
        assert said in refused(capsys, "detection", weights, f"data={first}", f"test_data={second}", *TINY)
    assert "has nothing to be found" in refused(capsys, "detection", weights, f"data={data}",
                                                f"test_data={tmp_path}/annotations/none_train2017.json", *TINY)


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_the_manual_has_all_keys_and_protocols(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", task, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"Keys of {task}:" in said and "protocol=small" in said and "  small " in said
    assert ("moco_voc" if task == "detection" else "mmselfsup") in said and task in of_all()
