"""What making views takes of cores and of storage, by what was measured of them."""

from __future__ import annotations

from dataclasses import dataclass

from ...augment.presets import recipe as named_recipe
from ...augment.recipe import Recipe
from ...pipelines import ceilings
from ...pipelines.source import Source

DECODE_S = 1.9e-3
"""Seconds of one core for an image of 0.2 megapixels: what docs/performance.md has for two threads, 0.95 ms, times two."""

PIXEL_S = 18e-9
"""Seconds of one core for a pixel of a view: DINO's ten views without the decode, (5.0 - 1.9) ms, over their 174,080 pixels.
SimCLR's take 12, MAE's one takes 19."""

MEASURED_S = {"dino": 5.02e-3, "simclr_pil": 3.12e-3, "mae": 2.84e-3}
"""Seconds of one core for an image with all its views: docs/performance.md, 2.51, 1.56, 1.42 ms with two threads, times two."""

MACHINE = "docs/performance.md: images of 0.2 megapixels, cores of an AMD EPYC with AVX2"

IMAGENET_IMAGES = 1_281_167
IMAGENET_BYTES = 110e3
IMAGENET_PIXELS = 0.2e6


@dataclass(frozen=True)
class Stored:
    """Of a data set: how many images, and of the mean one its bytes and pixels; source: where that is from."""

    images: int
    bytes_each: float
    pixels_each: float
    source: str


IMAGENET = Stored(IMAGENET_IMAGES, IMAGENET_BYTES, IMAGENET_PIXELS,
                  "ImageNet-1k: 1,281,167 images of about 110 kB; 0.2 megapixels as in the sample that cores were measured on")


def stored(source: Source, seconds: float = 2.0) -> Stored:
    """By so many seconds' worth of images that lie evenly spread. Raises ValueError where none can be decoded."""
    picked = ceilings.pick(source, seconds)
    return Stored(len(source), picked.bytes_each, picked.pixels_each,
                  f"measured on {len(picked.index):,} of the {len(source):,} images of data=")


def core_seconds(recipe: Recipe, pixels_each: float) -> tuple[float, str]:
    """(seconds of one core that decoding an image and rendering its views takes, where that is from)."""
    larger = pixels_each / IMAGENET_PIXELS
    plain = MEASURED_S.get(recipe.name)
    if plain is not None and recipe == named_recipe(recipe.name):
        seconds, how = plain + DECODE_S * (larger - 1), f"measured of recipe {recipe.name}"
    else:
        seconds = DECODE_S * larger + PIXEL_S * view_pixels(recipe)
        how = "computed: decoding as measured, and for each pixel of a view what DINO's take"
    if abs(larger - 1) > 0.05:
        how += f"; decoding times {larger:.2f}, by the pixels of the data"
    return seconds, f"{how} ({MACHINE})"


def view_count(recipe: Recipe) -> int:
    return sum(shape.count for shape in recipe.groups.values())


def view_pixels(recipe: Recipe) -> int:
    """Of all views of an image together."""
    return sum(shape.count * shape.height * shape.width for shape in recipe.groups.values())
