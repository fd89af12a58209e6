"""How fast this machine makes views, a few seconds each, and how fast it would train a ViT-S on them.

A glance, not a benchmark: `viewmill bench` measures in paired rounds, on your own images, beside other libraries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from ..augment import Recipe, View, presets
from ..augment.ops import CenterCrop
from . import specimens
from .checks import Way
from .decode import decode
from .loader import Loader
from .placement import cores

DISTINCT = 16
"""Photographs; they are shown over and over."""


@dataclass(frozen=True)
class Rate:
    """what: "decode", "simclr" (2 x 224 px), "dino" (2 x 224 and 8 x 96 px) or "vit-s"; way: by what."""

    what: str
    way: str
    images_per_second: float

    @property
    def views(self) -> int:
        """Of each image."""
        return {"simclr": 2, "dino": 10, "vit-s": 2}.get(self.what, 1)


def decoding(seconds: float) -> Rate:
    """By this package's decoder, in as many threads as there are cores."""
    return Rate("decode", "simplejpeg on the CPU", each_second(decode, photographs(), cores(), seconds))


def views(way: Way, what: str, seconds: float) -> Rate:
    """Of a loader that runs at its own pace: the whole way from files to batches on the device."""
    recipe = Recipe((View("a", 96, (CenterCrop(size_px=96),)),)) if what == "decode" else \
        presets.recipe({"simclr": "simclr_pil"}.get(what, what))
    on_gpu = way.device != "cpu"
    batch_size = 2 if way.engine == "torch" else 128 if on_gpu else 16
    source = specimens.FileSource(photographs(), repeats=max(1, 2 * batch_size // DISTINCT))
    device = way.device if way.engine == "dali" or on_gpu else None
    prefetch = 1 if way.engine == "torch" else 2
    with Loader(source, recipe, batch_size, epochs=None, engine=way.engine, device=device, prefetch=prefetch) as loader:
        return Rate(what, str(way), loading(loader, seconds, 2 if way.engine == "torch" else 8))


def vit_s(seconds: float) -> Rate:
    """Training a ViT-S/16 on the GPU, on two views of 224 px of each image, in bfloat16, forwards and backwards: no optimizer,
    no loss to speak of. The rate that views have to keep up with."""
    model = _ViTS().to("cuda")
    for batch_size in (128, 32, 8):
        pixels = torch.randn((2 * batch_size, 3, 224, 224), device="cuda")
        step = partial(_step, model, pixels)
        try:
            for _ in range(3):
                step()
            return Rate("vit-s", "GPU", repeated(step, seconds, wait=True) / 2)
        except torch.cuda.OutOfMemoryError:  # a small GPU, or one that others use
            model.zero_grad(set_to_none=True)
    raise MemoryError("the GPU has no room for a ViT-S on 16 images of 224 px")


def _step(model: nn.Module, pixels: Tensor) -> int:
    with torch.autocast("cuda", torch.bfloat16):
        loss = model(pixels).float().square().mean()
    loss.backward()
    model.zero_grad(set_to_none=True)
    return len(pixels)


class _ViTS(nn.Module):
    """The arithmetic of ViT-S/16 (Dosovitskiy et al. 2021, arXiv:2010.11929; Touvron et al. 2021, arXiv:2012.12877)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 384, 16, 16)
        block = nn.TransformerEncoderLayer(384, 6, 1536, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 12, enable_nested_tensor=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.blocks(self.patches(pixels).flatten(2).transpose(1, 2))


@cache
def photographs() -> list[bytes]:
    return specimens.photographs(DISTINCT)


def loading(loader: Loader, seconds: float, ahead: int) -> float:
    """Images/s of an endless loader at its own pace, after so many batches `ahead` that were made while nobody waited."""
    on_gpu = False

    def take() -> int:
        nonlocal on_gpu
        batch = loader.next_batch()
        assert batch is not None
        on_gpu = batch.label.is_cuda
        return len(batch)

    for _ in range(ahead):
        take()
    return repeated(take, seconds, wait=on_gpu)


def each_second(work: Callable[[Any], object], items: Sequence[Any], threads: int, seconds: float) -> float:
    """Items a second by so many threads, over and over, each thread at least one. What work raises is raised."""
    following = count()
    began = time.perf_counter()

    def loop() -> int:
        done = 0
        while done == 0 or time.perf_counter() - began < seconds:
            work(items[next(following) % len(items)])
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        total = sum(each.result() for each in [pool.submit(loop) for _ in range(threads)])
    return total / (time.perf_counter() - began)


def repeated(take: Callable[[], int], seconds: float, wait: bool = False) -> float:
    """Samples a second. take() -> how many; at least once. wait: for the GPU, at both ends."""
    if wait:
        torch.cuda.synchronize()
    began, total = time.perf_counter(), 0
    while True:
        total += take()
        if time.perf_counter() - began >= seconds:
            break
    if wait:
        torch.cuda.synchronize()
    return total / (time.perf_counter() - began)
