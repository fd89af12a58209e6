"""FCN on backbones of ours: losses of pixels that have a class, maps at the pictures' own size, going on after a stop."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from viewmill.evaluation.dense import coco, segmentation, voc
from viewmill.evaluation.dense.config import SegmentationConfig
from viewmill.evaluation.dense.scenes import VOID, Scenes
from viewmill.evaluation.dense.surroundings import Surroundings
from viewmill.evaluation.dense.training import Training
from viewmill.evaluation.resumable import Stopped
from viewmill.models.training.errors import RunFailure
from viewmill.models.training.process import World

from .sets import LEVEL, picture, small, write_coco, write_voc

NAMES = ("background", "block", "disc")


def config(**keys: Any) -> SegmentationConfig:
    return SegmentationConfig(**{"data": "a.json", "test_data": "b.json", "steps": 3, "batch_size": 2, "short_px": 48,
                                 "crop_px": 40, **keys})


def scenes(tmp_path: Path) -> tuple[Scenes, Scenes]:
    paths = write_coco(tmp_path, "train2017", 6), write_coco(tmp_path, "val2017", 4, 20)
    return coco.read(paths[0], masks=True), coco.read(paths[1], masks=True)


def test_an_example_s_classes_lie_where_its_pixels_do(tmp_path: Path) -> None:
    train, of = scenes(tmp_path)[0], config(ratio=(0.8, 1.6)).schedule()
    for epoch in range(6):
        pixels, classes = segmentation.example(train.scenes[1], of, 0, epoch, 1)
        assert pixels.shape[1:] == classes.shape and max(classes.shape) <= 40
        told = (pixels.float() - 50).abs().sum(0) > 150  # things are bright, all else is about 50
        assert (told == (classes > 0)).float().mean() > 0.93
    assert torch.equal(segmentation.example(train.scenes[1], of, 0, 5, 1)[0], pixels)


def test_a_cut_where_one_class_has_too_much_is_made_anew(tmp_path: Path) -> None:
    train = scenes(tmp_path)[0]
    shares = {}
    for most in (0.75, 1.0):
        of = config(short_px=96, crop_px=48, ratio=(1.0, 1.0), most_of_one=most).schedule()
        cuts = [segmentation.example(train.scenes[1], of, 0, epoch, 1)[1] for epoch in range(30)]
        shares[most] = sum(float((each == 0).float().mean()) >= 0.75 for each in cuts)
    assert shares[0.75] < shares[1.0] / 2


def test_pixels_without_a_class_do_not_count() -> None:
    of = config().schedule()
    network: Any = segmentation.Segmenter(small("resnet18", 48, width=0.125), 3, of)
    for head in (network.fcn.classifier, network.fcn.aux_classifier):
        torch.nn.init.zeros_(head[-1].weight)
        head[-1].bias.data.copy_(torch.tensor([0.0, 1.0, 0.0]))
    losses = segmentation.Losses(of, network, 3)
    classes = torch.full((20, 24), VOID, dtype=torch.uint8)
    classes[:3, :4], classes[5:7, :6] = 1, 2
    void = torch.full((33, 10), VOID, dtype=torch.uint8)
    found = losses(network.train(), [(torch.zeros(3, 20, 24), classes), (torch.zeros(3, 33, 10), void)])
    # Twelve pixels at exp(1), twelve at exp(0), of exp(1) + 2 each.
    expected = math.log(math.e + 2) - 0.5
    assert found["out"].item() == pytest.approx(expected, abs=1e-5)
    assert found["aux"].item() == pytest.approx(0.4 * expected, abs=1e-5)
    classes[0, 0] = 3
    with pytest.raises(ValueError, match="a training picture has pixels of class 3, known are 0 to 2"):
        losses(network, [(torch.zeros(3, 20, 24), classes)] * 2)


class ByColour(torch.nn.Module):
    """Knows the classes of our pictures; half the size of what it is shown."""

    def batch(self, pictures: list[Tensor]) -> Tensor:
        return torch.nn.functional.pad(pictures[0][None].float(), (0, 7, 0, 5))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        levels = torch.tensor(np.array([(50, 50, 50), *LEVEL]), dtype=torch.float32)
        return {"out": -(images[:, None] - levels[None, :, :, None, None]).square().sum(2)}


def test_maps_are_judged_at_the_picture_s_own_size(tmp_path: Path) -> None:
    test = voc.read_maps(write_voc(tmp_path, "val", 5), "SegmentationClass")
    of, network = config(short_px=96).schedule(), ByColour()
    counts = segmentation.confusion(network, test, 3, of, Surroundings(tmp_path))  # type: ignore[arg-type]
    assert counts.sum() == 5 * 46 * 64  # two rows of each are void
    expected = [sum(int(inside[2:].sum()) for number in range(5) for label, _, inside in picture(number)[1] if label == kind)
                for kind in (0, 1)]
    assert counts.sum(1)[1:].tolist() == expected
    assert np.diag(counts).sum() / counts.sum() > 0.97
    with pytest.raises(ValueError, match="a test picture has pixels of class 2"):
        segmentation.confusion(network, test, 2, of, Surroundings(tmp_path))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "options", "heads"), [
    ("resnet18", {"width": 0.125}, {"out", "aux"}),
    ("vit_tiny_patch16_224", {"embed_dim": 16, "depth": 1, "heads": 2, "patch_px": 8}, {"out"}),
])
def test_each_kind_of_network_tells_every_pixel(name: str, options: dict[str, Any], heads: set[str]) -> None:
    network = segmentation.Segmenter(small(name, 48, **options), 3, config().schedule())
    assert network.levels.strides[-1] == 8
    images = network.batch([torch.zeros(3, 20, 44), torch.zeros(3, 33, 10)])
    assert images.shape == (2, 3, 40, 48) and bool((images[1, :, :33, :10] != 0).all())
    assert bool((images[1, :, :, 10:] == 0).all()) and bool((images[1, :, 33:] == 0).all())
    found = network.train()(images)
    assert set(found) == heads and all(each.shape == (2, 3, 40, 48) for each in found.values())
    sum(each.sum() for each in found.values()).backward()
    assert not [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]


def test_a_stopped_run_goes_on_to_the_same_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = scenes(tmp_path)
    encoder = small("resnet18", 48, width=0.125)

    def run(out: str) -> dict[str, Any]:
        return segmentation.run(encoder, train, test, NAMES, config(), Surroundings(tmp_path / out, say=lambda text: None))

    whole, step = run("whole"), Training.step
    assert 0 < whole["miou"] < 1 and whole["iou"].keys() == set(NAMES)

    def stopped(self: Training, number: int) -> Any:
        if number == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, number)

    monkeypatch.setattr(Training, "step", stopped)
    with pytest.raises(Stopped, match="segmentation stopped by SIGINT after step 2 of 3"):
        run("cut")
    monkeypatch.setattr(Training, "step", step)
    assert run("cut") == whole


def test_what_cannot_be_trained_ends_in_a_line(tmp_path: Path) -> None:
    train, test = scenes(tmp_path)
    encoder = small("resnet18", 48, width=0.125)
    with pytest.raises(RunFailure, match="the loss is not finite at step 2 of 2; try a lower lr"):
        segmentation.run(encoder, train, test, NAMES, config(steps=2, lr=1e30), Surroundings(tmp_path / "out"))
    four = Surroundings(tmp_path / "out", World(0, 4, 0, 4, torch.device("cpu")))
    with pytest.raises(ValueError, match="batch_size=2 is for all ranks together; 4 ranks need a whole share each"):
        segmentation.run(encoder, train, test, NAMES, config(), four)


@pytest.mark.slow
def test_a_network_learns_what_pixels_show(tmp_path: Path) -> None:
    train = coco.read(write_coco(tmp_path, "train2017", 40), masks=True)
    test = coco.read(write_coco(tmp_path, "val2017", 12, 100), masks=True)
    of = config(steps=150, batch_size=4, lr=3e-3)
    found = segmentation.run(small("resnet18", 32, width=0.25), train, test, NAMES, of, Surroundings(tmp_path / "out"))
    assert found["miou"] > 0.8
