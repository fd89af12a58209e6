"""End-to-end fine-tuning by published protocols."""

from __future__ import annotations

from .config import TUNINGS, FinetuneConfig
from .protocol import run

__all__ = ["TUNINGS", "FinetuneConfig", "run"]
