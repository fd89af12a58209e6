"""Feature decoupling: which half tells what, what enters the memory, and from when on noise is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from viewmill.augment.presets import recipe
from viewmill.models.decoupling import Decoupling, DecouplingConfig, weights_by
from viewmill.models.rotnet import RotNet, RotNetConfig
from viewmill.pipelines.batch import Batch
from viewmill.pipelines.loader import Loader
from viewmill.pipelines.source import open_source
from viewmill.train import read

from .batches import batch_of, random_views
from .estimate import classified, estimated, unit

IMAGES, INDEX = 12, (7, 2, 11)


def small(images: int | None = IMAGES, **fields: Any) -> Decoupling:
    torch.manual_seed(0)
    config = DecouplingConfig(**{"backbone": "convnet4", "half_dim": 6, "dim": 8, "negatives": 0, "temperature": 0.2, **fields})
    return Decoupling(config, image_px=16, images=images)


def turned(count: int = 3, seed: int = 0) -> Batch:
    images = random_views(1, count, 16, seed)[0]
    batch = batch_of(torch.stack([torch.rot90(images, turn, (2, 3)) for turn in range(4)]))
    batch.params = {f"global/{turn}": {"rotate": {"quarter_turns": np.full(count, turn, np.int8)}} for turn in range(4)}
    batch.index = torch.tensor(INDEX[:count])
    return batch


def numpy(x: Tensor) -> np.ndarray:
    found: np.ndarray = x.detach().double().numpy()
    return found


def linear(x: np.ndarray, layer: nn.Linear) -> np.ndarray:
    return x @ numpy(layer.weight).T + numpy(layer.bias)


def halves(method: Decoupling, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """(4, B, half) each: of the turn, the first six features; of the image, the last six."""
    features = np.stack([numpy(method.widen(method.encoder(view))) for view in batch.views["global"]])
    return features[..., :6], features[..., 6:]


def parts(method: Decoupling, batch: Batch, weights: np.ndarray | None = None) -> tuple[float, float, np.ndarray]:
    """(rotation, invariance, z) by the paper's formulas. weights (B, 4)."""
    of_turn, of_image = halves(method, batch)
    logits = linear(of_turn, method.classifier)
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    weights = np.ones((len(batch.index), 4)) if weights is None else weights
    count = len(batch.index)
    rotation = -sum(weights[i, r] * np.log(shares[r, i, r]) for r in range(4) for i in range(count)) / (4 * count)
    invariance = float(np.mean((of_image - of_image.mean(0)) ** 2))
    return float(rotation), invariance, unit(linear(of_image.mean(0), method.projector[0]))


