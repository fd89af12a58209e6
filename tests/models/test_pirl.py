"""PIRL: image and tiles against one memory, which tile stands where, and that the memory holds images alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from viewmill.augment.draw import draw
from viewmill.augment.presets import recipe
from viewmill.models.pirl import PIRL, PIRLConfig
from viewmill.pipelines.batch import Batch
from viewmill.pipelines.engines import render
from viewmill.train import read

from .batches import batch_of, random_views
from .estimate import classified, estimated, unit

IMAGES, INDEX = 12, (7, 2, 11)


def small(images: int | None = IMAGES, **fields: Any) -> PIRL:
    torch.manual_seed(0)
    return PIRL(PIRLConfig(**{"backbone": "convnet4", "dim": 8, "negatives": 0, "temperature": 0.2, **fields}), image_px=16,
                images=images)


def some(count: int = 3) -> Batch:
    batch = batch_of(random_views(1, count, 16), patch=random_views(9, count, 8, seed=1))
    batch.index = torch.tensor(INDEX[:count])
    return batch


def numpy(x: Tensor) -> np.ndarray:
    found: np.ndarray = x.detach().double().numpy()
    return found


def through(x: np.ndarray, *layers: nn.Linear) -> np.ndarray:
    """Linear layers with ReLU between."""
    for number, layer in enumerate(layers):
        x = (np.maximum(x, 0) if number else x) @ numpy(layer.weight).T + numpy(layer.bias)
    return x


def embedded(method: PIRL, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """(image, tiles), each image's nine tiles one after the other."""
    image_layers, tile_layers = ([m for m in head if isinstance(m, nn.Linear)] for head in (method.image_head, method.tile_head))
    z_image = unit(through(numpy(method.encoder(batch.views["global"][0])), *image_layers))
    rows = []
    for i in range(len(batch.index)):
        tiles = numpy(method.encoder(batch.views["patch"][:, i]))
        rows.append(np.concatenate([through(tile[None], *tile_layers)[0] for tile in tiles]))
    return z_image, unit(through(np.array(rows), method.order_head[0]))


