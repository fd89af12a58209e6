"""The views that a run's network saw, made again to the bit from its seed, if its images are here."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ...augment.recipe import Recipe
from ...pipelines.preview import Pictured, pictured_image, pictured_views, remake
from ...pipelines.remote.options import Remote
from ...pipelines.source import open_source
from . import commands
from .album import PIXELATED_PX, Album
from .markup import Markup, joined, tag
from .runs import Run
from .table import command_line

SAMPLES, MOST_VIEWS = 4, 40
"""How many images, and how many views of all of them together; of one image at least, all."""


LARGE_PX = 192
"""A smaller image is enlarged by a whole factor up to here, so that frames on it are thin."""

FEW = 3
"""Up to so many views of an image, two images stand side by side."""


def views(run: Run, album: Album, data: Any = None) -> Markup:
    """The first images of the run's first epoch with their views and what was drawn for each; or why they cannot be shown. data:
    in place of where the run found its images."""
    given = [] if data is None else [f"data={data}"]
    again = commands.again(run, *given, f"samples={SAMPLES}", f"out={run.folder}/views.png")
    source_line = command_line("The same as one picture", again)
    try:
        shown = _samples(run, album, data)
    except Exception as error:  # the images may be gone, or the recipe another version's: the rest of the report stands
        why = " ".join(str(error).split()) or type(error).__name__
        return joined(tag("p", f"They could not be made again here: {why}", class_="empty"), source_line)
    return joined(shown, source_line)


def _samples(run: Run, album: Album, data: Any) -> Markup:
    config = run.config
    recipe = Recipe.from_dict(run.about["recipe"])
    count = max(1, min(SAMPLES, MOST_VIEWS // max(len(recipe.instances), 1)))
    known = {f.name for f in fields(Remote)}
    remote = {name: value for name, value in config.get("remote", {}).items() if name in known}
    source = open_source(config["data"] if data is None else data,
                         remote=Remote(**{**remote, "storage_options": remote.get("storage_options") or {}}))
    loader = config.get("loader", {})
    order = {name: loader[name] for name in ("shuffle", "lanes", "window") if name in loader}
    made = remake(source, recipe, samples=count, seed=config.get("seed", 0), **order)
    samples = [sample(album, pictured_image(made, recipe, row, source, LARGE_PX), pictured_views(made, recipe, row))
               for row in range(len(made.images))]
    return tag("div", samples, class_="samples few" if len(recipe.instances) <= FEW else "samples")


def sample(album: Album, image: Pictured, made: list[Pictured]) -> Markup:
    """An image with its views, and what was drawn for each."""
    pictures = [_picture(album, image, "image"), *(_picture(album, each, "view") for each in made)]
    rows = [tag("div", tag("dt", _dot(each), each.captions[0]), tag("dd", "; ".join(each.captions[1:]) or "as it is"))
            for each in made]
    drawn = tag("details", tag("summary", "What was drawn"), tag("dl", rows, class_="drawn"))
    return tag("div", tag("div", pictures, class_="views", style=f"--n:{len(made)}"), drawn, class_="sample")


def _picture(album: Album, shown: Pictured, kind: str) -> Markup | None:
    small = max(shown.pixels.shape[:2]) <= (LARGE_PX if kind == "image" else PIXELATED_PX)
    address = album.pixels(shown.pixels, exact=small)
    if address is None:
        return None
    look = f"{kind}{' pixelated' if small else ''}"
    height, width = shown.pixels.shape[:2]
    caption = shown.captions[0]
    alt = f"{caption}: {', '.join(shown.captions[1:])}" if shown.captions[1:] else caption
    picture = tag("img", src=address, alt=alt, width=width, height=height,
                  style=f"border-color:{shown.frame}" if shown.frame else None)
    return tag("figure", picture, tag("figcaption", caption), class_=look)


def _dot(shown: Pictured) -> Markup | None:
    return tag("i", class_="swatch", style=f"background:{shown.frame}") if shown.frame else None
