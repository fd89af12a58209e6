"""The survey of one shard: itself, its index, its entry in the catalogue, and each of its samples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..catalogue import ShardEntry
from ..index import CLS_BYTES, EXTENSIONS, JSON_BYTES, ShardIndex, groups, key_of, label_of
from ..index_file import INDEX_SUFFIX, ShardFacts, read_index
from ..pack.sample import UnsafeName, safe_key
from ..tar import Member
from .findings import Finding, Found
from .images import Image
from .storage import Storage, Unreachable

PACKED = "its bytes are not those that were packed (sha256)"

_AGAIN = "write it again with viewmill pack --index-only"


@dataclass(frozen=True)
class Shard:
    """name: of the tar, in the storage. entry: in the catalogue of its folder, if that has it; listed: there is a catalogue."""

    name: str
    entry: ShardEntry | None = None
    listed: bool = False

    @property
    def short(self) -> str:
        return self.name.rpartition("/")[2]


class Sample(NamedTuple):
    """An image with its label, -1 for none."""

    image: Image
    label: int


def survey(storage: Storage, shard: Shard, checksums: bool, found: Found) -> Iterator[Sample]:
    """Samples in order, while what is found of the shard is added to found. checksums: read all of the tar where its sha256 is
    known."""
    try:
        length = storage.length(shard.name)
    except OSError as error:
        found.add(_of(shard, "missing", f"cannot be read ({error.strerror}): check its permissions"))
        return
    except Unreachable as error:
        found.add(_of(shard, "missing", f"cannot be fetched: {error}"))
        return
    if length < 0:
        found.add(_of(shard, "missing", "not there: copy it again"))
        return
    found.shards, found.bytes = 1, length
    index, facts = _index(storage, shard, length, found)
    _against_catalogue(storage, shard, length, facts, checksums, found)
    members, damage = storage.members(shard.name)
    found.members = len(members)
    if damage is not None:
        found.add(_of(shard, "tar", str(damage).removeprefix(f"{shard.name}: ")))
    if index is not None and damage is not None and index.checksums:  # it leads to those behind the damage, too
        yield from _by_index(shard, index)
        return
    whole = facts is not None and damage is None  # else the index is another tar's
    rows = _rows(index) if index is not None and whole else {}
    walked = list(_walk(storage, shard, members, found))
    if index is not None and whole:
        _against_index(shard, index, rows, walked, found)
    for sample in walked:
        row = rows.get(sample.image.offset)
        if index is None or row is None or index.records.item(row)[1] != sample.image.size:
            yield sample
        else:
            yield _known(sample, index, row)


def _of(shard: Shard, kind: str, reason: str, name: str = "") -> Finding:
    return Finding(kind, shard.name, f"{shard.short}: {name}" if name else shard.name, reason, key_of(name) if name else "")


def _index(storage: Storage, shard: Shard, length: int, found: Found) -> tuple[ShardIndex | None, ShardFacts | None]:
    """The index beside it, and what it says of its tar; None for that where it is of a longer one, of which this is the rest."""
    name, entry = f"{shard.name}{INDEX_SUFFIX}", shard.entry

    def bad(reason: str) -> None:
        found.add(Finding("index", shard.name, name, f"{reason}: {_AGAIN}"))

    try:
        size = storage.length(name)
        if size < 0:
            if entry is not None and entry.index_bytes:
                found.add(Finding("index", shard.name, name, "not there: write it again with viewmill pack --index-only"))
            return None, None
        index, facts = read_index(storage.read(name, 0, size))
    except OSError as error:
        bad(f"cannot be read ({error.strerror})")
        return None, None
    except Unreachable as error:
        found.add(Finding("index", shard.name, name, f"cannot be fetched: {error}"))
        return None, None
    except ValueError as error:
        bad(str(error))
        return None, None
    found.indexes = 1
    if entry is not None and entry.digest != index.digest:
        bad("not the one of the catalogue (its digest)")
    elif entry is not None and entry.index_bytes not in (0, size):
        bad(f"{size} bytes, {entry.index_bytes} in the catalogue")
    if facts.tar_bytes != length:
        if entry is None or entry.tar_bytes == length:  # else it is the tar that has changed
            bad(f"stale: of a tar of {facts.tar_bytes} bytes, and this one has {length}")
        return (index if index.checksums and facts.tar_bytes > length else None), None
    return index, facts


def _against_catalogue(storage: Storage, shard: Shard, length: int, facts: ShardFacts | None, checksums: bool,
                       found: Found) -> None:
    entry = shard.entry
    if entry is None:
        if shard.listed:
            found.add(_of(shard, "extra", "not in the catalogue: index it with viewmill pack --index-only, or remove it"))
    elif entry.tar_bytes != length:
        found.add(_of(shard, "length", f"{length} bytes, {entry.tar_bytes} in the catalogue: copy it again"))
        return
    known = (entry.sha256 if entry is not None else "") or (facts.sha256 if facts is not None else "")
    if not known or not checksums:
        return
    try:
        if storage.sha256(shard.name) != known:
            found.add(_of(shard, "sha256", f"{PACKED}: copy it again"))
    except OSError as error:
        found.add(_of(shard, "tar", f"cannot be read ({error.strerror}): check the disk"))


def _rows(index: ShardIndex) -> dict[int, int]:
    """By offset."""
    return {offset: row for row, offset in enumerate(index.records["offset"].tolist())}


def _by_index(shard: Shard, index: ShardIndex) -> Iterator[Sample]:
    for row in range(len(index)):
        name = index.name(row)
        offset, size = index.place(row)
        yield _known(Sample(Image(shard.name, name, key_of(name), offset, size), index.label(row)), index, row)


def _known(sample: Sample, index: ShardIndex, row: int) -> Sample:
    """With what the index says of the image's bytes. A size that the packer could not read is none."""
    _, _, height, width, _, _, checksum = index.records.item(row)
    size_hw = (height, width) if height and width else None
    return Sample(sample.image._replace(checksum=checksum if index.checksums else None, size_hw=size_hw), sample.label)