@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize("negatives", [0, 5])
def test_image_and_tiles_are_compared_with_one_memory(negatives: int, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch = small(negatives=negatives, head=head, image_weight=0.3).eval(), some()
    drawn = []
    one = method.bank.draw
    monkeypatch.setattr(method.bank, "draw", lambda index: drawn.append(one(index)) or drawn[-1])
    values = method(batch)
    z_image, z_patch = embedded(method, batch)
    memory = numpy(method.bank.rows.local)
    np.testing.assert_allclose(np.linalg.norm(memory, axis=1), 1, atol=1e-6)  # the published code's begin so
    if negatives:
        of_patch, z = estimated(z_patch, memory, drawn[0].rows.numpy(), 0.2)  # the first, so the normalizer is its
        of_image, _ = estimated(z_image, memory, drawn[1].rows.numpy(), 0.2, z)
        assert method.bank.z == pytest.approx(z, rel=1e-5)
        assert not torch.equal(drawn[0].rows, drawn[1].rows)
        soft = small(negatives=negatives, head=head, law="softmax").eval()
        assert soft.bank.law == "softmax" != method.bank.law
    else:
        of_patch, of_image = (classified(z, memory, np.array(INDEX), 0.2) for z in (z_patch, z_image))
        right = [np.mean((z @ memory.T).argmax(1) == INDEX) for z in (z_image, z_patch)]
        assert [float(values["image_accuracy"]), float(values["patch_accuracy"])] == pytest.approx(right)
    assert float(values["loss"].detach()) == pytest.approx(0.3 * of_image + 0.7 * of_patch, rel=1e-5)
    assert float(values["cosine"]) == pytest.approx(float((z_image * z_patch).sum(1).mean()), abs=1e-6)


class Levels(nn.Module):
    """A picture's mean level of red, as 256 features."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0].mean((1, 2))[:, None].expand(-1, 256)


def test_tiles_stand_side_by_side_in_the_order_in_which_they_are_shown() -> None:
    # Nine cells, the n-th of level 25 n + 5 in raster order: in the n-th place must be cell order[n].
    cells = np.repeat(np.repeat(25 * np.arange(9).reshape(3, 3) + 5, 11, 0), 11, 1).astype(np.uint8)
    pictures = [np.repeat(cells[:, :, None], 3, 2)] * 4
    plain = recipe("pirl_cifar")
    for op, changes in (("crop", {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}), ("jitter", {"p": 0.0}), ("photometric", {"p": 0.0}),
                        ("normalize", {"kind": "none", "mean": None, "std": None, "space": None})):
        plain = plain.with_op("*", op, **changes)
    params = draw(plain, 0, 0, np.arange(4), np.full((4, 2), 33))
    groups = {name: torch.as_tensor(views) for name, views in render(pictures, plain, params).items()}
    order = params["patch/0"]["permute"]["order"]
    assert len({tuple(row) for row in order.tolist()}) == 4  # each image has its own
    method = small()
    method.encoder, method.order_head = Levels(), nn.Identity()
    method.tile_head = nn.Sequential(nn.Linear(256, 1, bias=False))
    with torch.no_grad():
        method.tile_head[0].weight.fill_(1 / 256)
        z = method.embed_tiles(groups["patch"])
    levels = (25.0 * order + 5) / 255
    np.testing.assert_allclose(z.numpy(), unit(levels), atol=1e-5)


def test_the_order_head_sees_the_order_and_the_encoder_all_tiles_in_one_pass() -> None:
    method, batch = small().eval(), some()
    calls: list[tuple[int, ...]] = []
    method.encoder.register_forward_hook(lambda module, inputs, output: calls.append(tuple(inputs[0].shape)))
    z = method.embed_tiles(batch.views["patch"])
    assert calls == [(27, 3, 8, 8)]
    assert not torch.allclose(z, method.embed_tiles(batch.views["patch"].flip(0)), atol=1e-3)


def test_the_gradient_is_that_of_the_formula() -> None:
    method, batch = small().eval(), some()
    method(batch)["loss"].backward()
    memory, weight = numpy(method.bank.rows.local), numpy(method.order_head[0].weight)
    layer = method.tile_head[-1]
    encoded = [numpy(method.encoder(batch.views["patch"][:, i])) for i in range(3)]
    tiles = np.stack([np.concatenate([through(tile[None], layer)[0] for tile in of_image]) for of_image in encoded])

    def loss(weight: np.ndarray) -> float:
        return 0.5 * classified(unit(tiles @ weight.T + numpy(method.order_head[0].bias)), memory, np.array(INDEX), 0.2)

    assert method.order_head[0].weight.grad is not None
    for row, column in ((0, 0), (3, 40), (7, 71)):
        step = np.zeros_like(weight)
        step[row, column] = 1e-5
        slope = (loss(weight + step) - loss(weight - step)) / 2e-5
        assert float(method.order_head[0].weight.grad[row, column]) == pytest.approx(slope, rel=1e-3, abs=1e-7)
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("share", "idle"), [(1.0, "tile_head"), (0.0, "image_head")])
def test_what_has_no_weight_teaches_nothing(share: float, idle: str) -> None:
    method = small(image_weight=share).eval()
    method(some())["loss"].backward()
    moved = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert idle not in moved and moved >= {"encoder", "image_head" if share else "order_head"}


def test_after_a_step_the_memory_holds_the_images_embedding_and_never_the_tiles() -> None:
    method, batch = small(bank_momentum=0.25), some()
    before = numpy(method.bank.rows.local)
    with torch.no_grad():
        method(batch)
    z_image, _ = embedded(method, batch)  # batch norm has the batch's own statistics both times
    assert np.array_equal(numpy(method.bank.rows.local), before)
    method.after_step(0.5)
    expected = before.copy()
    expected[list(INDEX)] = unit(0.25 * before[list(INDEX)] + 0.75 * z_image)
    np.testing.assert_allclose(numpy(method.bank.rows.local), expected, atol=1e-6)


def test_features_and_embeddings_are_those_of_whole_images() -> None:
    method, batch = small().eval(), some()
    images = batch.views["global"][0]
    assert torch.equal(method.features(images), method.encoder(images)) and method.feature_dim == 256
    np.testing.assert_allclose(numpy(method.embed(images)), embedded(method, batch)[0], atol=1e-6)


def test_heads_and_runs_as_published() -> None:
    run, _ = read(["pirl", "data=train.tar"])
    assert (run.model.backbone, run.model.head, run.model.negatives, run.model.temperature, run.model.image_weight) == (
        "resnet50", "linear", 32000, 0.07, 0.5)
    assert (run.epochs, run.batch_size, run.optimizer.lr, run.optimizer.scaling) == (800, 1024, 0.03, "linear")
    assert (run.schedule.law, run.schedule.per, run.schedule.final_lr) == ("cosine", "epoch", 1.2e-4)
    for head, shapes in (("linear", [(128, 512)]), ("mlp", [(512, 512), (128, 512)])):
        method = PIRL(PIRLConfig("resnet18", head=head), image_px=32)
        for layers in (method.image_head, method.tile_head):
            linear = [m for m in layers if isinstance(m, nn.Linear)]
            assert [tuple(m.weight.shape) for m in linear] == shapes and all(m.bias is not None for m in linear)
            assert not any(isinstance(m, nn.BatchNorm1d) for m in layers)
        assert method.order_head[0].weight.shape == (128, 1152) and method.projection_head is method.image_head
        assert float(method.encoder.layer1[0].bn2.weight.detach().min()) == 1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="pirl needs 9 tiles in the group 'patch', the recipe has none; use recipe=pirl"):
        small()(batch_of(random_views(1, 2, 16)))
    with pytest.raises(ValueError, match="pirl needs 9 tiles in the group 'patch', the recipe has 4"):
        small()(batch_of(random_views(1, 2, 16), patch=random_views(4, 2, 8)))
    with pytest.raises(ValueError, match="needs the number of images"):
        small(None)(some())
    with pytest.raises(ValueError, match=r"model\.image_weight needs a number in \[0, 1\], got 1\.5"):
        PIRLConfig(image_weight=1.5)
    with pytest.raises(ValueError, match=r"model\.temperature"):
        PIRLConfig(temperature=0)
    with pytest.raises(ValueError, match="pirl needs a backbone that takes tiles as well as images, and alexnet takes one size"):
        PIRL(PIRLConfig("alexnet"), image_px=224)
    fixed = PIRL(PIRLConfig("swinv2_cr_tiny_224", dim=8), image_px=32, images=4)
    with pytest.raises(ValueError, match="backbone SwinTransformerV2Cr takes no views of 16 x 16 px"):
        fixed(batch_of(random_views(1, 2, 32), patch=random_views(9, 2, 16)))


def test_a_vision_transformer_takes_tiles_that_its_patches_divide() -> None:
    method = PIRL(PIRLConfig("vit_tiny_patch16_224", dim=8, negatives=0), image_px=32, images=4)
    batch = batch_of(random_views(1, 2, 32), patch=random_views(9, 2, 16))
    assert method.embed_tiles(batch.views["patch"]).shape == (2, 8)
    method(batch)["loss"].backward()

def test_with_a_norm_above_the_heads_embeddings_cannot_all_move_one_way() -> None:
    batch = some()
    for norm in (False, True):
        method = small(head_norm=norm)
        with torch.no_grad():
            method.image_head[0].bias += 100.0
            method.order_head[0].bias += 100.0
            found = method.embed(batch.views["global"][0]), method.embed_tiles(batch.views["patch"])
        for z in found:
            assert (float((z[0] * z[1:]).sum(1).min()) > 0.9) is not norm
    with pytest.raises(ValueError, match=r"pirl: model\.head_norm=true needs at least two images on each rank, got 1"):
        small(head_norm=True)(some(1))
