"""Methods by name, with what their papers published; torch and the method itself load when one is built."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from .info import MethodInfo
from .published.clustering import CLUSTERING
from .published.contextual import CONTEXTUAL
from .published.contrastive import CONTRASTIVE
from .published.distillation import DISTILLATION
from .published.masked import MASKED
from .published.memory import MEMORY
from .published.momentum import MOMENTUM
from .published.prediction import PREDICTION
from .published.redundancy import REDUNDANCY

if TYPE_CHECKING:
    from .method import Method

__all__ = ["METHODS", "MethodInfo", "build", "method_info"]

METHODS: dict[str, MethodInfo] = {
    info.name: info for info in (*CONTRASTIVE, *MEMORY, *MOMENTUM, *CLUSTERING, *PREDICTION, *REDUNDANCY, *DISTILLATION, *MASKED,
                              *CONTEXTUAL)}


def method_info(name: str) -> MethodInfo:
    """Raises ValueError for an unknown method, naming the nearest."""
    if name not in METHODS:
        close = difflib.get_close_matches(name, METHODS, 1, 0.5)
        raise ValueError(f"unknown method {name!r}; {f'did you mean {close[0]!r}?' if close else 'known: ' + ', '.join(METHODS)}")
    return METHODS[name]


def build(name: str, config: Any = None, *, image_px: int, in_chans: int = 3, images: int | None = None) -> Method:
    """A method, untrained, for views of image_px x image_px. config: its own fields, by default the published ones. images: how
    many it will train on, for those that keep something for each; None: it is only to be judged.

    Raises ValueError, one line: an unknown method, a backbone or an image size that do not fit.
    """
    info = method_info(name)
    fields = info.config() if config is None else config
    if not isinstance(fields, type(info.config())):
        raise ValueError(f"{name} needs its own fields, {info.cls}Config, got {type(fields).__name__}")
    cls = info.load()
    memory = {"images": images} if cls.per_image else {}
    return cls(fields, image_px=image_px, in_chans=in_chans, **memory)
