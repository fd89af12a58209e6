"""What a step takes, counted on shapes, against formulas by hand and against a real step on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from viewmill.augment.draw import draw
from viewmill.evaluation.capacity.counting import TYPICAL_HW, Counted, count
from viewmill.models import METHODS, build
from viewmill.models.training.step import image_side
from viewmill.pipelines.batch import Batch
from viewmill.train import read

TINY_MAE = "mae model.embed_dim=64 model.depth=2 model.heads=2 model.decoder_dim=32 model.decoder_depth=1 model.decoder_heads=2"


def counted(words: str, images: int = 2, data_images: int = 1000, precision: str = "fp32", fused: bool = False) -> Counted:
    config, recipe = read([*words.split(), "data=unread"])
    return count(config, recipe, images, data_images, precision, fused)


def block_flops(tokens: int, dim: int) -> int:
    """Of a transformer's block with an MLP of four times its width: 12 ND^2 and 2 N^2 D multiply-adds, two operations each."""
    return 2 * (12 * tokens * dim**2 + 2 * tokens**2 * dim)


def test_dinos_weights_are_those_of_a_vit_s_and_its_head() -> None:
    found = counted("dino", images=1)
    vit = 12 * (12 * 384**2 + 13 * 384) + (768 * 384 + 384) + 384 + 197 * 384 + 2 * 384
    head = (384 * 2048 + 2048) + (2048 * 2048 + 2048) + (2048 * 256 + 256) + 65536 * 256
    assert vit == 21_665_664
    assert found.trained == vit + head
    assert found.following == vit + head + 2 * 65536  # and the prototypes' lengths, which both hold still
    assert found.biggest == 12 * 384**2 + 13 * 384


def test_dinos_operations_are_those_of_its_views() -> None:
    images = 3
    found = counted("dino", images=images)
    large = 2 * 196 * 768 * 384 + 12 * block_flops(197, 384)
    local = 2 * 36 * 768 * 384 + 12 * block_flops(37, 384)
    head = 2 * (384 * 2048 + 2048 * 2048 + 2048 * 256 + 256 * 65536)
    student, teacher = 2 * large + 8 * local + 10 * head, 2 * large + 2 * head
    loss = found.forward_flops - images * (student + teacher)
    assert 0 <= loss <= 0.001 * found.forward_flops  # of the two distributions with each other
    # Back through everything, to weights and to inputs, but to no pixel.
    patches = 2 * 768 * 384 * (2 * 196 + 8 * 36)
    backward = found.flops - found.forward_flops - 2 * loss
    assert backward == pytest.approx(images * (2 * student - patches), rel=0.002)


def test_masked_patches_are_not_counted() -> None:
    found = counted(TINY_MAE, images=5)
    encoder = 2 * 196 * 768 * 64 + 2 * block_flops(50, 64)  # all patches are projected, a quarter and a class token go on
    decoder = 2 * 50 * 64 * 32 + block_flops(197, 32)
    least, most = (encoder + decoder + 2 * tokens * 32 * 768 for tokens in (196, 197))
    assert 5 * least <= found.forward_flops <= 5 * most


def real(words: str, images: int) -> tuple[int, int, int]:
    """(operations forward, in all, bytes that autograd keeps) of the same step on the CPU."""
    config, recipe = read([*words.split(), "data=unread"])
    method = build(config.method, config.model, image_px=image_side(recipe), images=1000).train()
    index = np.arange(images)
    params = draw(recipe, 0, 0, index, np.tile(np.array(TYPICAL_HW), (images, 1)), position=index, length=1000)
    views = {name: torch.rand(g.count, images, g.channels, g.height, g.width) for name, g in recipe.groups.items()}
    batch = Batch(views, params, torch.zeros(images), [""] * images, torch.from_numpy(index), torch.arange(images),
                  torch.zeros(images, dtype=torch.bool), 0)
    own = {value.untyped_storage().data_ptr() for value in [*method.parameters(), *method.buffers()]}
    kept: dict[int, torch.Tensor] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        if value.untyped_storage().data_ptr() not in own and value.is_floating_point():
            kept[value.untyped_storage().data_ptr()] = value
        return value

    method.before_step(0.5)
    with FlopCounterMode(display=False) as forward, torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        loss = method(batch)["loss"]
    saved = sum(value.untyped_storage().nbytes() for value in kept.values())
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return forward.get_total_flops(), forward.get_total_flops() + backward.get_total_flops(), saved


