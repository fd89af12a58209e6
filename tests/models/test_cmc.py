"""CMC: each half of a picture against the memory of the other half, and the two encoders as one to whatever judges them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from viewmill.augment.presets import recipe
from viewmill.evaluation.finetune.pieces import layer_of
from viewmill.evaluation.layers import Maps
from viewmill.evaluation.untrained import initialized
from viewmill.models.backbone import set_drop_path
from viewmill.models.cmc import CMC, CMCConfig
from viewmill.models.layers import maps
from viewmill.pipelines.batch import Batch
from viewmill.train import read

from .batches import batch_of, random_views
from .estimate import classified, estimated, unit

IMAGES, INDEX = 12, (7, 2, 11)


def small(images: int | None = IMAGES, **fields: Any) -> CMC:
    torch.manual_seed(0)
    return CMC(CMCConfig(**{"backbone": "convnet4", "dim": 8, "negatives": 0, "temperature": 0.2, **fields}), image_px=16,
               images=images)


def halves(count: int = 3, seed: int = 0) -> Batch:
    lab = random_views(1, count, 16, seed)
    batch = batch_of(luma=lab[:, :, :1], chroma=lab[:, :, 1:])
    batch.index = torch.tensor(INDEX[:count])
    return batch


def numpy(x: Tensor) -> np.ndarray:
    found: np.ndarray = x.detach().double().numpy()
    return found


def features(method: CMC, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Of lightness and of colours, before the heads."""
    return numpy(method.encoder.luma(batch.views["luma"][0])), numpy(method.encoder.chroma(batch.views["chroma"][0]))


def headed(x: np.ndarray, head: torch.nn.Linear) -> np.ndarray:
    return unit(x @ numpy(head.weight).T + numpy(head.bias))


