"""matplotlib's charts as pictures, drawn without a display."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150


def pixels_of(figure: Figure) -> Image.Image:
    """RGB, at DPI, cut to what is drawn."""
    kept = io.BytesIO()
    figure.savefig(kept, format="png", dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.15)
    kept.seek(0)
    return Image.open(kept).convert("RGB")
