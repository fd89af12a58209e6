"""The linear probe as a whole: what it trains on, what chooses, how it goes on, and that several ranks are one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from viewmill.augment.presets import recipe
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.linear import LinearConfig, run
from viewmill.evaluation.linear.heads import Heads
from viewmill.evaluation.linear.training import Answers, Training, best_of
from viewmill.evaluation.pictures import Pictures, evaluation_recipe
from viewmill.evaluation.resumable import Stopped
from viewmill.evaluation.task import Task
from viewmill.models.backbone import backbone
from viewmill.models.training.config import OptimizerConfig
from viewmill.pipelines.order import Order
from viewmill.pipelines.source import open_source

from ..tasks import pictures, task

SHORT: dict[str, Any] = {"batch_size": 20, "epochs": 6, "sidecar": False}


def test_the_heads_of_a_cached_probe_are_what_torch_trains_on_the_same_batches(tmp_path: Path) -> None:
    here = task(tmp_path, images=100)
    result = run(here, LinearConfig(protocol="barlow", cached=True, lr=(0.5,), init_std=0.0, epochs=3, batch_size=30))
    seen, shown = here.features("train"), here.features("test")
    alone = nn.Linear(6, 5)
    nn.init.zeros_(alone.weight)
    nn.init.zeros_(alone.bias)
    update = torch.optim.SGD(alone.parameters(), momentum=0.9, weight_decay=1e-6)
    order = Order([100], here.seed, shuffle="full")
    for epoch in range(3):
        update.param_groups[0]["lr"] = 0.5 * 0.5 * (1 + np.cos(np.pi * epoch / 3))
        rows = order.index(epoch, np.arange(90)).reshape(3, 30)
        for row in rows:
            update.zero_grad()
            nn.functional.cross_entropy(alone(seen.x[row]), seen.label[row]).backward()
            update.step()
    right = alone(shown.x).argmax(1) == shown.label
    assert result["top1"] == pytest.approx(float(right.double().mean())) and 0.4 < result["top1"] < 1
    assert np.array_equal(result["correct"], right.numpy()) and result["chosen_on"] == "nothing to choose"
    assert (result["train_images"], result["test_images"], result["steps"], result["epochs"]) == (100, 60, 9, 3)


def test_a_split_of_the_training_images_chooses_and_test_images_only_when_asked(tmp_path: Path) -> None:
    config = LinearConfig(lr=(1e-5, 0.3), **SHORT)
    here = task(tmp_path / "split")
    result = run(here, config)
    assert result["chosen"] == {"kind": "features", "lr": 0.3} and result["chosen_on"] == "split"
    assert result["train_images"] == 180 and [head["lr"] for head in result["heads"]] == [1e-5, 0.3]
    assert result["heads"][1]["top1"] > result["heads"][0]["top1"] and result["heads"][1]["top1"] * 20 % 1 == pytest.approx(0)

    asked = run(task(tmp_path / "test"), LinearConfig(lr=(1e-5, 0.3), select="test", **SHORT))
    assert asked["chosen_on"] == "test" and asked["train_images"] == 200
    assert asked["top1"] == max(head["top1"] for head in asked["heads"])


@pytest.mark.parametrize("cached", [True, False])
def test_the_fifty_two_heads_of_dinov2_train_in_one_pass(tmp_path: Path, cached: bool) -> None:
    torch.manual_seed(0)
    module, dim = backbone("vit_tiny_patch16_224", 16, patch_px=8, embed_dim=24, depth=4, heads=3)
    vit = Encoder(module, dim, 16, evaluation_recipe(recipe("probe"), 16), "a small ViT").requires_grad_(False)
    config = LinearConfig(protocol="dinov2", steps=30, batch_size=20, cached=cached, sidecar=False)
    result = run(task(tmp_path, encoder=vit), config)
    assert [head["kind"] for head in result["heads"][::13]] == ["cls1", "cls1+mean", "cls4", "cls4+mean"]
    assert len(result["heads"]) == 52 and result["steps"] == 30
    best = max(result["heads"], key=lambda head: head["top1"])
    assert result["chosen"] == {"kind": best["kind"], "lr": best["lr"]} and best["top1"] > 0.3


def test_what_was_chosen_is_trained_again_on_all_images_where_that_is_asked(tmp_path: Path) -> None:
    again = run(task(tmp_path / "again"), LinearConfig(lr=(1e-5, 0.3), refit=True, **SHORT))
    alone = run(task(tmp_path / "alone"), LinearConfig(lr=(0.3,), **SHORT))
    assert again["chosen"]["lr"] == 0.3 and again["train_images"] == 200
    assert np.array_equal(again["correct"], alone["correct"]) and again["top1"] == alone["top1"]


def test_a_head_that_diverges_is_never_chosen_and_spoils_no_other(tmp_path: Path) -> None:
    config: dict[str, Any] = {"protocol": "moco", "cached": True, "law": "cosine", **SHORT}
    both = run(task(tmp_path / "both"), LinearConfig(lr=(1e38, 0.3), **config))
    alone = run(task(tmp_path / "alone"), LinearConfig(lr=(0.2, 0.3), **config))
    assert both["chosen"]["lr"] == 0.3 and both["heads"][0]["top1"] == 0 and both["heads"][1] == alone["heads"][1]
    with pytest.raises(ValueError, match="every head diverged"):
        run(task(tmp_path / "none"), LinearConfig(lr=(1e38,), **config))


def test_five_best_count_where_there_are_five_classes(tmp_path: Path) -> None:
    few = run(task(tmp_path / "few", classes=3), LinearConfig(lr=(0.1,), **SHORT))
    many = run(task(tmp_path / "many", classes=7, images=210), LinearConfig(lr=(0.1,), **SHORT))
    assert "top5" not in few and many["top1"] < many["top5"] < 1


def test_answers_to_many_pictures_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = Heads({"a": 6}, (1.0, 2.0), 7, OptimizerConfig("sgd", 1.0, "none", 0.0), init_std=1)
    x = torch.randn(23, 6)
    whole = best_of(heads, {"a": x})
    monkeypatch.setattr("viewmill.evaluation.linear.training.SCORES", 4 * 2 * 7)
    assert torch.equal(best_of(heads, {"a": x}), whole) and whole.shape == (23, 2, 5)
    assert torch.equal(whole[:, 0, 0], (x @ heads.weight["a"][0].detach().T).argmax(1))


def test_the_most_accurate_head_is_chosen_unless_it_diverged() -> None:
    best = torch.tensor([[[0], [1], [1], [2]], [[2], [1], [1], [-1]], [[1], [1], [1], [2]]])  # (3 pictures, 4 heads, 1)
    given = Answers(best, torch.tensor([1, 1, 2]), torch.arange(3))
    assert given.accuracy().tolist() == pytest.approx([0, 2 / 3, 2 / 3, 0]) and given.chosen() == 1
    assert given.chosen([0, 2, 3]) == 2 and given.chosen([3, 0]) == 0


def test_views_train_heads_and_leave_the_encoder_as_it_was(tmp_path: Path) -> None:
    here = task(tmp_path)
    before = here.encoder.fingerprint
    here.encoder.train()
    result = run(here, LinearConfig(protocol="moco", lr=(1.0, 3.0), **SHORT))
    assert result["top1"] > 0.4 and here.encoder.fingerprint == before and here.encoder.module.norm.training
    assert not torch.is_inference_mode_enabled() and result["train_images"] == 180


def interrupted(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM comes during that step."""
    whole = Training.step

    def stopping(self: Training, number: int) -> Any:
        if number == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(self, number)

    monkeypatch.setattr(Training, "step", stopping)


