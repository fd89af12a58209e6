"""Pictures side by side: rows of tiles, with heads above, names at the left, and a line below each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .colours import INK, MUTED

TILE_PX, GAP_PX, EDGE_PX, FRAME_PX = 160, 10, 14, 4
TEXT_PX, LINE_PX = 16, 22


@dataclass(frozen=True)
class Tile:
    """pixels (H, W, 3) uint8. caption: a line below it. frame: the colour of a frame around it, as #rrggbb."""

    pixels: np.ndarray
    caption: str = ""
    frame: str | None = None


def sheet(rows: Sequence[Sequence[Tile | None]], *, heads: Sequence[str] = (), names: Sequence[str] = (), tile_px: int = TILE_PX,
          gap_px: int = GAP_PX, apart: Sequence[int] = ()) -> Image.Image:
    """Every tile at the largest whole multiple of its size that fits into tile_px, or shrunk to it; in cells as large as the
    largest of all tiles.

    heads: a text above each column; names: one at the left of each row, in as many lines as it has; None in a row stays empty.
    apart: columns before which there is more room.
    """
    pictures = [[None if tile is None else fitted(tile.pixels, tile_px) for tile in row] for row in rows]
    there = [picture for row in pictures for picture in row if picture is not None]
    assert there and len(heads) in (0, max(map(len, rows))) and len(names) in (0, len(rows))
    wide, high = max(p.width for p in there), max(p.height for p in there)
    font = _font()
    left = EDGE_PX + (max(int(font.getlength(line)) for name in names for line in name.split("\n")) + GAP_PX if names else 0)
    top = EDGE_PX + (LINE_PX if heads else 0)
    below = [LINE_PX if any(tile is not None and tile.caption for tile in row) else 0 for row in rows]
    columns = max(map(len, rows))
    at = [left + column * (wide + gap_px) + sum(2 * GAP_PX for each in apart if each <= column) for column in range(columns)]
    made = Image.new("RGB", (at[-1] + wide + EDGE_PX, top + sum(high + gap_px + each for each in below) - gap_px + EDGE_PX),
                     "white")
    pen = ImageDraw.Draw(made)
    for column, head in enumerate(heads):
        pen.text((at[column] + wide // 2, EDGE_PX + LINE_PX // 2 - 3), cut(head, wide + gap_px), fill=MUTED, font=font,
                 anchor="mm")
    for number, row in enumerate(rows):
        if names:
            lines = names[number].split("\n")
            for line, text in enumerate(lines):
                y = top + high // 2 + round((line - (len(lines) - 1) / 2) * LINE_PX)
                pen.text((left - GAP_PX, y), text, fill=MUTED, font=font, anchor="rm")
        for column, (tile, picture) in enumerate(zip(row, pictures[number], strict=True)):
            if tile is not None and picture is not None:
                _put(made, pen, picture, tile, (at[column], top, wide, high))
        top += high + below[number] + gap_px
    return made


def _put(made: Image.Image, pen: ImageDraw.ImageDraw, picture: Image.Image, tile: Tile,
         cell: tuple[int, int, int, int]) -> None:
    x, y, wide, high = cell
    x, foot = x + (wide - picture.width) // 2, y + high
    y += (high - picture.height) // 2
    made.paste(picture, (x, y))
    if tile.frame is not None:  # over the picture's own rim, so that what is framed is as large as what is not
        pen.rectangle((x, y, x + picture.width - 1, y + picture.height - 1), outline=tile.frame, width=FRAME_PX)
    if tile.caption:
        pen.text((cell[0] + wide // 2, foot + LINE_PX // 2 + 1), cut(tile.caption, wide + 4), fill=tile.frame or INK,
                 font=_font(), anchor="mm")


def fitted(pixels: np.ndarray, side_px: int) -> Image.Image:
    """A small picture enlarged by a whole factor, so that its pixels can be counted; a large one shrunk."""
    picture = Image.fromarray(pixels)
    longest = max(picture.size)
    if longest <= side_px:
        factor = side_px // longest
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    width, height = (max(round(side * side_px / longest), 1) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def levels(picture: Tensor) -> np.ndarray:
    """(..., 3, H, W) in [0, 1] to (..., H, W, 3) uint8; what lies outside is clamped."""
    rounded: np.ndarray = (255 * picture.detach().float().nan_to_num().clamp(0, 1)).round().byte().movedim(-3, -1).cpu().numpy()
    return rounded


def cut(text: str, width_px: float) -> str:
    """The text, or as much of its beginning as fits, with dots."""
    font = _font()
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(f"{text}…") > width_px:
        text = text[:-1]
    return f"{text.rstrip()}…"


@cache
def _font() -> ImageFont.FreeTypeFont:
    # The one that charts have: matplotlib brings it, and it knows more scripts than Pillow's own.
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), TEXT_PX)
