"""One sample on its way from a source into a shard, or the reason why it does not get there."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import NamedTuple

UNSAFE = "its name would leave the folder (absolute, or with ../)"
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class Sample(NamedTuple):
    """where: its place in the source. extension: of the image, lower case, without the dot. others: further members by
    extension, as (("cls", b"7"), ("json", b"{...}"))."""

    key: str
    where: str
    extension: str
    image: bytes
    others: tuple[tuple[str, bytes], ...] = ()


class Refused(NamedTuple):
    """A sample that is left out. shard: the file it lies in, as the source names it; reason: without names or numbers of the
    sample, so that reasons can be counted."""

    shard: str
    key: str
    reason: str


class UnsafeName(ValueError):
    """A name that would lead out of the folder into which a shard is unpacked, or no name at all."""


def safe_key(key: str) -> str:
    """A key as it may stand in a tar: relative, without "." and ".." among its folders. Raises UnsafeName."""
    if key.startswith(("/", "\\")) or _DRIVE.match(key) or ".." in re.split(r"[/\\]", key):
        raise UnsafeName(UNSAFE)
    parts = [part for part in key.split("/") if part not in ("", ".")]
    if not parts or key.endswith("/") or "\0" in key:
        raise UnsafeName("its name is empty or no name")
    return "/".join(parts)


def key_from_path(path: str, extensions: frozenset[str] = frozenset()) -> str:
    """A key from a path: without an image's extension, and with other dots of the file name turned into _, since a key ends
    at the first dot. Raises UnsafeName."""
    folder, slash, name = path.replace("\\", "/").rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if dot and stem and extension.lower() in extensions:
        name = stem
    return safe_key(folder + slash + name.replace(".", "_"))


def hashed(key: str) -> int:
    """64 bits of a key."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")


def again(key: str, count: int) -> str:
    """The key of a sample whose own key was taken count times before it."""
    return f"{key}_{count + 1}" if count else key
