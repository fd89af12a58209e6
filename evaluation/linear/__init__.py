"""Linear probes on frozen features: published ones as data, and grids of heads trained in one pass."""

from __future__ import annotations

from .config import LinearConfig
from .probes import PROBES
from .protocol import run

__all__ = ["PROBES", "LinearConfig", "run"]