def _walk(storage: Storage, shard: Shard, members: Sequence[Member], found: Found) -> Iterator[Sample]:
    grouped, keys, labels = set[int](), set[str](), 0
    unlabelled: list[Image] = []
    for group in groups(list(members)):
        grouped.update(member.offset for member in group.values())
        first = next(iter(group.values()))
        image = next((member for extension, member in group.items() if extension in EXTENSIONS), None)
        key = key_of(first.name)
        if key in keys:
            found.add(_of(shard, "key", "its key is used before in this shard", first.name))
        keys.add(key)
        if image is None:
            found.add(_of(shard, "no image", "a sample without an image", first.name))
            continue
        _name(shard, image, found)
        label = _label(storage, shard, group, image, found)
        labels += label >= 0
        here = Image(shard.name, image.name, key, image.offset, image.size)
        if label < 0:
            unlabelled.append(here)
        yield Sample(here, label)
    for member in members:
        if member.offset not in grouped:
            _name(shard, member, found)
            found.add(_of(shard, "member", "belongs to no sample: hidden, or without extension", member.name))
    if labels:
        for each in unlabelled:
            found.add(_of(shard, "unlabelled", "without label, among labelled ones", each.name))


def _name(shard: Shard, member: Member, found: Found) -> None:
    try:
        safe_key(key_of(member.name) or member.name)
    except UnsafeName as error:
        found.add(_of(shard, "name", str(error), member.name))


def _label(storage: Storage, shard: Shard, group: dict[str, Member], image: Member, found: Found) -> int:
    """As an index reads it; what looks like a label and is none is a remark."""
    texts: list[bytes | None] = []
    for extension, most in (("cls", CLS_BYTES), ("json", JSON_BYTES)):
        member = group.get(extension)
        try:
            texts.append(storage.read(shard.name, member.offset, member.size) if member and member.size <= most else None)
        except OSError as error:
            found.add(_of(shard, "tar", f"cannot be read ({error.strerror})", group[extension].name))
            texts.append(None)
    label = label_of(*texts)
    if label < 0:
        if "cls" in group:
            found.add(_of(shard, "label", "its .cls is no whole number >= 0", image.name))
        elif texts[1] is not None and (reason := _json_fault(texts[1])):
            found.add(_of(shard, "label", reason, image.name))
    return label


def _json_fault(data: bytes) -> str:
    try:
        about = json.loads(data)
    except (ValueError, RecursionError):
        return "its .json cannot be read"
    labelled = isinstance(about, dict) and ("label" in about or "cls" in about)
    return "the label in its .json is no whole number >= 0" if labelled else ""


def _against_index(shard: Shard, index: ShardIndex, rows: dict[int, int], walked: Sequence[Sample], found: Found) -> None:
    """Whether each of its samples is where the index says, and none besides."""
    def bad(count: int, what: str, first: str) -> None:
        reason = f"{count} of {max(len(index), len(walked))} samples {what}, the first is {first}"
        # An index whose first, middle and last sample fit would be kept, were it not removed.
        found.add(Finding("index", shard.name, f"{shard.name}{INDEX_SUFFIX}", f"{reason}: remove it, and {_AGAIN}"))

    elsewhere, other_labels, seen = [], [], np.zeros(len(index), bool)
    for image, label in walked:
        row = rows.get(image.offset)
        if row is None or index.place(row) != (image.offset, image.size) or index.name(row) != image.name:
            elsewhere.append(image.name)
            continue
        seen[row] = True
        if index.label(row) != label:
            other_labels.append(image.name)
    lost = np.flatnonzero(~seen).tolist()
    if elsewhere or lost:
        bad(max(len(elsewhere), len(lost)), "are not where it says", elsewhere[0] if elsewhere else index.name(lost[0]))
    if other_labels:
        bad(len(other_labels), "have another label than it says", other_labels[0])
