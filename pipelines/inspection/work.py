"""What one worker does with one piece of the data: a shard, or some files of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from ..pack.sample import hashed
from .findings import OF_SAMPLES, Finding, Found, Hashes, rounded
from .images import Image, fits, look
from .settings import ALL, Settings
from .shard import Sample, Shard, survey
from .storage import Storage


@dataclass(frozen=True)
class Files:
    """Images of a folder: paths below it, and their labels, -1 for none. labelled: the folder has classes."""

    folder: str
    files: tuple[str, ...]
    labels: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.folder


Piece = Shard | Files


@dataclass(frozen=True)
class Named:
    """An entry of a quarantine log. number: in the log; offset: of its image where the log's shard is this one, else -1. It tells
    samples of one key apart; where none lies there, as in a shard packed anew, the key decides."""

    number: int
    offset: int = -1


def examine(storage: Storage, piece: Piece, settings: Settings,
            named: Mapping[str, Sequence[Named]], rows: Sequence[int] = ()) -> tuple[Found, Hashes | None]:
    """All that is looked at in every sample. named: entries of a log, by key; rows: numbers of samples to decode now, where
    coming back for them is dear."""
    found, hashes, keys = Found(), list[bytes](), list[int]()
    exactly, by_key = dict[int, str](), dict[int, str]()
    wanted = set(rows)
    for row, (image, label) in enumerate(_samples(storage, piece, settings.checksums, found)):
        entries = named.get(image.key, ())
        counted = settings.decode == ALL or row in wanted
        decoded = counted or bool(entries)
        packed = settings.checksums and image.checksum is not None
        # Where no checksum is asked for, the bytes that are read are no reason to look at it.
        asked = image if settings.checksums or entries else image._replace(checksum=None)
        seen = look(storage, asked, packed or settings.duplicates, decoded)
        found.checked += packed and bool(seen.data)
        found.decoded += counted and seen.whole
        found.images += 1
        found.image_bytes += image.size
        found.of_bytes[rounded(image.size)] += 1
        if label >= 0:
            found.labels[label] += 1
        else:
            found.unlabelled += 1
        if seen.header is not None:
            found.heights[seen.header.height] += 1
            found.widths[seen.header.width] += 1
            found.formats[seen.header.format] += 1
            if seen.mode:
                found.modes[seen.mode] += 1
            if not fits(image.extension, seen.header):
                found.add(_finding(image, "extension", f"a {seen.header.format} named .{image.extension}"))
        if seen.kind:
            found.add(_finding(image, seen.kind, seen.reason))
        for entry in entries:
            if entry.offset == image.offset:
                exactly[entry.number] = seen.reason
            else:
                by_key[entry.number] = by_key.get(entry.number) or seen.reason
        if settings.duplicates:
            whole = len(seen.data) == image.size  # what cannot be read is equal to nothing
            data = seen.data if whole else f"{image.shard}\0{image.offset}".encode("utf-8", "surrogateescape")
            hashes.append(blake2b(data, digest_size=16).digest())
            keys.append(hashed(image.key))
    found.named = {**by_key, **exactly}
    return found, Hashes.of(hashes, keys) if settings.duplicates else None


def decode_some(storage: Storage, piece: Piece, rows: Sequence[int]) -> list[tuple[int, Finding | None]]:
    """Of the samples of those numbers: what is wrong with them, None for nothing."""
    wanted, found = set(rows), list[tuple[int, Finding | None]]()
    for row, (image, _) in enumerate(_samples(storage, piece, False, Found())):
        if row in wanted:
            seen = look(storage, image, True, True)
            found.append((row, _finding(image, seen.kind, seen.reason) if seen.kind else None))
    return found


def name_some(storage: Storage, piece: Piece, rows: Sequence[int]) -> list[tuple[int, Image]]:
    """Where the samples of those numbers lie."""
    wanted = set(rows)
    return [(row, sample.image) for row, sample in enumerate(_samples(storage, piece, False, Found())) if row in wanted]


def _samples(storage: Storage, piece: Piece, checksums: bool, found: Found) -> Iterator[Sample]:
    if isinstance(piece, Shard):
        yield from survey(storage, piece, checksums, found)
        return
    for file, label in zip(piece.files, piece.labels, strict=True):
        path = f"{piece.folder}/{file}"
        try:
            size = storage.length(path)
        except OSError:
            size = -1  # reading will say why
        yield Sample(Image(path, file, file, 0, max(0, size)), label)


def _finding(image: Image, kind: str, reason: str) -> Finding:
    return Finding(kind, image.shard, where(image), reason, image.key, image.offset if kind in OF_SAMPLES else 0, image.size)


def where(image: Image) -> str:
    """As a source says it."""
    if image.name == image.key:  # a file of a folder
        return image.shard
    return f"{image.shard.rpartition('/')[2]}: {image.name}"
