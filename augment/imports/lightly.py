"""lightly's own steps, which stand among torchvision's."""

from __future__ import annotations

from typing import Any

from ..op import Op
from ..ops import Blur, Solarize


def op_of(step: Any) -> Op | None:
    """None for a step without an equal. One that never acts has p = 0."""
    match type(step).__name__:
        case "GaussianBlur":
            return Blur(p=float(step.prob), kind="pillow", sigma_px=tuple(map(float, step.sigmas)))  # type: ignore[arg-type]
        case "RandomSolarization":
            return Solarize(p=float(step.prob), threshold=float(step.threshold))
        case "RandomRotate" if step.prob == 0:
            return Solarize(p=0.0)
        case "RandomRotateDegrees" if step.transform.p == 0:
            return Solarize(p=0.0)
    return None