@pytest.mark.parametrize("negatives", [0, 5])
def test_each_half_is_compared_with_the_memory_of_the_other(negatives: int, monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch = small(negatives=negatives).eval(), halves()
    drawn = []
    draw = method.luma_bank.draw
    monkeypatch.setattr(method.luma_bank, "draw", lambda index: drawn.append(draw(index)) or drawn[-1])
    values = method(batch)
    luma, chroma = features(method, batch)
    z_luma, z_chroma = headed(luma, method.luma_head[0]), headed(chroma, method.chroma_head[0])
    of_luma, of_chroma = (numpy(bank.rows.local) for bank in (method.luma_bank, method.chroma_bank))
    assert not np.allclose(of_luma, of_chroma)
    if negatives:
        rows = drawn[0].rows.numpy()  # the same images for both
        assert len(drawn) == 1 and rows.shape == (3, 6)
        first, z = estimated(z_luma, of_chroma, rows, 0.2)
        second, other = estimated(z_chroma, of_luma, rows, 0.2)
        assert method.chroma_bank.z == pytest.approx(z, rel=1e-5) and method.luma_bank.z == pytest.approx(other, rel=1e-5)
    else:
        first, second = (classified(z, memory, np.array(INDEX), 0.2) for z, memory in ((z_luma, of_chroma), (z_chroma, of_luma)))
    assert float(values["loss"].detach()) == pytest.approx(first + second, rel=1e-5)
    assert float(values["cosine"]) == pytest.approx(float((z_luma * z_chroma).sum(1).mean()), abs=1e-6)
    if not negatives:
        right = [np.mean((z @ memory.T).argmax(1) == INDEX) for z, memory in ((z_luma, of_chroma), (z_chroma, of_luma))]
        assert [float(values["luma_accuracy"]), float(values["chroma_accuracy"])] == pytest.approx(right)


def test_the_gradient_is_that_of_the_formula() -> None:
    method, batch = small().eval(), halves()
    method(batch)["loss"].backward()
    luma, _ = features(method, batch)
    weight = numpy(method.luma_head[0].weight)
    memory = numpy(method.chroma_bank.rows.local)

    def loss(weight: np.ndarray) -> float:
        return classified(unit(luma @ weight.T + numpy(method.luma_head[0].bias)), memory, np.array(INDEX), 0.2)

    assert method.luma_head[0].weight.grad is not None
    for row, column in ((0, 0), (3, 50), (7, 100)):
        step = np.zeros_like(weight)
        step[row, column] = 1e-5
        slope = (loss(weight + step) - loss(weight - step)) / 2e-5
        assert float(method.luma_head[0].weight.grad[row, column]) == pytest.approx(slope, rel=1e-3, abs=1e-7)


def test_no_half_teaches_the_encoder_of_the_other() -> None:
    gradients = []
    for seed in (0, 1):  # two pictures of the same lightness
        method, batch = small().eval(), halves()
        batch.views["chroma"] = halves(seed=seed).views["chroma"]
        method(batch)["loss"].backward()
        gradients.append((method.encoder.luma.layers[0].weight.grad, method.encoder.chroma.layers[0].weight.grad))
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
    assert not torch.allclose(gradients[0][1], gradients[1][1])
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


def test_after_a_step_each_memory_holds_its_own_halves_embedding() -> None:
    method, batch = small(bank_momentum=0.25), halves()
    before = [numpy(bank.rows.local) for bank in (method.luma_bank, method.chroma_bank)]
    method(batch)
    embedded: dict[str, np.ndarray] = {}
    heads = method.luma_head[0], method.chroma_head[0]
    for name, head, x in zip(("luma", "chroma"), heads, features(method, batch), strict=True):
        embedded[name] = headed(x, head)  # batch norm has the batch's own statistics both times
    assert all(np.array_equal(numpy(bank.rows.local), rows)
               for bank, rows in zip((method.luma_bank, method.chroma_bank), before, strict=True))
    method.after_step(0.5)
    for name, bank, rows in zip(("luma", "chroma"), (method.luma_bank, method.chroma_bank), before, strict=True):
        expected = rows.copy()
        expected[list(INDEX)] = unit(0.25 * rows[list(INDEX)] + 0.75 * embedded[name])
        np.testing.assert_allclose(numpy(bank.rows.local), expected, atol=1e-6)


def test_judging_leaves_the_memory_alone_and_needs_none() -> None:
    method, batch = small().eval(), halves()
    before = method.luma_bank.rows.local.clone()
    method(batch)
    method.after_step(0.5)
    assert torch.equal(method.luma_bank.rows.local, before)
    judged = small(None)
    for name, parameter in small().named_parameters():  # a network begins the same with and without a memory
        assert torch.equal(parameter, dict(judged.named_parameters())[name])
    with pytest.raises(ValueError, match="needs the number of images"):
        judged(batch)


def test_features_are_both_encoders_side_by_side() -> None:
    method, lab = small().eval(), random_views(1, 3, 16)[0]
    found = method.features(lab)
    assert method.feature_dim == 256 and torch.equal(found, method.encoder(lab))  # 128 of each, half of 256
    assert torch.equal(found[:, :128], method.encoder.luma(lab[:, :1]))
    assert torch.equal(found[:, 128:], method.encoder.chroma(lab[:, 1:]))
    z = method.embed(lab)
    assert z.shape == (3, 16) and torch.allclose(z.unflatten(1, (2, 8)).norm(dim=2), torch.ones(3, 2))


def test_maps_are_both_encoders_channels_one_above_the_other() -> None:
    method, lab = small().eval(), random_views(1, 2, 16)[0]
    shown = maps(method.encoder, lab)
    assert [tuple(x.shape[1:]) for x in shown.values()] == [(32, 8, 8), (64, 4, 4), (128, 2, 2), (256, 1, 1)]
    assert torch.equal(shown["conv2"][:, 32:], method.encoder.chroma.maps(lab[:, 1:])["conv2"])
    timms = CMC(CMCConfig("resnet18"), image_px=32).eval()
    assert [x.shape[1] for x in maps(timms.encoder, torch.zeros(1, 3, 32, 32)).values()] == [128, 64, 128, 256, 512]


def test_whatever_judges_it_sees_one_lab_image() -> None:
    fields = CMCConfig("convnet4")
    encoder = initialized("cmc", fields, recipe("cmc_cifar"), 0)
    assert encoder.view.instances[0].channels == 3 and encoder.image_px == 32
    assert encoder(torch.zeros(2, 3, 32, 32)).shape == (2, 256) == (2, encoder.dim)
    assert Maps(encoder, "max", 512, None, torch.device("cpu")).dims["conv3"] == 128 * 4
    batch = halves()
    lab = small().shown(batch.views)  # what a monitor looks at while it trains
    assert torch.equal(lab[:, :, :1], batch.views["luma"]) and torch.equal(lab[:, :, 1:], batch.views["chroma"])


def test_two_networks_of_half_the_width_as_published() -> None:
    run, _ = read(["cmc", "data=train.tar"])
    assert (run.model.backbone, run.model.width, run.model.negatives, run.model.temperature) == ("resnet50", 0.5, 16384, 0.07)
    assert (run.epochs, run.batch_size, run.optimizer.name, run.optimizer.lr, run.optimizer.weight_decay) == (
        240, 128, "sgd", 0.03, 1e-4)
    assert (run.schedule.law, run.schedule.steps_at, run.schedule.step_factor) == ("steps", (120, 160, 200), 0.1)
    method = CMC(CMCConfig("resnet18"), image_px=32)
    assert method.encoder.luma.conv1.weight.shape == (64, 1, 3, 3) and method.encoder.chroma.conv1.weight.shape == (64, 2, 3, 3)
    assert method.luma_head[0].weight.shape == (128, 256) and float(method.encoder.luma.layer1[0].bn2.weight.detach().min()) == 1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="cmc compares the groups 'luma' and 'chroma', the recipe has global; use recipe=cmc"):
        small()(batch_of(random_views(1, 2, 16)))
    with pytest.raises(ValueError, match=r"model\.width needs a number above 0, got 0"):
        CMCConfig(width=0)
    with pytest.raises(ValueError, match=r"model\.bank_momentum"):
        CMCConfig(bank_momentum=1)
    with pytest.raises(ValueError, match="cmc needs Lab images of 3 channels, got in_chans=1"):
        CMC(CMCConfig("convnet4"), image_px=16, in_chans=1)


