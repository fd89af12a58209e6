"""The dali engine on a GPU: parity with the CPU, streams. `pytest -m gpu -s` also prints rates. Memory, and batches that are
kept: test_checks.py."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import viewmill as vm
from viewmill import Batch, Loader, Recipe, View
from viewmill.augment.ops import Crop, Flip
from viewmill.pipelines.engines import dali

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(dali.missing()), reason="NVIDIA DALI is not installed")]

CROPS = Recipe((View("large", 224, (Crop(size_px=224), Flip()), count=2), View("small", 96, (Crop(size_px=96), Flip()), count=4)))


def open_loader(files: Path, recipe: Any = CROPS, **options: Any) -> Loader:
    given = {"engine": "dali", "device": "cuda", "batch_size": 64, "threads": 4, "max_bad": 1.0, **options}
    return Loader(files, recipe, given.pop("batch_size"), **given)


def same_samples(one: Batch, other: Batch) -> bool:
    names = ("index", "position", "label", "substitute", "padding")
    return one.key == other.key and all(torch.equal(getattr(one, n).cpu(), getattr(other, n).cpu()) for n in names)


def test_batches_are_born_there_and_hold_what_the_cpu_engine_shows(files: Path) -> None:
    """nvJPEG's inverse DCT and colour conversion are its own: a level or two before the crop, on the mean much less."""
    with open_loader(files) as ours, open_loader(files, engine="cpu", device=None) as theirs:
        for one, other in zip(ours, theirs, strict=True):
            assert same_samples(one, other) and one.index.is_cuda
            for group, views in other.views.items():
                assert one.views[group].is_cuda and one.views[group].shape == views.shape
                difference = (one.views[group].cpu() - views).abs() * 255
                assert float(difference.mean()) < 0.4 and float(difference.quantile(0.999) if difference.numel() < 1 << 24
                                                                else difference.flatten()[:: 64].quantile(0.999)) <= 4
        assert ours.faults == 0


def test_geometry_alone_is_the_contracts(files: Path) -> None:
    """The same pixels in, without a JPEG between: the cut, the filter and the flip."""
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((300, 411), (97, 98), (640, 480))]
    for filter in ("bilinear", "bicubic", "lanczos"):
        recipe = Recipe((View("a", 96, (Crop(size_px=96, filter=filter), Flip())),))
        params = vm.draw(recipe, 0, 0, np.arange(3), np.array([i.shape[:2] for i in images]))
        made = dali.render(images, recipe, params, device="cuda")["a"].cpu()
        apart = (made - vm.render(images, recipe, params, engine="torch")["a"]).abs() * 255
        assert float(apart.max()) <= 3 and float(apart.mean()) < 0.05, filter


@pytest.mark.parametrize("name", ["dino", "simclr_pil", "mae"])
def test_throughput(name: str, files: Path) -> None:
    """Printed, not judged."""
    with open_loader(files, name, epochs=None, batch_size=128, threads=8) as loader:
        stream = iter(loader)
        for _ in range(8):
            next(stream)
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(40):
            next(stream)
        torch.cuda.synchronize()
    print(f"\n{name}: {40 * 128 / (time.perf_counter() - began):,.0f} images/s on {torch.cuda.get_device_name()}")


def test_a_batch_is_ready_only_when_the_trainers_stream_says_so(files: Path) -> None:
    """Read at once on a busy stream: the same as read after everything has ended."""
    with open_loader(files, seed=4) as loader:
        trainer = torch.cuda.Stream()
        early = []
        with torch.cuda.stream(trainer):
            for batch in loader:
                early.append(batch.views["large"].double().sum())
        torch.cuda.synchronize()
    with open_loader(files, seed=4) as loader:
        late = []
        for batch in loader:
            torch.cuda.synchronize()
            late.append(batch.views["large"].double().sum())
    assert torch.allclose(torch.stack(early), torch.stack(late), rtol=1e-9)


def test_damage_that_shows_only_in_decoding_costs_one_batch_the_gpu(files: Path, tmp_path: Path) -> None:
    import shutil

    root = Path(shutil.copytree(files, tmp_path / "files"))
    whole = (root / "200.jpg").read_bytes()
    (root / "200.jpg").write_bytes(whole[:2000] + b"\xff\xd9")  # ends as it should, far too early
    with open_loader(root) as loader:
        assert sum(len(batch) for batch in loader) == 512 and loader.faults <= 1
