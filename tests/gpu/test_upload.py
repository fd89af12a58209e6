"""Batches of the cpu engine on their way to a GPU: the same pixels, while the trainer's stream is busy, from pinned memory."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from viewmill import Loader

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("sidecar", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_pixels_arrive(sidecar: bool, dtype: str, files: Path) -> None:
    options = {"engine": "cpu", "threads": 4, "max_bad": 1.0, "dtype": dtype}
    with Loader(files, "simclr_pil", 32, sidecar=False, **options) as here, \
            Loader(files, "simclr_pil", 32, sidecar=sidecar, device="cuda", **options) as there:
        kept = list(there)
        for one, other in zip(here, kept, strict=True):
            assert other.views["global"].is_cuda and other.index.is_cuda and one.key == other.key
            assert torch.equal(one.views["global"], other.views["global"].cpu())


def test_the_copy_overlaps_the_trainers_work(files: Path) -> None:
    """A step that keeps the trainer's stream busy for 50 ms leaves the next batch copied by its end: waiting for it then takes
    less than the copy itself, and asking for it never waits for the step."""
    with Loader(files, "simclr_pil", 64, engine="cpu", threads=8, max_bad=1.0, epochs=None, device="cuda") as loader:
        stream = iter(loader)
        for _ in range(4):
            next(stream)
        asked = []
        for _ in range(6):
            time.sleep(0.5)  # batches are ready: only copying is left
            torch.cuda._sleep(100_000_000)
            began = time.perf_counter()
            batch = next(stream)
            asked.append(time.perf_counter() - began)
            assert bool(torch.isfinite(batch.views["global"]).all())
    assert sorted(asked)[len(asked) // 2] < 0.02


def test_closing_unpins_and_a_later_loop_goes_on(files: Path) -> None:
    loader = Loader(files, "simclr_pil", 32, engine="cpu", threads=4, max_bad=1.0, device="cuda")
    for number in range(3):
        batch = next(iter(loader))
        assert batch.position.tolist() == list(range(32 * number, 32 * number + 32))
        loader.close()
