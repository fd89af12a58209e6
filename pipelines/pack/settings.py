"""What packing may be told: every key with its default and meaning, checked before anything is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ...augment.op import nearest
from ..words import key, key_lines, values_of

VERIFY = ("header", "decode", "none")
DUPLICATES = ("keep", "drop")
DAMAGED = ("skip", "keep")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def _key(default: Any, meaning: str, *, result: bool = True) -> Any:
    """result: whether the shards depend on it, so that another value does not go on with what has been begun."""
    return key(default, meaning, result=result)


@dataclass(frozen=True)
class Settings:
    """Raises ValueError, in one line, for a value that cannot be."""

    name: str = _key("shard", "of the shards: NAME-000000.tar, NAME-000001.tar, ...")
    shard_bytes: int = _key(256 << 20, "target size of a shard, also as 256MiB or 1GB; none gets larger but by one sample")
    shard_samples: int = _key(0, "samples of a shard at most; 0: as many as fit")
    shortest: int = _key(0, "shrink images whose shorter side is longer, in pixels; 0: leave them; smaller ones keep their bytes")
    longest: int = _key(0, "the same for the longer side; one of the two")
    quality: int = _key(90, "JPEG quality, 1 to 100, of the images that are encoded anew; all others keep their bytes")
    orient: bool = _key(False, "turn images as their EXIF orientation says; encodes those anew that need it, and only those")
    verify: str = _key("header", "refuse images whose header cannot be read (header), that cannot be decoded (decode), or none")
    duplicates: str = _key("keep", "drop: of images with equal bytes only the first stays; reads everything once before")
    shuffle: bool = _key(True, "samples in an order drawn from the seed; false: as they come")
    seed: int = _key(0, "of the shuffle")
    damaged: str = _key("skip", "keep: take the whole samples before the damage of a damaged tar; skip: leave such tars out")
    skip: str = _key("", "FILE.jsonl, a quarantine log: leave these samples out")
    image: str = _key("", "column of the images, in Parquet their bytes, in a CSV their paths; found by name or type without")
    label: str = _key("", "column of the labels, whole numbers or names")
    key: str = _key("", "column of the keys; otherwise keys come from paths, else from file and row")
    workers: int = _key(0, "processes that write; 0: all cores; the shards are the same for any number", result=False)
    address: str = _key("auto", "of the Ray cluster for --ray; local: a new one on this machine", result=False)
    overwrite: bool = _key(False, "remove the shards that another pack left in DST, and begin anew", result=False)

    def __post_init__(self) -> None:
        for name in ("shard_bytes", "shard_samples", "shortest", "longest", "seed", "workers"):
            least = 1 if name == "shard_bytes" else 0
            if getattr(self, name) < least:
                raise ValueError(f"{name} needs a whole number >= {least}, got {getattr(self, name)}")
        if self.seed >= 2**64:
            raise ValueError(f"seed needs a whole number < 2**64, got {self.seed}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality needs 1 to 100, got {self.quality}")
        if self.shortest and self.longest:
            raise ValueError(f"shortest={self.shortest} and longest={self.longest}: give one of them")
        for name, known in (("verify", VERIFY), ("duplicates", DUPLICATES), ("damaged", DAMAGED)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} needs one of {', '.join(known)}, got {getattr(self, name)!r}; "
                                 f"{nearest(getattr(self, name), list(known))}")
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name needs letters, digits, - and _ only, got {self.name!r}")

    @property
    def reencodes(self) -> bool:
        return bool(self.shortest or self.longest or self.orient)

    def of_result(self) -> dict[str, Any]:
        """Those that the shards depend on."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.metadata["result"]}

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def settings_of(words: Mapping[str, str]) -> Settings:
    """From KEY=VALUE texts. Raises ValueError for an unknown key, naming the nearest, for a value of another type, and for a
    quality without anything to encode."""
    given = values_of(Settings, words, read={"shard_bytes": bytes_of})
    settings = Settings(**given)
    if "quality" in given and not settings.reencodes:
        raise ValueError(f"quality={settings.quality} alone changes nothing: give shortest=, longest= or orient=true as well")
    return settings


def bytes_of(text: str) -> int:
    """1000, "1k", "1.5 GB", "256MiB" -> bytes. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]i?|)b?", text.strip().lower())
    if match is None:
        raise ValueError(f"shard_bytes needs bytes, as in 268435456, 256MiB or 1GB, got {text!r}")
    return int(float(match[1]) * _UNITS[match[2]])


FLAGS = {
    "--ray": "write on a Ray cluster (pip install 'viewmill[ray]'): its machines must see SRC and DST under the same names",
    "--index-only": "write no shards, but indexes and the catalogue for tars that exist: SRC alone, or SRC DST",
    "--allow-pipe": "run `pipe:COMMAND` sources, whose output is a tar: a shell command, so refused otherwise",
    "--json": "print the summary as JSON",
}


def manual() -> str:
    """What `viewmill pack --help` says."""
    lines = ["usage: viewmill pack SRC... DST [KEY=VALUE]... [--ray] [--json]",
             "       viewmill pack --index-only SRC... [DST]", "",
             "Write shards (WebDataset tars), an index beside each, and their catalogue, from images in folders, tars, tars",
             "behind URLs, Parquet files or tables of paths. The same command again goes on where it was stopped.", "",
             "SRC, one or more, in order:",
             "  FOLDER                 all images below; its own folders are the classes (classes.json: their names, by number)",
             "  train-{0000..0146}.tar a tar, brace pattern or glob of tars; a folder with a catalogue means all its tars",
             "  https:// s3:// gs://   the same behind URLs (pip install 'viewmill[remote]'), read by ranges",
             "  FILE.parquet           bytes of images, or {bytes, path}, a label, further columns as JSON; also behind a URL",
             "  FILE.csv, FILE.tsv     paths relative to the file, labels, further columns as JSON", "",
             "DST: a folder, or a URL of fsspec", "", "keys:"]
    lines += key_lines(Settings)
    lines += ["", "flags:", *(f"  {flag:22s} {meaning}" for flag, meaning in FLAGS.items())]
    lines += ["", "Images keep their bytes, unless a key asks for something that they are not; those encoded anew become",
              "JPEGs. Refused samples are listed in DST/refused.jsonl, which skip= takes. Status 0; 1 where something could not",
              "be read; 2 for a mistake.", "", "examples:",
              "  viewmill pack photos/ shards/",
              "  viewmill pack 'imagenet/train-*.tar' small/ shortest=256 quality=90 shard_bytes=128MiB",
              "  viewmill pack 'hf/train-*.parquet' shards/ duplicates=drop verify=decode",
              "  viewmill pack list.csv s3://bucket/train label=species name=birds",
              "  viewmill pack --index-only 'https://host/train-{0000..0099}.tar' indexes/"]
    return "\n".join(lines)
