"""`viewmill report RUN [RUN ...] [out=FILE.html] [data=PATTERN] [open=true]`."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path

from ...augment.op import nearest
from .commands import Read
from .numbers import size
from .page import write

NAME = "report.html"
"""In the folder of a run, where its training ends by writing it."""

_KEYS = ("out", "data", "open")


def main(words: Sequence[str], read: Read) -> int:
    """Write the report that WORDS ask for, and say where. Raises ValueError, one line."""
    folders = [word for word in words if "=" not in word and not word.startswith("-")]
    given: dict[str, str] = {}
    for word in words:
        if word in folders:
            continue
        key, equals, text = word.removeprefix("--").partition("=")
        if key not in _KEYS:
            raise ValueError(f"unknown key {key!r}; {nearest(key, list(_KEYS))}")
        if not equals and key != "open":
            raise ValueError(f"{word!r} is not key=value")
        given[key] = text if equals else "true"
    if not folders:
        raise ValueError("report needs the folder of a run, or of several: viewmill report runs/simclr")
    if given.get("open", "false") not in ("true", "false"):
        raise ValueError(f"open needs true or false, got {given['open']!r}")
    out = Path(given.get("out", str(Path(folders[0]) / NAME) if len(folders) == 1 else NAME))
    if out.suffix not in (".html", ".htm"):
        raise ValueError(f"out={out}: a report is an HTML file, let its name end in .html")
    written = write(folders, out, read, given.get("data"))
    print(f"report     {out}, {size(written)}", flush=True)
    if given.get("open") == "true":
        webbrowser.open(out.resolve().as_uri())
    return 0


def of_training(folder: Path, read: Read) -> str:
    """What the end of a training says of its report: where it is, or why there is none. Never an error: the run stands."""
    try:
        return f"report     {folder / NAME}, {size(write([folder], folder / NAME, read))}"
    except Exception as error:  # whatever a page cannot show, the training that it is about has ended well
        why = " ".join(str(error).split())
        return f"report     none: {type(error).__name__}: {why}; viewmill report {folder} tries again"