@pytest.mark.parametrize("negatives", [0, 5])
def test_the_loss_is_the_sum_of_turn_invariance_and_instance(negatives: int, monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch = small(negatives=negatives, rotation_weight=0.5, invariance_weight=3.0, instance_weight=0.7).eval(), turned()
    drawn = []
    one = method.bank.draw
    monkeypatch.setattr(method.bank, "draw", lambda index: drawn.append(one(index)) or drawn[-1])
    values = method(batch)
    rotation, invariance, z = parts(method, batch)
    memory = numpy(method.bank.rows.local)
    instance = estimated(z, memory, drawn[0].rows.numpy(), 0.2)[0] if negatives else classified(z, memory, np.array(INDEX), 0.2)
    found = {name: float(value.detach()) for name, value in values.items()}
    assert found["rotation"] == pytest.approx(rotation, rel=1e-5) and found["invariance"] == pytest.approx(invariance, rel=1e-5)
    assert found["instance"] == pytest.approx(instance, rel=1e-5)
    assert found["loss"] == pytest.approx(0.5 * rotation + 3 * invariance + 0.7 * instance, rel=1e-5)
    logits = linear(halves(method, batch)[0], method.classifier)
    assert found["accuracy"] == pytest.approx(np.mean(logits.argmax(-1) == np.arange(4)[:, None]))
    assert [name for name, value in values.items() if value.requires_grad] == ["loss"]


@pytest.mark.parametrize(("weights", "taught"), [
    ((1.0, 0.0, 0.0), slice(0, 6)), ((0.0, 1.0, 0.0), slice(6, 12)), ((0.0, 0.0, 1.0), slice(6, 12))])
def test_turns_are_told_from_the_first_half_alone_and_images_from_the_second(weights: tuple[float, ...], taught: slice) -> None:
    names = ("rotation_weight", "invariance_weight", "instance_weight")
    method = small(**dict(zip(names, weights, strict=True))).eval()
    method(turned())["loss"].backward()
    rows = method.widen[0].weight.grad.abs().sum(1) > 0  # a row of the layer for each feature
    other = torch.ones(12, dtype=torch.bool)
    other[taught] = False
    assert bool(rows[taught].any()) and not bool(rows[other].any())
    heads = {name for name, p in method.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert ("classifier.weight" in heads) == (weights[0] > 0) and ("projector.0.weight" in heads) == (weights[2] > 0)


def test_the_gradient_is_that_of_the_formula() -> None:
    method, batch = small(rotation_weight=0.0, invariance_weight=0.0).eval(), turned()
    method(batch)["loss"].backward()
    _, of_image = halves(method, batch)
    memory, weight = numpy(method.bank.rows.local), numpy(method.projector[0].weight)

    def loss(weight: np.ndarray) -> float:
        return classified(unit(of_image.mean(0) @ weight.T + numpy(method.projector[0].bias)), memory, np.array(INDEX), 0.2)

    for row, column in ((0, 0), (3, 4), (7, 5)):
        step = np.zeros_like(weight)
        step[row, column] = 1e-5
        slope = (loss(weight + step) - loss(weight - step)) / 2e-5
        assert float(method.projector[0].weight.grad[row, column]) == pytest.approx(slope, rel=1e-3, abs=1e-7)


def test_after_a_step_the_memory_holds_the_embedding_of_the_mean_of_the_turns() -> None:
    method, batch = small(bank_momentum=0.25), turned()
    before = numpy(method.bank.rows.local)
    with torch.no_grad():
        method(batch)
        of_image = method.halves(batch.views["global"].flatten(0, 1))[1]  # batch norm has the batch's own statistics both times
    assert np.array_equal(numpy(method.bank.rows.local), before)
    method.after_step(0.5)
    z = unit(linear(numpy(of_image).reshape(4, 3, 6).mean(0), method.projector[0]))
    expected = before.copy()
    expected[list(INDEX)] = unit(0.25 * before[list(INDEX)] + 0.75 * z)
    np.testing.assert_allclose(numpy(method.bank.rows.local), expected, atol=1e-6)


def test_noise_counts_less_from_the_given_epoch_on(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).random((IMAGES, 4)).astype(np.float32)
    np.save(tmp_path / "weights.npy", weights)
    method = small(noise_weights=str(tmp_path / "weights.npy"), noise_from_epoch=2.0).eval()
    batch = turned()
    batch.views["global"] = batch.views["global"][[2, 0, 3, 1]]  # turns in any order find their own weights
    batch.params = {f"global/{place}": {"rotate": {"quarter_turns": np.full(3, turn, np.int8)}}
                    for place, turn in enumerate((2, 0, 3, 1))}
    own = weights[list(INDEX)].astype(np.float64)
    for epoch, counted in ((0.0, None), (1.99, None), (2.0, own), (50.5, own)):
        method.before_step(epoch)
        assert float(method(batch)["rotation"]) == pytest.approx(parts(method, turned(), counted)[0], rel=1e-5)
    assert "noise" not in method.state_dict() and "noise" not in dict(method.named_buffers())
    assert small(None, noise_weights="gone.npy").noise is None  # whoever judges it needs no such file


def test_weights_come_from_a_rotnet_that_has_looked_at_every_turn() -> None:
    torch.manual_seed(1)
    rotnet, batch = RotNet(RotNetConfig("convnet4"), image_px=16).eval(), turned()
    weights = weights_by(rotnet, [batch], 12)
    assert weights.shape == (12, 4) and weights.dtype == np.float32
    for i, index in enumerate(INDEX):
        for turn in range(1, 4):
            logits = numpy(rotnet.classifier(rotnet.encoder(batch.views["global"][turn, i : i + 1])))[0]
            upright = float(np.exp(logits[0]) / np.exp(logits).sum())
            assert weights[index, turn] == pytest.approx(1 - upright**2, rel=1e-5)
    assert (weights[:, 0] == 1).all() and (weights[0] == 1).all()  # image 0 was not among them


@pytest.mark.parametrize(("array", "message"), [
    (np.ones((11, 4), np.float32), r"needs floats of shape \(12, 4\), a row for each image of the data, got float32 \(11, 4\)"),
    (np.ones((12, 4), np.int64), r"needs floats of shape \(12, 4\).*got int64"),
    (np.full((12, 4), 1.5), r"needs weights in \[0, 1\]"), (np.full((12, 4), np.nan), r"needs weights in \[0, 1\]"),
    (np.array([{}], dtype=object), "is no array of NumPy's")])
def test_weights_that_do_not_fit_are_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "weights.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        small(noise_weights=str(tmp_path / "weights.npy"))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.noise_weights=gone\.npy is no array of NumPy's \(.*No such file"):
        small(noise_weights="gone.npy")
    with pytest.raises(ValueError, match="the recipe draws no quarter_turns for group 'global'"):
        small()(batch_of(random_views(4, 2, 16)))
    with pytest.raises(ValueError, match="needs the number of images"):
        small(None)(turned())
    for fields, key in (({"half_dim": 0}, "half_dim"), ({"instance_weight": -1.0}, "instance_weight"), ({"dim": 0}, "dim")):
        with pytest.raises(ValueError, match=rf"model\.{key} needs"):
            small(**fields)


def test_alexnets_features_are_halved_as_published() -> None:
    run, _ = read(["decoupling", "data=train.tar"])
    assert (run.model.backbone, run.model.half_dim, run.model.negatives, run.model.temperature) == ("alexnet", None, 4096, 0.07)
    assert (run.model.noise_from_epoch, run.epochs, run.batch_size, run.optimizer.name, run.optimizer.lr) == (
        210, 245, 192, "nesterov", 0.01)
    assert (run.schedule.steps_at, run.schedule.step_factors) == ((90, 130, 190, 210, 230), (0.1, 0.1, 0.1, 10, 0.1))
    method = Decoupling(DecouplingConfig(), image_px=63, images=5)
    assert method.classifier.weight.shape == (4, 2048) and method.projector[0].weight.shape == (128, 2048)
    assert method.feature_dim == 4096 and isinstance(method.widen, nn.Identity)
    images = random_views(1, 2, 63)[0]
    assert torch.equal(method.eval().features(images), method.encoder(images))


def test_features_are_the_backbones_and_not_the_halves() -> None:
    method, images = small().eval(), random_views(1, 3, 16)[0]
    assert torch.equal(method.features(images), method.encoder(images)) and method.feature_dim == 256
    assert torch.allclose(method.embed(images).norm(dim=1), torch.ones(3))


def test_one_pass_of_a_loader_gives_every_image_its_weights(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (40, 40, 3)).astype(np.uint8) for _ in range(10)]
    rotnet = RotNet(RotNetConfig("convnet4"), image_px=32)
    with Loader(open_source((pictures, np.zeros(10, np.int64))), recipe("rotnet_cifar"), 4, epochs=1, last="short",
                engine="torch", sidecar=False) as loader:
        weights = weights_by(rotnet, loader, 10)
    np.save(tmp_path / "weights.npy", weights)
    assert ((weights[:, 1:] < 1) & (weights[:, 1:] > 0)).all() and len(np.unique(weights[:, 1])) == 10
    assert torch.equal(small(10, noise_weights=str(tmp_path / "weights.npy")).noise, torch.from_numpy(weights))


def test_with_a_norm_above_the_head_embeddings_cannot_all_move_one_way() -> None:
    images = turned().views["global"][0]
    for norm in (False, True):
        method = small(head_norm=norm)
        with torch.no_grad():
            method.projector[0].bias += 100.0
            z = method.embed(images)
        assert (float((z[0] * z[1:]).sum(1).min()) > 0.9) is not norm
    with pytest.raises(ValueError, match=r"decoupling: model\.head_norm=true needs at least two images on each rank, got 1"):
        small(head_norm=True)(turned(1))
