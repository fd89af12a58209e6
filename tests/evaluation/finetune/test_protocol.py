"""Fine-tuning as a whole: it learns, leaves the encoder as it was, goes on to the bit, and several ranks are one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from viewmill.augment.presets import recipe
from viewmill.evaluation.encoder import Encoder, of_method
from viewmill.evaluation.finetune import TUNINGS, FinetuneConfig, run
from viewmill.evaluation.finetune.network import Classifier
from viewmill.evaluation.finetune.pieces import parameter_groups
from viewmill.evaluation.finetune.protocol import Tuned
from viewmill.evaluation.labels import labelled
from viewmill.evaluation.pictures import evaluation_recipe
from viewmill.evaluation.resumable import Stopped
from viewmill.models import build, method_info
from viewmill.models.backbone import backbone
from viewmill.models.training.errors import RunFailure

from ..tasks import task

SHORT: dict[str, Any] = {"batch_size": 20, "epochs": 3, "sidecar": False}


def vit(depth: int = 3) -> Encoder:
    torch.manual_seed(0)
    module, dim = backbone("vit_tiny_patch16_224", 16, patch_px=8, embed_dim=24, depth=depth, heads=3)
    return Encoder(module, dim, 16, evaluation_recipe(recipe("probe"), 16), "a small ViT").eval().requires_grad_(False)


def convnet() -> Encoder:
    torch.manual_seed(0)
    module, dim = backbone("convnet4", 16)
    return Encoder(module, dim, 16, evaluation_recipe(recipe("probe"), 16), "convnet4").eval().requires_grad_(False)


def mixing(encoder: str) -> FinetuneConfig:
    """All that draws: mixup or cutmix, and drop path where there is room."""
    return FinetuneConfig(**SHORT, mixup=0.8, cutmix=1.0, drop_path=0.3 if encoder == "vit" else 0.0, lr=3e-3)


def test_it_learns_and_the_encoder_stays_as_it_was(tmp_path: Path) -> None:
    here = task(tmp_path, encoder=convnet())
    before, drawn = here.encoder.fingerprint, torch.get_rng_state()
    result = run(here, FinetuneConfig(**{**SHORT, "epochs": 6}))
    assert result["top1"] > 0.5 and result["correct"].mean() == pytest.approx(result["top1"]) and result["top5"] == 1
    assert here.encoder.fingerprint == before and not any(p.requires_grad for p in here.encoder.parameters())
    assert torch.equal(torch.get_rng_state(), drawn) and not here.encoder.training
    assert (result["steps"], result["epochs"], result["train_images"], result["test_images"]) == (60, 6, 200, 60)
    assert result["chosen_on"] == "nothing to choose"


def test_one_step_by_hand(tmp_path: Path) -> None:
    """AdamW's first step moves each weight by its layer's rate, against the gradient's sign, after the decay."""
    here = task(tmp_path, encoder=convnet())
    of = FinetuneConfig(batch_size=20, epochs=2, warmup_epochs=0, lr=0.01, weight_decay=0.5, layer_decay=0.5, smoothing=0.0,
                        sidecar=False)
    first: dict[str, Tensor] = {}
    seen: dict[str, Tensor] = {}
    whole = Tuned.step

    def one(self: Tuned, number: int) -> Any:
        if number == 0:
            first.update({name: p.detach().clone() for name, p in self.classifier.named_parameters()})
            found = whole(self, number)
            for name, p in self.classifier.named_parameters():
                seen[name] = p.detach().clone()
                if p.grad is not None:
                    seen[f"{name} gradient"] = p.grad.clone()
            return found
        return whole(self, number)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Tuned, "step", one)
        run(here, of)
    for name, rate, decay in (("head.0.weight", 0.01, 0.5), ("encoder.whole.layers.9.weight", 0.005, 0.5),
                              ("encoder.whole.layers.0.weight", 0.000625, 0.5), ("encoder.whole.layers.1.weight", 0.000625, 0.0)):
        gradient = seen[f"{name} gradient"]
        expected = first[name] * (1 - rate * decay) - rate * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(seen[name], expected, rtol=1e-4, atol=1e-6)


