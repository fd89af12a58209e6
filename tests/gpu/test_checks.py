"""What `viewmill doctor` checks of a GPU, one test a check."""

from __future__ import annotations

from typing import Any

import pytest
from viewmill.pipelines import checks, inventory, rates
from viewmill.pipelines.checks import Way

pytestmark = pytest.mark.gpu
TORCH, UPLOAD, DALI = Way("torch", "cuda"), Way("cpu", "cuda"), Way("dali", "cuda")


@pytest.mark.parametrize(("check", "way"), [
    (checks.crops, TORCH), (checks.crops, DALI), (checks.parity, TORCH), (checks.parity, DALI), (checks.files, DALI),
    (checks.kept, UPLOAD), (checks.kept, DALI), (checks.memory, UPLOAD), (checks.memory, DALI),
    (checks.overlap, UPLOAD), (checks.overlap, DALI),
], ids=lambda each: str(each) if isinstance(each, Way) else each.__name__)
def test_check(check: Any, way: Way) -> None:
    if way.missing:
        pytest.skip(way.missing)
    found = check(way)
    print(f"\n{found}")
    assert found.verdict == "ok", found.seen


@pytest.mark.slow
@pytest.mark.parametrize("way", [UPLOAD, DALI], ids=str)
def test_memory_does_not_grow_over_ten_thousand_batches(way: Way) -> None:
    if way.missing:
        pytest.skip(way.missing)
    assert checks.memory(way, 10_000).verdict == "ok"


def test_the_gpu_is_described_and_a_vit_s_trains_on_it() -> None:
    found = inventory.devices()
    assert found["gpus"][0]["memory_bytes"] > 2**30 and found["cuda_driver"] != "none" and found["jpeg_decoder"]
    assert rates.vit_s(0.5).images_per_second > 1