def test_fine_tuning_treats_both_encoders_alike() -> None:
    encoder = CMC(CMCConfig("resnet18"), image_px=32).encoder
    set_drop_path(encoder, 0.3)
    rates = [[block.drop_path.drop_prob for block in getattr(network, stage) if not isinstance(block.drop_path, nn.Identity)]
             for network in (encoder.luma, encoder.chroma) for stage in ("layer1", "layer4")]
    assert rates[0] == rates[2] == pytest.approx([0.3 / 7]) and rates[1] == rates[3] == pytest.approx([0.3 * 6 / 7, 0.3])
    layers = layer_of(encoder)
    assert layers.keys() == dict(encoder.named_parameters()).keys()
    assert layers["luma.conv1.weight"] == layers["chroma.conv1.weight"] == 0
    assert layers["luma.layer4.1.conv2.weight"] == layers["chroma.layer4.1.conv2.weight"] > 3


def test_with_a_norm_above_the_heads_embeddings_cannot_all_move_one_way() -> None:
    batch = halves()
    for norm in (False, True):
        method = small(head_norm=norm)
        with torch.no_grad():
            method.luma_head[0].bias += 100.0
            z = method.embed(method.shown(batch.views)[0])[:, :8]
        assert (float((z[0] * z[1:]).sum(1).min()) > 0.9) is not norm
    assert len(list(small(head_norm=True).luma_head[1].parameters())) == 0
    with pytest.raises(ValueError, match=r"cmc: model\.head_norm=true needs at least two images on each rank, got 1"):
        small(head_norm=True)(halves(1))
    small(head_norm=True).eval()(halves(1))