def simclr_v2(head_layers: int, **fields: Any) -> Encoder:
    torch.manual_seed(0)
    method = build("simclr_v2", method_info("simclr_v2").config(backbone="convnet4", **fields), image_px=16)
    encoder = of_method(method, recipe("simclr_v2_cifar"), 16, "simclr_v2").eval().requires_grad_(False)
    encoder.keep_head(head_layers)
    return encoder


@pytest.mark.parametrize(("layers", "trains"), [(0, []), (1, [0, 1]), (2, [0, 1, 3, 4]), (3, [0, 1, 3, 4, 6, 7])])
def test_inside_the_head_exactly_its_first_layers_train(tmp_path: Path, layers: int, trains: list[int]) -> None:
    here = task(tmp_path, encoder=simclr_v2(layers))
    before = {name: value.clone() for name, value in here.encoder.whole.state_dict().items()}
    seen: list[Classifier] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("viewmill.evaluation.finetune.protocol.save", lambda folder, classifier: seen.append(classifier))
        run(here, FinetuneConfig(lr=1e-2, **{**SHORT, "epochs": 1}))
    after = seen[0].encoder.whole.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert {int(name.split(".")[1]) for name in moved if name.startswith("projector.")} == set(trains)
    assert {f"projector.{place}.weight" for place in trains} <= moved and "backbone.layers.0.weight" in moved
    assert seen[0].head[0].weight.shape == (5, 128 if layers == 3 else 256)
    assert all(torch.equal(value, before[name]) for name, value in here.encoder.whole.state_dict().items())


def test_a_kept_layer_stands_between_the_backbone_and_the_new_head() -> None:
    classifier = Classifier(simclr_v2(2), 5, TUNINGS["small"])
    encoder, of = classifier.encoder, FinetuneConfig(layer_decay=0.5, weight_decay=0.1).tuning()
    names = {id(p): name for name, p in classifier.named_parameters()}
    groups = {names[id(p)].removeprefix("encoder.whole."): (group["lr_scale"], group["weight_decay"])
              for group in parameter_groups(encoder.module, classifier.head, of, encoder.head) for p in group["params"]}
    assert groups["head.0.weight"] == (1, 0.1) and groups["head.0.bias"] == (1, 0)
    assert groups["projector.3.weight"] == (0.5, 0.1) and groups["projector.4.weight"] == (0.5, 0)
    assert groups["projector.0.weight"] == (0.25, 0.1) and groups["backbone.layers.9.weight"] == (0.125, 0.1)
    assert "projector.6.weight" not in groups


@pytest.mark.parametrize("adapt_head", [False, True])
def test_one_step_of_lars_by_hand(tmp_path: Path, adapt_head: bool) -> None:
    """Rate times 0.001 |w| / |g| for weights, the plain rate for gains and biases, and for the new head where it is spared."""
    seen: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
    whole = Tuned.step

    def one(self: Tuned, number: int) -> Any:
        before = {name: p.detach().clone() for name, p in self.classifier.named_parameters()}
        found = whole(self, number)
        if number == 0:
            seen.update({name: (before[name], p.grad.clone(), p.detach().clone())
                         for name, p in self.classifier.named_parameters() if p.grad is not None})
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Tuned, "step", one)
        run(task(tmp_path, encoder=simclr_v2(1)), FinetuneConfig(protocol="simclr_v2", init_std=0.1, adapt_head=adapt_head,
                                                                 **{**SHORT, "epochs": 1}))
    rate = 0.005 * 20**0.5
    for name, adapts in (("encoder.whole.backbone.layers.0.weight", True), ("encoder.whole.projector.0.weight", True),
                         ("encoder.whole.projector.1.weight", False), ("encoder.whole.projector.1.bias", False),
                         ("head.0.weight", adapt_head), ("head.0.bias", False)):
        before, gradient, after = seen[name]
        trust = 0.001 * float(before.norm() / gradient.norm()) if adapts else 1.0
        torch.testing.assert_close(after, before - rate * trust * gradient, rtol=1e-4, atol=1e-7)


