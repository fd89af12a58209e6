"""What a check may be told: every key with its default and meaning, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..words import key, key_lines, values_of
from .findings import DAMAGE, REMARKS

ALL = -1
"""Of decode: every image."""


@dataclass(frozen=True)
class Settings:
    """Raises ValueError, in one line, for a value that cannot be."""

    decode: int = key(1000, "images to decode, spread evenly over the data; all: every one; 0: none, headers only")
    checksums: bool = key(True, "read every byte and compare, where a packer left checksums; false: lengths and headers only")
    duplicates: bool = key(False, "look for images of equal bytes, and for keys used in two shards; reads every byte")
    quarantine: str = key("", "FILE.jsonl, a quarantine log: look at its samples again, and say which are still bad")
    write: str = key("", "FILE.jsonl: write the damaged samples there, as a log that pack's skip= takes")
    catalogue: str = key("", "FOLDER, local, that has the catalogue and the indexes of shards behind URLs, if these do not")
    workers: int = key(0, "processes; 0: all cores")

    def __post_init__(self) -> None:
        if self.decode < ALL:
            raise ValueError(f"decode needs a whole number >= 0, or all, got {self.decode}")
        if self.workers < 0:
            raise ValueError(f"workers needs a whole number >= 0, got {self.workers}")
        if self.write and not Path(self.write).absolute().parent.is_dir():
            raise ValueError(f"write={self.write}: there is no folder {Path(self.write).absolute().parent}")


def settings_of(words: Mapping[str, str]) -> Settings:
    """From KEY=VALUE texts. Raises ValueError for an unknown key, naming the nearest, and for a value of another type."""
    return Settings(**values_of(Settings, words, read={"decode": _images}))


def _images(text: str) -> Any:
    if text == "all":
        return ALL
    if not text.isdecimal():
        raise ValueError(f"decode needs a whole number >= 0, or all, got {text!r}")
    return int(text)


FLAGS = {
    "--json": "print everything that was found as one JSON object",
    "--strict": "remarks count as damage",
}


def manual() -> str:
    """What `viewmill check --help` says."""
    lines = ["usage: viewmill check DATA... [KEY=VALUE]... [--json] [--strict]", "",
             "Whether a data set is whole, and what is in it: shards against their catalogue and indexes, each tar from its",
             "beginning to its end, images against checksums, a sample of them decoded. Nothing is changed.", "",
             "DATA:",
             "  train-{0000..0146}.tar a tar, brace pattern or glob of tars, or several",
             "  FOLDER                 of packed shards with their catalogue, or of images",
             "  URL                    of such shards: each is fetched whole into the system's temporary files (TMPDIR), one",
             "                         for each worker at a time; credentials come from the environment", "",
             "keys:", *key_lines(Settings)]
    lines += ["", "flags:", *(f"  {flag:22s} {meaning}" for flag, meaning in FLAGS.items())]
    lines += ["", "damage (status 1):", *(f"  {kind:22s} {meaning}" for kind, meaning in DAMAGE.items())]
    lines += ["", "remarks (status 0):", *(f"  {kind:22s} {meaning}" for kind, meaning in REMARKS.items())]
    lines += ["", "Status 0: whole; 1: damaged; 2: a mistake in the command.", "", "examples:",
              "  viewmill check shards/",
              "  viewmill check 'imagenet/train-*.tar' decode=all duplicates=true write=bad.jsonl",
              "  viewmill check shards/ checksums=false decode=0",
              "  viewmill check shards/ quarantine=runs/dino/quarantine.jsonl"]
    return "\n".join(lines)
