"""What figures are drawn from in tests: a few small pictures, an encoder of a few weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.figures.command import FigureConfig
from viewmill.evaluation.figures.scene import Scene
from viewmill.evaluation.task import ALONE

from tests.evaluation.tasks import tiny_encoder


def scene(kept: Path, encoder: Encoder | None = None, any_size: bool = False, **given: Any) -> Scene:
    made = Scene("tiny", FigureConfig(**given), ALONE, kept, 1, any_size)
    made.__dict__["encoder"] = encoder or tiny_encoder()  # in place of opening one
    return made
