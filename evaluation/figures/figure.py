"""A PNG that says of itself what it shows and which command makes it again: how it is written, and how it is read."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

KEYWORD = "viewmill"
"""Of the text chunk that holds {"title", "caption", "command"} as JSON."""


@dataclass(frozen=True)
class Figure:
    """title: a few words. caption: what is seen, in sentences; may be empty. command: its words, from "viewmill" on; empty where
    none was said. size_px: (width, height)."""

    title: str
    caption: str
    command: tuple[str, ...]
    size_px: tuple[int, int]

    @property
    def line(self) -> str:
        """The command as a shell takes it."""
        return shlex.join(self.command)


def save(image: Image.Image, path: str | os.PathLike[str], *, title: str, caption: str, command: Sequence[str]) -> Path:
    """Write a PNG that `read` knows, whole or not at all, in a folder that is made where there is none.

    command: the words that make it again, "viewmill" first. Raises ValueError where the path does not end in .png, or there is
    no title.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"out={path}: figures are PNG files; let the name end in .png")
    if not title:
        raise ValueError(f"{path}: a figure needs a title")
    about = PngImagePlugin.PngInfo()
    # Plain ASCII, which every reader of text chunks gets right.
    about.add_text(KEYWORD, json.dumps({"title": title, "caption": caption, "command": list(command)}))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        image.save(temporary, "PNG", pnginfo=about)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read(path: str | os.PathLike[str]) -> Figure | None:
    """What a PNG says of itself; None for one that says nothing, for what is no PNG, and for what cannot be read. Pixels are not
    decoded."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            size_px, text = image.size, image.info.get(KEYWORD)
        said: Any = json.loads(text) if isinstance(text, str) else None
    except (OSError, ValueError, SyntaxError, RecursionError, Image.DecompressionBombError):
        return None
    if not isinstance(said, dict):
        return None
    title, caption, command = (said.get(name) for name in ("title", "caption", "command"))
    if not (isinstance(title, str) and title and isinstance(caption, str) and isinstance(command, list)
            and all(isinstance(word, str) for word in command)):
        return None
    return Figure(title, caption, tuple(command), size_px)