@pytest.mark.parametrize("words", [
    "simclr recipe=simclr_cifar model.backbone=convnet4", "barlow_twins recipe=barlow_cifar model.backbone=convnet4",
    "moco_v3 recipe=moco_v3_cifar model.backbone=convnet4 model.patch_px=null"])
def test_a_step_on_shapes_takes_what_a_real_one_does(words: str) -> None:
    found = counted(words, images=4)
    forward, flops, saved = real(words, 4)
    assert (found.forward_flops, found.flops) == (forward, flops)
    assert found.saved == pytest.approx(saved, rel=0.02)  # a few numbers that a loss looks at are real in one of them alone


def test_half_precision_keeps_less_and_makes_weights_over() -> None:
    full, half = counted(TINY_MAE), counted(TINY_MAE, precision="bf16")
    assert full.copies == 0
    assert full.flops == half.flops
    assert 0.4 * full.saved < half.saved < 0.9 * full.saved
    config, recipe = read([*TINY_MAE.split(), "data=unread"])
    method = build(config.method, config.model, image_px=image_side(recipe))
    matrices = sum(value.numel() for name, value in method.named_parameters()
                   if value.requires_grad and value.ndim != 3 and "norm" not in name)
    assert half.copies == 2 * matrices


def test_fused_attention_keeps_no_weights_of_pairs() -> None:
    plain = counted(TINY_MAE, images=1, precision="bf16")
    fused = counted(TINY_MAE, images=1, precision="bf16", fused=True)
    pairs = 2 * 2 * 50**2 + 1 * 2 * 197**2  # blocks, heads, tokens
    assert plain.saved - fused.saved > 2 * pairs  # once in two bytes at least
    assert plain.forward_flops == fused.forward_flops


def test_blocks_that_compute_themselves_anew_keep_less_and_take_more() -> None:
    usual, anew = counted(TINY_MAE), counted(f"{TINY_MAE} activation_checkpointing=true")
    inside = 2 * 2 * 50 * (2 * 4 * 64)  # blocks, images, tokens, what comes into and out of the MLP's activation
    assert usual.saved - anew.saved > 4 * inside
    assert usual.forward_flops == anew.forward_flops
    assert usual.flops < anew.flops <= usual.flops + usual.forward_flops


def test_memories_of_images_are_told_apart() -> None:
    found = counted("instdisc recipe=instdisc_cifar model.backbone=convnet4", data_images=5000)
    assert found.rows == 5000 * 128


def test_what_cannot_be_trained_so_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^accumulate=2: simclr needs a batch in one pass"):
        counted("simclr recipe=simclr_cifar model.backbone=convnet4 accumulate=2")
    with pytest.raises(ValueError, match=r"^parallel=fsdp is not for deepcluster"):
        counted("deepcluster recipe=deepcluster_cifar parallel=fsdp")


NEEDS_MORE = {"beit": "model.tokenizer=dvae", "cae": "model.tokenizer=dvae", "milan": "model.teacher=own model.target_dim=768",
              "eva": "model.teacher=own model.target_dim=1408"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in METHODS if name != "pseudo_labels"])
def test_every_method_is_counted(name: str) -> None:
    found = counted(f"{name} {NEEDS_MORE.get(name, '')}", images=16, data_images=20_000, precision="bf16", fused=True)
    # A backward pass through all that learns takes about twice its forward pass; a teacher has none.
    assert 0.4 * found.forward_flops < found.flops - found.forward_flops <= 2.6 * found.forward_flops
    assert found.saved > 0 and found.views > 0
