"""DALI's own pipeline on the CPU: it reads the shards, decodes, crops, changes colours and blurs by its own ops, with as many
threads as the others have, and hands its batches to torch by its own iterator."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from torch import Tensor

from ....augment.fields import pair_of
from ....augment.masks import Mask
from ....augment.ops import Blur, Crop, Flip, Grayscale, Jitter, Normalize, Op, Solarize
from ....augment.recipe import Instance, Recipe
from ...engines.dali.library import dali
from ..files import EXTENSIONS, Files
from . import Stream
from .loading import own_images_only, refusal
from .torchvision_v2 import taps_of

fn, types, pipeline_def = dali().fn, dali().types, dali().pipeline_def
FILTERS = {"bilinear": types.INTERP_LINEAR, "bicubic": types.INTERP_CUBIC}
PREFETCH = 2
"""Batches, DALI's default."""


def check(recipe: Recipe) -> None:
    """Raises UnsupportedRecipe for an op, or a place of it, that the graph does not have."""
    own_images_only(recipe, "DALI")
    for instance in recipe.instances:
        for place, op in enumerate(instance.ops):
            match op:
                case Crop(law="torchvision-retry", antialias=True, filter="bilinear" | "bicubic") if place == 0:
                    pass
                case Jitter(brightness_law="multiplicative", saturation_law="gray-blend"):
                    pass
                case Flip() | Grayscale() | Blur() | Solarize() | Mask() | Normalize(kind="mean-std" | "none") if place:
                    pass
                case _:
                    raise refusal("DALI", op)


def _around(strength: float) -> Any:
    return fn.random.uniform(range=(max(0.0, 1 - strength), 1 + strength))


def cropped(encoded: Any, image: Any, op: Op, alone: bool) -> Any:
    """alone: the only view, for which DALI decodes no more than the crop, as its documentation recommends."""
    assert isinstance(op, Crop) and op.size_px and op.scale and op.ratio
    size = [float(side) for side in pair_of(op.size_px)]
    how = {"interp_type": FILTERS[str(op.filter)], "antialias": True}
    drawn = {"random_area": list(op.scale), "random_aspect_ratio": list(op.ratio)}
    if alone:
        window = fn.decoders.image_random_crop(encoded, device="cpu", output_type=types.RGB, **drawn)
        return fn.resize(window, size=size, **how)
    return fn.random_resized_crop(image, size=size, **drawn, **how)


def view(encoded: Any, image: Any, instance: Instance, alone: bool) -> Any:
    made = cropped(encoded, image, instance.ops[0], alone)
    mirror: Any = 0
    mean, std = [0.0, 0.0, 0.0], [255.0, 255.0, 255.0]
    for op in instance.ops[1:]:
        if isinstance(op, Flip):
            mirror = fn.random.coin_flip(probability=float(op.p or 0))
        elif isinstance(op, Jitter):
            b, c, s, h = op.strengths()
            if fn.random.coin_flip(probability=float(op.p or 0), dtype=types.BOOL):
                made = fn.color_twist(made, brightness=_around(b), contrast=_around(c), saturation=_around(s),
                                      hue=fn.random.uniform(range=(-360 * h, 360 * h)))
        elif isinstance(op, Grayscale):
            if fn.random.coin_flip(probability=float(op.p or 0), dtype=types.BOOL):
                made = fn.saturation(made, saturation=0.0)
        elif isinstance(op, Blur):
            if fn.random.coin_flip(probability=float(op.p or 0), dtype=types.BOOL):
                made = fn.gaussian_blur(made, sigma=fn.random.uniform(range=op.sigma_px),
                                        window_size=taps_of(op, instance.size_hw[0]))
        elif isinstance(op, Solarize) and op.p:
            if fn.random.coin_flip(probability=op.p, dtype=types.BOOL):
                bright = made >= int(op.level)
                made = fn.cast(bright * (255 - made) + (bright ^ True) * made, dtype=types.UINT8)
        elif isinstance(op, Normalize) and op.kind == "mean-std":
            assert op.mean and op.std
            mean, std = [255 * x for x in op.mean], [255 * x for x in op.std]
    return fn.crop_mirror_normalize(made, dtype=types.FLOAT, output_layout="CHW", mean=mean, std=std, mirror=mirror)


@pipeline_def(enable_conditionals=True)
def graph(shards: list[str], count: int, recipe: Recipe) -> tuple[Any, ...]:
    encoded = fn.readers.webdataset(paths=shards, ext=";".join(EXTENSIONS), random_shuffle=True,
                                    initial_fill=min(1024, count), name="reader")
    alone = len(recipe.instances) == 1
    image = encoded if alone else fn.decoders.image(encoded, device="cpu", output_type=types.RGB)
    return tuple(view(encoded, image, instance, alone) for instance in recipe.instances)


def notes(recipe: Recipe) -> list[str]:
    ops = [op for instance in recipe.instances for op in instance.ops]
    found = ["decodes no more than the crop"] if len(recipe.instances) == 1 else []
    if any(isinstance(op, Jitter) for op in ops):
        found.append("jitters by one colour matrix: fixed order, contrast about a fixed gray, hue turned in YIQ, clipped once")
    if any(isinstance(op, Blur) and op.kind == "pillow" for op in ops):
        found.append("blurs by a Gaussian of 23 taps at 224 px, 9 at 96, in place of Pillow's three boxes")
    return found


def stream(files: Files, recipe: Recipe, batch_size: int, threads: int) -> Stream:
    check(recipe)
    pipe = graph([str(shard) for shard in files.shards], files.count, recipe, batch_size=batch_size, num_threads=threads,
                 device_id=None, prefetch_queue_depth=PREFETCH, seed=1)
    names = [f"view{i}" for i in range(len(recipe.instances))]
    iterator = import_module("nvidia.dali.plugin.pytorch").DALIGenericIterator(pipe, names, size=-1)

    def batches() -> Iterator[list[Tensor]]:
        for outputs in iterator:
            yield [outputs[0][name] for name in names]

    return Stream(batches(), PREFETCH + 2)