def test_a_share_of_the_labels_is_all_it_trains_on(tmp_path: Path) -> None:
    seen: set[int] = set()
    whole = Tuned.step

    def watching(self: Tuned, number: int) -> Any:
        seen.update(self.loader.source.index.tolist())  # type: ignore[attr-defined]
        return whole(self, number)

    here = task(tmp_path, encoder=convnet())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Tuned, "step", watching)
        result = run(here, FinetuneConfig(labels=0.2, **SHORT))
    rows = labelled(here.train, 0.2, 0)
    assert seen == set(here.train.index[rows].tolist()) and result["train_images"] == len(seen) == 40
    assert (result["steps"], result["classes"], result["test_images"]) == (6, 5, 60)
    with pytest.raises(ValueError, match="batch_size=20 needs at least as many training images, there are 10; use batch_size=8"):
        run(here, FinetuneConfig(labels=0.05, **SHORT))


def test_the_mean_patch_token_goes_through_a_norm_of_its_own() -> None:
    encoder = vit()
    classifier = Classifier(encoder, 5, TUNINGS["mae"]).eval()
    net, images = encoder.module, torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        x = net.patch_embed(images)
        x = torch.cat([net.cls_token.expand(2, -1, -1), x], 1) + net.pos_embed
        for block in net.blocks:
            x = block(x)
        mean = x[:, 1:].mean(1)
        expected = classifier.head[1](nn.functional.layer_norm(mean, (24,), eps=1e-6))
        torch.testing.assert_close(classifier(images), expected)
    trains = {name for name, p in classifier.named_parameters() if p.requires_grad}
    assert not any(name.startswith("encoder.whole.norm.") for name in trains) and "encoder.whole.pos_embed" in trains
    assert 1e-5 < classifier.head[1].weight.std() < 4e-5


def test_of_a_method_the_encoder_alone_learns() -> None:
    info = method_info("simclr")
    method = build("simclr", info.config(backbone="convnet4"), image_px=16)
    classifier = Classifier(of_method(method, recipe("simclr_cifar"), 16, "simclr"), 5, TUNINGS["small"])
    trains = {name.split(".")[2] for name, p in classifier.named_parameters() if p.requires_grad and name.startswith("encoder")}
    assert trains == {"backbone"} and classifier(torch.randn(2, 3, 16, 16)).shape == (2, 5)


def test_the_head_keeps_full_precision_inside_autocast() -> None:
    classifier, images = Classifier(convnet(), 5, TUNINGS["small"]).eval(), torch.randn(2, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        features, scores = classifier.encoder(images), classifier(images)
    assert features.dtype == torch.bfloat16 and scores.dtype == torch.float32
    torch.testing.assert_close(scores, classifier.head(features.float()).detach())


def test_drop_path_is_given_to_the_copy_alone() -> None:
    encoder = vit()
    classifier = Classifier(encoder, 5, TUNINGS["deit"])
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in classifier.encoder.module.blocks]
    assert rates == pytest.approx([0, 0.05, 0.1]) and isinstance(encoder.module.blocks[2].drop_path1, nn.Identity)


@pytest.mark.parametrize("name", ["vit", "convnet"])
def test_a_tuning_that_was_stopped_goes_on_and_ends_as_if_it_had_not(
        tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = {"vit": vit, "convnet": convnet}[name]
    whole = run(task(tmp_path / "whole", encoder=encoder()), mixing(name))
    step = Tuned.step

    def stopping(self: Tuned, number: int) -> Any:
        if number == 16:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, number)

    with monkeypatch.context() as patched, pytest.raises(Stopped, match="finetune stopped by SIGTERM after step 17 of 30"):
        patched.setattr(Tuned, "step", stopping)
        run(task(tmp_path / "half", encoder=encoder()), mixing(name))
    rest = run(task(tmp_path / "half", encoder=encoder()), mixing(name))
    assert rest.pop("correct").tolist() == whole.pop("correct").tolist() and rest == whole
    ends = [torch.load(next((tmp_path / folder).rglob("step-*.pt")))["work"]["classifier"] for folder in ("whole", "half")]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_batch_norm_learns_and_a_callers_chance_does_not_matter(tmp_path: Path) -> None:
    ends = []
    for number in (1, 2):
        here = task(tmp_path / str(number), encoder=convnet())
        torch.manual_seed(number)
        np.random.seed(number)
        run(here, FinetuneConfig(mixup=0.8, **SHORT))
        ends.append(torch.load(next((tmp_path / str(number)).rglob("step-*.pt")))["work"]["classifier"])
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    mean = "layers.1.running_mean"
    assert not torch.allclose(ends[0][f"encoder.whole.{mean}"], here.encoder.module.state_dict()[mean], atol=1e-3)


