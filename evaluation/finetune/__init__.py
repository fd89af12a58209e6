"""End-to-end fine-tuning by published protocols."""

from __future__ import annotations

from .config import FinetuneConfig
from .protocol import run
from .tunings import TUNINGS

__all__ = ["TUNINGS", "FinetuneConfig", "run"]
