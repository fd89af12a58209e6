"""What a check found, for people and as JSON."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..pack.report import amount
from ..quarantine import Quarantined
from .findings import DAMAGE, REMARKS, Finding, Found, quantile
from .places import Place
from .settings import ALL, Settings

LISTED = 20
"""Of each kind, for people; JSON has them all."""

QUANTILES = {"min": 0.0, "5%": 0.05, "median": 0.5, "95%": 0.95, "max": 1.0}
_ENDS = 5
"""Labels shown from each end of the histogram."""


@dataclass(frozen=True)
class Report:
    """lengths (P,) int64: bytes of the pieces that are shards; log: the quarantine log that was asked about, in order."""

    place: Place
    settings: Settings
    found: Found
    lengths: np.ndarray
    log: tuple[Quarantined, ...] = ()
    seconds: float = 0.0

    def whole(self, strict: bool = False) -> bool:
        """strict: without a remark as well."""
        return not self.found.damages() and not (strict and self.found.remarks())

    def still_bad(self) -> Iterator[tuple[Quarantined, str]]:
        """Entries of the log that are there and bad, and why."""
        for number, entry in enumerate(self.log):
            if self.found.named.get(number):
                yield entry, self.found.named[number]

    def as_dict(self) -> dict[str, Any]:
        found, shards = self.found, self.lengths[self.lengths > 0]
        about: dict[str, Any] = {
            "data": self.place.name, "whole": self.whole(), "seconds": self.seconds,
            "shards": {"count": found.shards, "bytes": found.bytes, "members": found.members, "indexes": found.indexes,
                       "catalogue": self.place.catalogued, **_spread(shards)},
            "images": {"count": found.images, "bytes": found.image_bytes, "compared": found.checked, "decoded": found.decoded,
                       "height": _quantiles(found.heights), "width": _quantiles(found.widths),
                       "bytes_each": _quantiles(found.of_bytes), "formats": dict(found.formats.most_common()),
                       "modes": dict(found.modes.most_common())},
            "labels": {"classes": len(found.labels), "names": list(self.place.classes), "unlabelled": found.unlabelled,
                       "counts": {str(label): count for label, count in sorted(found.labels.items())}},
        }
        for name, kinds in (("damage", DAMAGE), ("remarks", REMARKS)):
            about[name] = {kind: {"count": found.counts[kind], "listed": [_plain(each) for each in of]}
                           for kind, of in self._by_kind(kinds)}
        if self.settings.quarantine:
            bad = [{**asdict(entry), "now": reason} for entry, reason in self.still_bad()]
            about["quarantine"] = {"file": self.settings.quarantine, "entries": len(self.log), "whole": self._whole_now(),
                                   "not_there": len(self.log) - len(found.named), "still_bad": bad}
        return about

    def __str__(self) -> str:
        return "\n".join(f"{name:11s} {_printable(text)}" for name, text in self._lines())

    def _lines(self) -> Iterator[tuple[str, str]]:
        found = self.found
        yield "data", self.place.name
        if self.place.shards:
            sizes = self.lengths[self.lengths > 0]
            spread = ": " + ", ".join(f"{name} {amount(n)}" for name, n in _spread(sizes).items()) if len(sizes) > 1 else ""
            beside = f"{found.indexes:,} with index" + (", in a catalogue" if self.place.catalogued else "")
            yield "shards", f"{found.shards:,}, {amount(found.bytes)}{spread}; {beside}"
        kinds = ", ".join(f"{count:,} {name}" for name, count in found.formats.most_common())
        modes = ", ".join(f"{count:,} {name}" for name, count in found.modes.most_common())
        yield "images", f"{found.images:,}, {amount(found.image_bytes)}" + "".join(f"; {each}" for each in (kinds, modes) if each)
        for name, counts in (("height", found.heights), ("width", found.widths), ("bytes", found.of_bytes)):
            if counts:
                values = ", ".join(f"{title} {value:,}" for title, value in _quantiles(counts).items())
                yield name, values + ("" if name == "bytes" else " px")
        yield "labels", self._labels()
        yield "read", self._read()
        if self.settings.quarantine:
            bad = list(self.still_bad())
            gone = len(self.log) - len(found.named)
            yield "quarantine", (f"of {len(self.log):,} samples {len(bad):,} are still bad, {self._whole_now():,} whole, "
                                 f"{gone:,} not there")
            for entry, reason in bad[:LISTED]:
                yield "", f"{_short(entry.where)}: {reason}"
            if len(bad) > LISTED:
                yield "", f"... and {len(bad) - LISTED:,} more"
        for name, kinds_of in (("damaged", DAMAGE), ("remark", REMARKS)):
            for kind, of in self._by_kind(kinds_of):
                yield name, f"{kind}: {found.counts[kind]:,}{_reasons(of)}"
                for each in of[:LISTED]:
                    yield "", f"{_short(each.where)}: {each.reason}"
                if found.counts[kind] > LISTED:
                    yield "", f"... and {found.counts[kind] - LISTED:,} more"
        rate = f", {found.images / self.seconds:,.0f} images/s" if self.seconds and found.images else ""
        end = f"damaged, {found.damages():,} times" if found.damages() else "whole"
        yield "done", f"{end}; {found.remarks():,} remarks; in {self.seconds:.1f} s{rate}"

    def _labels(self) -> str:
        found = self.found
        if not found.labels:
            return "none"
        ranked = sorted(found.labels.items(), key=lambda item: (-item[1], item[0]))
        shown = ranked if len(ranked) <= 2 * _ENDS else [*ranked[:_ENDS], None, *ranked[-_ENDS:]]
        each = ", ".join("..." if item is None else f"{self._class(item[0])} ({item[1]:,})" for item in shown)
        return f"{len(ranked):,} classes, {found.unlabelled:,} images without; most to fewest {each}"

    def _class(self, label: int) -> str:
        return self.place.classes[label] if label < len(self.place.classes) else str(label)

    def _read(self) -> str:
        found, how = self.found, []
        if found.checked:
            how.append(f"{found.checked:,} compared with their checksums")
        if self.settings.decode:
            how.append(f"{'all ' if self.settings.decode == ALL else ''}{found.decoded:,} decoded")
        return ", ".join(["all headers", *how])

    def _whole_now(self) -> int:
        return sum(not reason for reason in self.found.named.values())

    def _by_kind(self, kinds: Mapping[str, str]) -> Iterator[tuple[str, list[Finding]]]:
        for kind in kinds:
            if self.found.counts[kind]:
                yield kind, [each for each in self.found.findings if each.kind == kind]


def _short(where: str) -> str:
    """As from here."""
    return where.removeprefix(f"{os.getcwd()}/")


def _printable(text: str) -> str:
    """Names in tars may hold anything; a terminal would obey some of it."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _plain(finding: Finding) -> dict[str, Any]:
    return {name: value for name, value in asdict(finding).items() if name != "kind" and value not in ("", 0)}


def _reasons(findings: list[Finding]) -> str:
    """Of images, how often each; of others, each has its own."""
    counts = Counter(each.reason for each in findings)
    if len(counts) < 2 or len(counts) == len(findings):
        return ""
    return " (" + ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common(3)) + ")"


def _spread(lengths: np.ndarray) -> dict[str, int]:
    if not len(lengths):
        return {}
    return {"min": int(lengths.min()), "median": int(np.sort(lengths)[(len(lengths) - 1) // 2]), "max": int(lengths.max())}


def _quantiles(counts: Counter[int]) -> dict[str, int]:
    return {name: quantile(counts, share) for name, share in QUANTILES.items()} if counts else {}
