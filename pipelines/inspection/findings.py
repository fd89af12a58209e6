"""What a check finds: damage, remarks, and how many of what there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

DAMAGE = {
    "catalogue": "the catalogue cannot be used",
    "missing": "a shard of the catalogue is not there, or cannot be fetched",
    "extra": "a shard that the catalogue does not know",
    "length": "a shard has another length than in the catalogue",
    "sha256": "a shard has other bytes than were packed",
    "tar": "a tar is cut short, has a damaged header, or more data behind its end",
    "index": "an index is missing, damaged, or does not fit its shard or the catalogue",
    "checksum": "an image has other bytes than were packed",
    "image": "an image cannot be read or decoded, or is too large",
    "size": "an image has another height or width than its index says",
}
"""Kinds, in the order of the report. Of a shard's images each has the first that is found."""

REMARKS = {
    "extension": "an image of another format than its name says; it is decoded by content",
    "key": "a key that another sample of the shard has",
    "name": "a name that would lead out of a folder into which the tar is unpacked: absolute, or with ../",
    "member": "a file of no sample: hidden, or without extension",
    "no image": "a sample without an image",
    "label": "a label that is no whole number >= 0",
    "unlabelled": "an image without label, in a shard that has labels",
    "no index": "a shard without index, where others have one",
    "duplicate": "an image with the bytes of an earlier one",
    "key twice": "a key that a sample of another shard has",
}
"""What training gets along with, but perhaps its user would not have it so."""

KEPT = 1000
"""Remarks of a kind that one shard names; all are counted."""

OF_SAMPLES = frozenset(["checksum", "image", "size"])
"""Damage of one image: what a quarantine log holds."""


@dataclass(frozen=True)
class Finding:
    """shard: path of the tar, of a folder's image its own; where: as a source says it; key: "" for what concerns all of a shard;
    offset, size: of the image's bytes, 0, 0 where there are none."""

    kind: str
    shard: str
    where: str
    reason: str
    key: str = ""
    offset: int = 0
    size: int = 0


@dataclass
class Found:
    """Of one shard, of several files, or of all. bytes: of the shards; image_bytes: of the images; checked: images that were
    compared with a checksum; decoded: images that could be, of those that were tried; of_bytes: images by length to three digits;
    named: what became of a log's entries, by number, "" for whole."""

    shards: int = 0
    bytes: int = 0
    members: int = 0
    indexes: int = 0
    images: int = 0
    image_bytes: int = 0
    checked: int = 0
    decoded: int = 0
    unlabelled: int = 0
    heights: Counter[int] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)
    of_bytes: Counter[int] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    labels: Counter[int] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    named: dict[int, str] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """Damage is kept, remarks up to a number."""
        self.counts[finding.kind] += 1
        if finding.kind in DAMAGE or self.counts[finding.kind] <= KEPT:
            self.findings.append(finding)

    def merge(self, other: Found) -> None:
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if name == "named":  # where several samples may be meant, a bad one counts
                mine.update({number: mine.get(number) or reason for number, reason in value.items()})
            elif isinstance(value, int):
                setattr(self, name, mine + value)
            elif isinstance(value, list):
                mine.extend(value)
            else:
                mine.update(value)

    def remarks(self) -> int:
        return sum(self.counts[kind] for kind in REMARKS)

    def damages(self) -> int:
        return sum(self.counts[kind] for kind in DAMAGE)


@dataclass
class Hashes:
    """To find equals among: images (n, 2) and keys (n,) uint64, a row each image of a shard, in order."""

    images: np.ndarray
    keys: np.ndarray

    @classmethod
    def of(cls, images: Iterable[bytes], keys: Iterable[int]) -> Hashes:
        """images: of 16 bytes."""
        return cls(np.frombuffer(b"".join(images), np.uint64).reshape(-1, 2), np.fromiter(keys, np.uint64))


def rounded(size: int) -> int:
    """To three digits: no more than 0.5 % away."""
    step = 10 ** max(0, len(str(size)) - 3)
    return (size + step // 2) // step * step


def quantile(counts: Counter[int], share: float) -> int:
    """The least value that at least that share of all does not exceed. counts: not empty."""
    left = share * counts.total()
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return max(counts)