@pytest.mark.parametrize("config", [LinearConfig(lr=(0.1, 1.0), **SHORT), LinearConfig(protocol="mae", lr=(3.0, 9.0), **SHORT)],
                         ids=["features", "views"])
def test_a_probe_that_was_stopped_goes_on_and_ends_as_if_it_had_not(
        tmp_path: Path, config: LinearConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(task(tmp_path / "whole"), config)
    with monkeypatch.context() as patched, pytest.raises(Stopped, match=r"linear stopped by SIGTERM after step 14 of 54, saved"):
        interrupted(13, patched)
        run(task(tmp_path / "half"), config)
    said: list[str] = []
    rest = run(task(tmp_path / "half", say=said.append), config)
    assert any("going on after step 14 of 54" in line for line in said)
    assert rest.pop("correct").tolist() == whole.pop("correct").tolist() and rest == whole
    ends = [torch.load(next((tmp_path / name).rglob("step-*.pt"))) for name in ("whole", "half")]
    for kind in ends[0]["work"]["heads"]["weight"]:
        assert torch.equal(*(end["work"]["heads"]["weight"][kind] for end in ends))


def test_a_finished_probe_trains_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = LinearConfig(lr=(0.1, 1.0), **SHORT)
    first = run(task(tmp_path), config)
    monkeypatch.setattr(Training, "step", lambda self, number: pytest.fail("a step"))
    assert run(task(tmp_path), config)["heads"] == first["heads"]


@pytest.mark.parametrize(("more", "keys"), [({}, {"lr": (0.2,)}), ({"images": 220}, {}), ({"seed": 1}, {}), ({}, {"epochs": 5})])
def test_another_probe_in_the_same_folder_begins_anew(tmp_path: Path, more: dict[str, Any], keys: dict[str, Any]) -> None:
    run(task(tmp_path / "both"), LinearConfig(**{"lr": (0.1,), **SHORT}))
    config = LinearConfig(**{"lr": (0.1,), **SHORT, **keys})
    second, alone = (run(task(tmp_path / folder, **more), config) for folder in ("both", "alone"))
    assert second["correct"].tolist() == alone["correct"].tolist() and second["heads"] == alone["heads"]


def test_what_cannot_be_classified_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data=2 has label 5, which data=1 has not"):
        run(task(tmp_path, test=pictures(30, 6, 2)), LinearConfig())
    with pytest.raises(ValueError, match="shows one class only"):
        run(task(tmp_path, train=pictures(30, 1, 1), test=pictures(9, 1, 2)), LinearConfig())
    with pytest.raises(ValueError, match="batch_size=256 needs at least as many training images, there are 180"):
        run(task(tmp_path), LinearConfig())
    with pytest.raises(ValueError, match=r"split=0.1 of 10 training images in 5 classes leaves none to choose by"):
        run(task(tmp_path, images=10), LinearConfig(batch_size=5))
    with pytest.raises(ValueError, match="batch_size=20 is for all ranks together; 3 ranks do not divide it"):
        run(task(tmp_path, ranks=3), LinearConfig(**SHORT))


def on_a_rank(folder: str, protocol: str) -> tuple[float, list[bool], Tensor]:
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    here: Task = task(Path(folder), rank=rank, ranks=ranks)
    result = run(here, LinearConfig(protocol=protocol, lr=(0.3, 1.0), norm=True, **SHORT))
    state = torch.load(next(Path(folder).rglob("step-*.pt")))
    return result["top1"], result["correct"].tolist(), state["work"]["heads"]["weight"]["features"].numpy()


@pytest.mark.parametrize("protocol", ["sweep", "barlow"])
def test_two_ranks_train_the_heads_of_one(tmp_path: Path, world: Callable[..., list[Any]], protocol: str) -> None:
    alone = run(task(tmp_path / "one"), LinearConfig(protocol=protocol, lr=(0.3, 1.0), norm=True, **SHORT))
    weight = torch.load(next((tmp_path / "one").rglob("step-*.pt")))["work"]["heads"]["weight"]["features"]
    for top1, correct, of_rank in world(2, on_a_rank, str(tmp_path / "two"), protocol):
        np.testing.assert_allclose(of_rank, weight.numpy(), rtol=1e-3, atol=1e-5)
        assert top1 == alone["top1"] and correct == alone["correct"].tolist()


def test_images_that_cannot_be_read_count_as_wrong(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for number in range(12):
        folder = tmp_path / "test" / str(number % 5)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "test" / "0" / "5.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    test = Pictures(open_source(str(tmp_path / "test")), None, "test_data", 1)
    result = run(task(tmp_path / "out", test=test), LinearConfig(lr=(0.3,), **SHORT))
    assert result["test_images"] == 11 and len(result["correct"]) == 12
    (broken,) = [row for row, i in enumerate(test.index.tolist()) if "5.png" in test.source.where(i)]
    assert not result["correct"][broken] and result["correct"].sum() == round(result["top1"] * 11)
