"""viewmill: views for self-supervised vision, made fast, reproducible to the bit, resumable anywhere.

The public face. Heavy libraries load on first use, so that `import viewmill` costs milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .augment.draw import draw
    from .augment.imports import import_recipe
    from .augment.levels import normalize
    from .augment.presets import recipe
    from .augment.recipe import Recipe, View
    from .augment.together import together
    from .pipelines.adapters import adapt
    from .pipelines.batch import Batch
    from .pipelines.engines import render
    from .pipelines.loader import Loader
    from .pipelines.pack.stream import pack_stream
    from .pipelines.remote.options import Remote

_HOME = {
    "Recipe": ".augment.recipe",
    "View": ".augment.recipe",
    "recipe": ".augment.presets",
    "together": ".augment.together",
    "draw": ".augment.draw",
    "import_recipe": ".augment.imports",
    "normalize": ".augment.levels",
    "render": ".pipelines.engines",
    "Loader": ".pipelines.loader",
    "adapt": ".pipelines.adapters",
    "pack_stream": ".pipelines.pack.stream",
    "Batch": ".pipelines.batch",
    "Remote": ".pipelines.remote.options",
}

__all__ = ["Batch", "Loader", "Recipe", "Remote", "View", "__version__", "adapt", "draw", "import_recipe", "normalize",
           "pack_stream", "recipe", "render", "together"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
