"""Faster and Mask R-CNN on backbones of ours: what they are shown, what they learn, and going on after a stop."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as library
from viewmill.evaluation.dense import coco, detection, voc
from viewmill.evaluation.dense.config import DetectionConfig
from viewmill.evaluation.dense.detector import detector
from viewmill.evaluation.dense.placement import Placement
from viewmill.evaluation.dense.scenes import Scenes
from viewmill.evaluation.dense.surroundings import Surroundings
from viewmill.evaluation.dense.training import Training
from viewmill.evaluation.encoder import fingerprint_of
from viewmill.evaluation.resumable import Stopped
from viewmill.models.training.process import World

from .sets import picture, small, write_coco, write_voc

VIT: dict[str, Any] = {"embed_dim": 16, "depth": 1, "heads": 2, "patch_px": 8}


def config(**keys: Any) -> DetectionConfig:
    return DetectionConfig(**{"data": "a.json", "test_data": "b.json", "steps": 3, "batch_size": 2, "sides_px": (48, 56),
                              "test_side_px": 48, "pyramid_dim": 8, "head_dim": 16, **keys})


def test_an_example_shows_things_where_they_are(tmp_path: Path) -> None:
    scene = coco.read(write_coco(tmp_path, "train2017", 3), masks=True).scenes[1]
    _, things = picture(1)
    shown = Placement((0.0, 0.0, 32.0, 48.0), (96, 64), mirrored=True)  # the left half, twice as large
    pixels, target = detection.example(scene, shown, masks=True)
    (label, (x0, y0, x1, y1), inside), _ = things
    assert pixels.shape == (3, 96, 64) and pixels.dtype == torch.uint8
    assert target["boxes"].tolist() == [[64 - 2 * x1, 2 * y0, 64 - 2 * x0, 2 * y1]] and target["labels"].tolist() == [label + 1]
    expected = inside[:, :32].repeat(2, 0).repeat(2, 1)[:, ::-1]
    assert target["masks"].shape == (1, 96, 64) and (target["masks"][0].numpy() != expected).mean() < 0.02
    nothing = detection.example(scene, Placement((0.0, 0.0, 1.0, 1.0), (8, 8)), masks=True)[1]
    assert nothing["boxes"].shape == (0, 4) and nothing["masks"].shape == (0, 8, 8)


def test_placements_are_drawn_by_picture_and_epoch() -> None:
    of = config(sides_px=(48, 56, 64)).schedule()
    found = [detection.placement((48, 64), of, 0, epoch, number) for epoch in range(20) for number in range(10)]
    assert found[3] == detection.placement((48, 64), of, 0, 0, 3)
    assert 70 <= sum(each.mirrored for each in found) <= 130
    sides = [each.shown_hw[0] for each in found]
    assert set(sides) == {48, 56, 64} and all(45 <= sides.count(side) <= 90 for side in (48, 56, 64))
    jitter = config(jitter=(0.5, 2.0)).schedule()
    found = [detection.placement((48, 64), jitter, 0, epoch, 0) for epoch in range(50)]
    sizes = [each.shown_hw for each in found]
    assert 15 <= sum(each.mirrored for each in found) <= 35
    assert max(max(size) for size in sizes) == 48 and min(max(size) for size in sizes) < 30


def test_answers_are_told_in_the_picture_s_own_pixels(tmp_path: Path) -> None:
    scene = coco.read(write_coco(tmp_path, "val2017", 2)).scenes[0]  # 48 x 64, shown at 24 x 16
    answer = {"boxes": torch.tensor([[4.0, 6.0, 12.0, 18.0]]), "labels": torch.tensor([2]), "scores": torch.tensor([0.5]),
              "masks": torch.cat([torch.ones(1, 1, 28, 14), torch.zeros(1, 1, 28, 14)], 3)}
    found = detection.in_pixels(answer, scene, Placement((0.0, 0.0, 64.0, 48.0), (24, 16)))
    assert (found.boxes.tolist(), found.label.tolist(), found.score.tolist()) == ([[16, 12, 48, 36]], [2], [0.5])
    mask = library.decode(dict(found.runs[0]))
    assert mask.shape == (48, 64) and mask[14:34, 18:30].all() and not mask[:, 34:].any() and not mask[:10].any()


@pytest.mark.parametrize(("name", "options", "keys"), [
    ("resnet18", {"width": 0.125}, {"masks": True}),
    ("resnet18", {"width": 0.125}, {"masks": True, "neck": "c4", "norms": "frozen"}),
    ("vit_tiny_patch16_224", VIT, {"masks": True}),
])
def test_each_kind_of_network_learns_and_finds(name: str, options: dict[str, Any], keys: dict[str, Any]) -> None:
    network = detector(small(name, 48, **options), 2, True, config(**keys).schedule(), 8, 16)
    pixels, things = picture(1)
    image = torch.from_numpy(pixels).permute(2, 0, 1).float()
    target = {"boxes": torch.tensor([box for _, box, _ in things]).float(),
              "labels": torch.tensor([label + 1 for label, _, _ in things]),
              "masks": torch.from_numpy(np.stack([inside for _, _, inside in things])).byte()}
    losses = network.train()([image, image[:, :40]], [target, target])
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}
    sum(losses.values()).backward()
    silent = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert not silent
    assert losses["loss_objectness"].item() == pytest.approx(math.log(2), abs=0.1)  # it begins at chance
    with torch.no_grad():
        (answer,) = network.eval()([image])
    assert answer["boxes"].shape[1:] == (4,) and answer["masks"].shape[1] == 1 and len(answer["boxes"]) == len(answer["masks"])
    assert not len(answer["boxes"]) or bool((answer["boxes"][:, 2] <= 64).all() and (answer["boxes"][:, 3] <= 48).all())


def test_anchors_and_regions_follow_the_strides() -> None:
    network = detector(small("resnet18", 96, width=0.125), 2, False, config().schedule(), 8, 16)
    assert network.rpn.anchor_generator.sizes == ((32,), (64,), (128,), (256,), (512,))
    pool = network.roi_heads.box_roi_pool
    assert pool.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    # The paper's: 224 px a side belong to the map of stride 16, 112 to that of 8.
    sides = torch.tensor([56.0, 112.0, 223.0, 224.0, 448.0, 2000.0])
    assert pool.map_levels([torch.stack([0 * sides, 0 * sides, sides, sides], 1)]).tolist() == [0, 1, 1, 2, 3, 3]
    c4 = detector(small("resnet18", 96, width=0.125), 2, False, config(neck="c4").schedule(), 8, 16)
    assert c4.rpn.anchor_generator.sizes == ((32, 64, 128, 256, 512),) and c4.roi_heads.box_roi_pool.scales == [1 / 16]


def test_boxes_are_worked_out_in_full_precision() -> None:
    network = detector(small("resnet18", 96, width=0.125), 2, False, config().schedule(), 8, 16).eval()
    seen: dict[str, Any] = {}
    network.rpn.anchor_generator.register_forward_hook(lambda module, given, found: seen.update(anchors=found))
    network.rpn.register_forward_hook(lambda module, given, found: seen.update(proposals=found[0]))
    picture = torch.randint(0, 256, (3, 64, 1000)).float()
    with torch.no_grad():
        network([picture])
        anchors = seen["anchors"][0]
        with torch.autocast("cpu", torch.bfloat16):
            (answer,) = network([picture])
    assert torch.equal(seen["anchors"][0], anchors)
    for boxes in (seen["proposals"][0], answer["boxes"]):
        assert boxes.dtype == torch.float32
        far = boxes[boxes > 256]  # where bf16 has whole pixels of 2 and more
        assert len(far) and (far % 2 != 0).float().mean() > 0.5


def scenes(tmp_path: Path) -> tuple[Scenes, Scenes]:
    tmp_path.mkdir(exist_ok=True)
    paths = write_coco(tmp_path, "train2017", 6), write_coco(tmp_path, "val2017", 2, 20)
    return coco.read(paths[0]), coco.read(paths[1])


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = scenes(tmp_path)
    trained: list[dict[str, torch.Tensor]] = []
    detections = detection.detections

    def seen(network: Any, *more: Any) -> Any:
        trained.append({name: value.clone() for name, value in network.state_dict().items()})
        return detections(network, *more)

    monkeypatch.setattr(detection, "detections", seen)
    said: list[str] = []
    encoder, before = small("resnet18", 48, width=0.125), torch.get_rng_state()
    fingerprint = encoder.fingerprint

    def run(out: str) -> dict[str, Any]:
        return detection.run(encoder, train, test, config(precise_bn=1), Surroundings(tmp_path / out, say=said.append))

    whole_run = run("whole")
    assert {"box", "box_by_class", "protocol", "schedule", "steps", "classes"} <= whole_run.keys() and "mask" not in whole_run
    assert (whole_run["classes"], whole_run["train_images"], whole_run["test_images"]) == (2, 5, 2)
    step = Training.step

    def stopped(self: Training, number: int) -> Any:
        if number == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, number)

    monkeypatch.setattr(Training, "step", stopped)
    with pytest.raises(Stopped, match="detection stopped by SIGTERM after step 2 of 3"):
        run("cut")
    monkeypatch.setattr(Training, "step", step)
    assert run("cut") == whole_run and any("going on after step 2 of 3" in line for line in said)
    assert all(torch.equal(value, trained[0][name]) for name, value in trained[1].items())
    assert encoder.fingerprint == fingerprint and torch.equal(torch.get_rng_state(), before)


def test_frozen_norms_stay_and_all_else_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = scenes(tmp_path)
    kept: list[Any] = []
    monkeypatch.setattr(detection, "detections", lambda network, *more: kept.append(network) or [])
    monkeypatch.setattr(detection, "coco_figures", lambda *given: ({}, {}))
    encoder, of = small("resnet18", 48, width=0.125), config(norms="frozen", steps=1, lr=0.01)
    detection.run(encoder, train, test, of, Surroundings(tmp_path / "out", say=lambda text: None))
    before, after = encoder.module.state_dict(), kept[0].backbone.module.levels.module.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.endswith("weight") and ("conv" in name or "downsample.0" in name)}
    fresh = kept[0].backbone.module.neck.inner_blocks[0][1]
    assert fresh.num_batches_tracked == 1


def test_precise_statistics_are_means_over_batches() -> None:
    norm = torch.nn.BatchNorm1d(2)
    batches = {number: torch.randn(4, 2) for number in range(5, 8)}
    work = object.__new__(Training)
    work.network, work.frozen, work.of = norm, [], config(steps=5).schedule()
    monkey: Any = work
    monkey._losses = lambda network, number: network.train()(batches[number])
    work.measure_norms(3)
    assert torch.allclose(norm.running_mean, torch.stack([each.mean(0) for each in batches.values()]).mean(0), atol=1e-6)
    assert torch.allclose(norm.running_var, torch.stack([each.var(0) for each in batches.values()]).mean(0), atol=1e-6)
    assert norm.momentum == 0.1


def test_voc_s_lists_have_voc_s_figures_too(tmp_path: Path) -> None:
    train, test = voc.read(write_voc(tmp_path, "trainval", 4)), voc.read(write_voc(tmp_path, "test", 2, 20))
    of, place = config(data="trainval.txt", test_data="test.txt", steps=1), Surroundings(tmp_path / "out", say=lambda text: None)
    found = detection.run(small("resnet18", 48, width=0.125), train, test, of, place)
    assert found["metric"] == "voc AP50" and set(found["voc"]) == {"AP", "AP50", "AP75", "AP50_all"}


def on_a_rank(root: str) -> tuple[str, bool]:
    """What this rank's network is in the end; whether what ranks found together is what it finds alone, picture by picture."""
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    place = Surroundings(Path(root) / "out", World(rank, ranks, rank, ranks, torch.device("cpu")), say=lambda text: None)
    networks: list[Any] = []
    detections, (train, test) = detection.detections, scenes(Path(root) / str(rank))
    of, kept = config(steps=2).schedule(), []

    def seen(network: Any, *more: Any) -> Any:
        networks.append(network)
        kept.extend(detections(network, *more))
        return kept

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(detection, "detections", seen)
        detection.run(small("resnet18", 48, width=0.125), train, test, config(steps=2), place)
    alone = detections(networks[0], test, of, Surroundings(place.out))
    same = all(np.array_equal(one.boxes, other.boxes) for one, other in zip(kept, alone, strict=True))
    return fingerprint_of(networks[0]), same and sum(len(each.boxes) for each in kept) > 0


@pytest.mark.slow
def test_two_ranks_end_with_one_network_and_share_the_pictures(tmp_path: Path, world: Callable[..., list[Any]]) -> None:
    first, second = world(2, on_a_rank, str(tmp_path))
    assert first == second and first[1]


@pytest.mark.slow
def test_a_network_learns_to_find_what_it_is_shown(tmp_path: Path) -> None:
    train = coco.read(write_coco(tmp_path, "train2017", 40), masks=True)
    test = coco.read(write_coco(tmp_path, "val2017", 12, 100), masks=True)
    of = config(masks=True, steps=150, batch_size=4, lr=2e-3, sides_px=(80, 96, 112), test_side_px=96, pyramid_dim=32,
                head_dim=64)
    found = detection.run(small("resnet18", 96, width=0.25), train, test, of, Surroundings(tmp_path / "out"))
    assert found["box"]["AP50"] > 0.8 and found["mask"]["AP50"] > 0.8