def test_another_seed_is_another_tuning(tmp_path: Path) -> None:
    ends = []
    for seed in (0, 1):
        run(task(tmp_path / str(seed), encoder=convnet(), seed=seed), FinetuneConfig(**SHORT))
        ends.append(torch.load(next((tmp_path / str(seed)).rglob("step-*.pt")))["work"]["classifier"]["head.0.weight"])
    assert not torch.equal(*ends)


def test_a_loss_that_diverges_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunFailure, match=r"the loss is not finite at step 20 of 30; try a lower lr"):
        run(task(tmp_path, encoder=convnet()), FinetuneConfig(protocol="resnet", lr=1e30, scaling="none", **SHORT))


def test_what_cannot_be_tuned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no residual branches that drop path could leave out; use a rate of 0"):
        run(task(tmp_path, encoder=convnet()), FinetuneConfig(drop_path=0.1, **SHORT))
    with pytest.raises(ValueError, match="pool=mean needs a vision transformer, which convnet4 is not; use pool=features"):
        run(task(tmp_path, encoder=convnet()), FinetuneConfig(pool="mean", **SHORT))
    with pytest.raises(ValueError, match="pool=mean stands on patch tokens, head_layers=1 on features; leave one"):
        run(task(tmp_path, encoder=simclr_v2(1)), FinetuneConfig(pool="mean", **SHORT))
    with pytest.raises(ValueError, match="batch_size=20 is for all ranks together; 4 ranks need a whole share each, an even one"):
        run(task(tmp_path, encoder=convnet(), ranks=4), FinetuneConfig(mixup=0.8, **SHORT))
    with pytest.raises(ValueError, match="batch_size=128 needs at least as many training images, there are 100"):
        run(task(tmp_path, encoder=convnet(), images=100), FinetuneConfig())


def on_a_rank(folder: str) -> tuple[list[bool], np.ndarray]:
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    result = run(task(Path(folder), encoder=vit(), rank=rank, ranks=ranks), FinetuneConfig(lr=3e-3, **{**SHORT, "epochs": 1}))
    state = torch.load(next(Path(folder).rglob("step-*.pt")))["work"]["classifier"]
    return result["correct"].tolist(), state["encoder.whole.blocks.0.attn.qkv.weight"].numpy()


def test_two_ranks_tune_the_network_of_one(tmp_path: Path, world: Callable[..., list[Any]]) -> None:
    alone = run(task(tmp_path / "one", encoder=vit()), FinetuneConfig(lr=3e-3, **{**SHORT, "epochs": 1}))
    state = torch.load(next((tmp_path / "one").rglob("step-*.pt")))["work"]["classifier"]
    for correct, weight in world(2, on_a_rank, str(tmp_path / "two")):
        np.testing.assert_allclose(weight, state["encoder.whole.blocks.0.attn.qkv.weight"].numpy(), rtol=1e-2, atol=2e-4)
        assert sum(a != b for a, b in zip(correct, alone["correct"].tolist(), strict=True)) <= 1


def draws_on_a_rank(folder: str) -> float:
    """What this rank draws before its first step."""
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    drawn, step = [], Tuned.step

    def drawing(self: Tuned, number: int) -> Any:
        drawn.append(float(np.random.rand()))
        return step(self, number)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Tuned, "step", drawing)
        run(task(Path(folder), encoder=convnet(), rank=rank, ranks=ranks), FinetuneConfig(**{**SHORT, "epochs": 1}))
    return drawn[0]


def test_each_rank_mixes_by_draws_of_its_own(tmp_path: Path, world: Callable[..., list[Any]]) -> None:
    first, second = world(2, draws_on_a_rank, str(tmp_path))
    assert first != second
