"""Semi-supervised evaluation: fine-tuning on the labels of a small part, 1 % and 10 %, which is kept as a list."""

from __future__ import annotations

from .config import SEMI, SemiConfig
from .protocol import run

__all__ = ["SEMI", "SemiConfig", "run"]
