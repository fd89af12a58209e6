"""matplotlib's charts as pictures, drawn without a display."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150


def literal(name: str) -> str:
    """A name as matplotlib has to be given it: a dollar would begin a formula, and what begins with an underscore is left out of
    legends."""
    return f"{' ' if name.startswith('_') else ''}{name}".replace("$", r"\$")


def pixels_of(figure: Figure) -> Image.Image:
    """RGB, at DPI, cut to what is drawn."""
    kept = io.BytesIO()
    figure.savefig(kept, format="png", dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.15)
    kept.seek(0)
    return Image.open(kept).convert("RGB")
