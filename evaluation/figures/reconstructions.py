"""What a method that paints makes of a few images: what it was shown, what it made of it, what was there."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from textwrap import fill
from typing import Any

from ...models.restored import restored
from ...models.training import checkpoint
from ...models.training.config import LoaderConfig
from ...pipelines.source import open_source
from ..gallery import Gallery
from .scene import Drawn, Scene, numbers
from .sheet import Tile, levels, sheet

LINE = 16
"""Letters of a title in a line."""


@dataclass(frozen=True)
class ReconstructionsConfig:
    """None of its own: the images are the first of the run's first epoch, as in what the run leaves in pictures/."""


def draw(scene: Scene, config: ReconstructionsConfig) -> Drawn:
    """Raises ValueError, one line, where there is no checkpoint of a run, or its method paints nothing."""
    path, state = _checkpoint(Path(scene.what))
    method, recipe = restored(path, state)
    run, given = state["config"], scene.config
    known = {f.name for f in fields(LoaderConfig)}
    loader = LoaderConfig(**{name: value for name, value in run.get("loader", {}).items() if name in known})
    data = run.get("data") if given.data is None else given.data
    if data is None:
        raise ValueError(f"{path} does not say where its run found images; give data=PATTERN")
    gallery = Gallery.of(method, open_source(data, remote=scene.remote), recipe, loader, run.get("seed", 0),
                         device=scene.world.device, threads=scene.threads)
    if gallery is None:
        raise ValueError(f"{state['method']} of {path.parent.parent} paints nothing; methods that do are for example mae, "
                         "simmim, beit and colorization")
    columns = gallery.columns(method.to(scene.world.device))
    count = len(next(iter(columns.values())))
    rows = [[Tile(pixels) for pixels in levels(column)] for column in columns.values()]
    return Drawn(sheet(rows, names=[fill(title, LINE) for title in columns]),
                 f"What {state['method']} makes of {numbers(count, 'image')}",
                 f"{state['method']} of {path.parent.parent}, step {state['step']}: {', '.join(columns)}; of "
                 f"the first {numbers(count, 'image')} of the first epoch over {data}, in the views that training makes of them.")


def _checkpoint(what: Path) -> tuple[Path, dict[str, Any]]:
    found = checkpoint.at(what) if what.exists() else None
    if found is not None and "recipe" in found[1]:
        return found
    raise ValueError(f"{what} is no run and no checkpoint of one; reconstructions are of runs of methods that paint, for example "
                     "mae")
