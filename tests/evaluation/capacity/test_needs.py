"""From what a step takes to what a run needs: arithmetic, worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from viewmill.evaluation.capacity.counting import Counted
from viewmill.evaluation.capacity.gpus import GPUS, gpu_of
from viewmill.evaluation.capacity.needs import CUDA_BYTES, GIB, LAUNCH_S, Given, Needs, needs, precision_of, roofline
from viewmill.evaluation.capacity.page import page
from viewmill.evaluation.capacity.views import Stored, core_seconds, view_pixels
from viewmill.train import read

GPU = replace(GPUS["h100"], half=100e12, tf32=50e12, single=10e12, bandwidth=1e12, memory_gib=8, decode=1000.0, cores=64,
              reach=0.5)

# One op that products bound, 2 s at the peak; one that memory bounds, 1 s; one of 0.
STEP = Counted(images=100, trained=1_000_000, following=500_000, buffers=1000, rows=8000, biggest=100_000, outside=200_000,
               flops=200 * 10**12, forward_flops=70 * 10**12, saved=3 * 10**9, copies=2_000_000, views=6_000_000,
               ops=((200 * 10**12, 10**9, False), (0, 10**12, False), (0, 0, False)))
STORED = Stored(8000, 100e3, 0.2e6, "made up")


def made(words: str = "", counted: Counted = STEP, **given: Any) -> Needs:
    config, recipe = read([*f"dino epochs=10 batch_size=800 {words}".split(), "data=unread"])
    usual = {"gpu": GPU, "gpus": 8, "gpus_per_node": 4, "precision": "bf16", "fused": True}
    return needs(config, recipe, Given(**{**usual, **given}), counted, STORED)


def test_hours_come_from_the_roofline_and_its_share() -> None:
    found = made()
    update = 4 * (7 * 1_000_000 + 3 * 500_000) / 1e12  # AdamW reads four and writes three, a teacher reads two, writes one
    seconds = (2 + 1 + update) / 0.5
    assert found.step_seconds == pytest.approx(seconds)
    assert found.steps == 10 * (8000 // 800)
    assert found.hours == pytest.approx(100 * seconds / 3600)
    assert found.gpu_hours == pytest.approx(8 * 100 * seconds / 3600)
    assert found.utilisation == pytest.approx(200e12 / 100e12 / seconds)


def test_a_utilisation_that_is_given_decides() -> None:
    found = made(utilisation=0.25)
    assert found.step_seconds == pytest.approx(2 / 0.25)
    assert found.utilisation == pytest.approx(0.25)
    assert ("utilisation", "given") in [(each.what, each.source) for each in found.assumptions]


def test_many_small_ops_wait_for_whoever_starts_them() -> None:
    found = made(counted=replace(STEP, ops=((10**6, 10**3, False),) * 20_000), gpus=1)
    assert found.step_seconds == pytest.approx(20_000 * LAUNCH_S)


def test_parts_of_a_batch_take_their_time_one_after_the_other() -> None:
    once, twice = made("accumulate=1"), made("accumulate=2")
    update = 4 * (7 * 1_000_000 + 3 * 500_000) / 1e12
    assert twice.step_seconds - 2 * update == pytest.approx(2 * (once.step_seconds - 2 * update))


def test_loaders_cores_decoders_and_storage_follow_from_the_rate() -> None:
    found = made()
    rate = 800 / found.step_seconds
    assert found.images_per_s == pytest.approx(rate)
    assert found.images_per_s_gpu == pytest.approx(rate / 8)
    assert found.views_per_s == pytest.approx(10 * rate)
    assert found.view_pixels_per_s == pytest.approx((2 * 224**2 + 8 * 96**2) * rate)
    assert found.decoded_pixels_per_s == pytest.approx(0.2e6 * rate)
    assert found.nodes == 2
    assert found.cores == pytest.approx(rate / 2 * 2 * 2.51e-3)  # 2.51 ms an image with two threads
    assert found.node_cores == 32  # four of the eight GPUs of a node with 64
    assert found.decoders == pytest.approx(rate / 2 / 1000)
    assert found.storage_per_s == pytest.approx(100e3 * rate)
    assert found.node_storage_per_s == pytest.approx(50e3 * rate)
    assert found.data_bytes == 8000 * 100e3
    assert found.copied_per_s_gpu == pytest.approx(60_000 * rate / 8)
    assert found.host_batches == 3 * 6_000_000 * 4  # two ahead and one in the trainer's hands, of each of four GPUs
    assert made(cores_per_node=12, images_per_core=50).cores == pytest.approx(rate / 2 / 50)


def test_memory_of_a_gpu_that_has_everything() -> None:
    found = made()
    assert found.memory == {
        "weights that learn": 4_000_000, "teachers and other weights": 2_000_000, "gradients": 4_000_000,
        "averages of adamw": 8_000_000, "buffers, queues and memories": 4000 + 4 * 8000 / 8,
        "weights in half precision": 2_000_000, "kept for the backward pass": 3 * 10**9, "a batch of views": 6_000_000,
        "CUDA and its libraries": CUDA_BYTES,
        "gradients in buckets, to exchange": 4_000_000}
    assert found.memory_bytes == sum(found.memory.values())
    assert found.exchange == pytest.approx(2 * 4_000_000 * 7 / 8)
    assert found.node_exchange_per_s == pytest.approx(found.exchange / found.step_seconds)


def test_memory_of_a_gpu_with_its_share() -> None:
    found = made("parallel=fsdp")
    assert found.memory["weights that learn"] == 4_000_000 / 8
    assert found.memory["teachers and other weights"] == 2_000_000 / 8
    assert found.memory["averages of adamw"] == 8_000_000 / 8
    assert found.memory["whole weights, of blocks and of what is in none"] == 4 * (200_000 + 3 * 100_000)
    assert "gradients in buckets, to exchange" not in found.memory
    assert found.exchange == pytest.approx(4 * (3 * 1_000_000 + 500_000) * 7 / 8)


def test_one_gpu_exchanges_nothing() -> None:
    found = made(gpus=1)
    assert (found.nodes, found.exchange, found.node_exchange_per_s) == (1, 0, 0)
    assert "gradients in buckets, to exchange" not in found.memory
    assert made(gpus=4).node_exchange_per_s == 0  # within a node


@pytest.mark.parametrize(("optimizer", "averages"), [("adamw", 2), ("lars", 1), ("sgd", 1)])
def test_a_checkpoint_has_weights_averages_and_memories(optimizer: str, averages: int) -> None:
    found = made(f"optimizer.name={optimizer}")
    assert found.checkpoint == 4 * ((1 + averages) * 1_000_000 + 500_000 + 1000 + 8000)


def test_the_roofline_takes_each_op_by_itself() -> None:
    ops = ((10**13, 0, False), (10**13, 0, True), (10**12, 3 * 10**12, False))
    assert roofline(ops, GPU, "bf16") == pytest.approx(0.1 + 0.1 + 3)
    assert roofline(ops, GPU, "fp32") == pytest.approx(1 + 0.2 + 3)  # convolutions may round
    assert roofline(ops, replace(GPU, bf16=False), "bf16") == pytest.approx(1 + 0.2 + 3)


def test_auto_is_what_the_gpu_has() -> None:
    config, _ = read(["dino", "data=unread"])
    assert precision_of(config, GPUS["h200"]) == "bf16"
    assert precision_of(config, GPUS["v100"]) == "fp16"
    assert precision_of(replace(config, precision="fp32"), GPUS["h200"]) == "fp32"


def test_views_that_were_not_measured_cost_what_dinos_do() -> None:
    _, recipe = read(["dino", "recipe=dino_800ep", "data=unread"])
    assert view_pixels(recipe) == 2 * 224**2 + 10 * 96**2
    seconds, how = core_seconds(recipe, 0.2e6)
    assert seconds == pytest.approx(1.9e-3 + 18e-9 * (2 * 224**2 + 10 * 96**2))
    assert how.startswith("computed")
    twice, _ = core_seconds(recipe, 0.4e6)
    assert twice - seconds == pytest.approx(1.9e-3)


def test_a_changed_recipe_is_no_longer_the_measured_one() -> None:
    _, recipe = read(["dino", "recipe.local.size_px=64", "data=unread"])
    seconds, how = core_seconds(recipe, 0.2e6)
    assert seconds == pytest.approx(1.9e-3 + 18e-9 * (2 * 224**2 + 8 * 64**2))
    assert how.startswith("computed")


def test_the_page_says_what_does_not_suffice() -> None:
    lines = page(made(counted=replace(STEP, saved=9 * 2**30), cores_per_node=1, images_per_core=1))
    assert "does not fit" in lines
    assert "too few" in lines
    fine = page(made())
    assert "fits" in fine and "too few" not in fine
    assert f"of {GPU.memory_gib:g}" in fine
    assert all(len(line) <= 118 for line in fine.splitlines())


def test_every_gpu_says_where_its_figures_are_from() -> None:
    for gpu in GPUS.values():
        assert gpu.source and gpu.reach_source and gpu.cores_source and gpu.decode_source
        assert gpu.single < gpu.half and 0 < gpu.reach < 1 and gpu.memory_gib * GIB > 30e9
    with pytest.raises(ValueError, match=r"^gpu=h10 is not known; did you mean h100\? use one of v100, a100-40"):
        gpu_of("h10")
