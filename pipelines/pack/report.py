"""What a pack did, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

EXAMPLES = 3
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True)
class Summary:
    """target: where the shards are. listed: samples of the source; samples: those in the shards; bytes_in, bytes_out: of their
    images before and now; tar_bytes: of the shards. refused: by reason, how many and examples; problems: sources that could not
    be read, or not to their end. seconds, packed_now: of this run, which may have gone on with an earlier one."""

    target: str
    shards: int = 0
    listed: int = 0
    samples: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    tar_bytes: int = 0
    encoded: int = 0
    duplicates: int = 0
    skipped: int = 0
    renamed: int = 0
    classes: int = 0
    notes: dict[str, int] = field(default_factory=dict)
    refused: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    packed_now: int = 0

    @property
    def status(self) -> int:
        """1 where a source could not be read, or not to its end."""
        return 1 if self.problems else 0

    def as_dict(self) -> dict[str, Any]:
        rate = self.packed_now / self.seconds if self.seconds else 0.0
        return {**asdict(self), "saved": self.bytes_in - self.bytes_out, "images_per_s": rate}

    def __str__(self) -> str:
        lines = [("shards", f"{self.shards:,} in {self.target}, {amount(self.tar_bytes)}"),
                 ("samples", f"{self.samples:,} of {self.listed:,}" + (f", {self.classes:,} classes" if self.classes else ""))]
        saved = self.bytes_in - self.bytes_out
        share = f", {abs(saved) / self.bytes_in:.1%} {'saved' if saved > 0 else 'more'}" if saved and self.bytes_in else ""
        lines.append(("images", f"{amount(self.bytes_in)} in, {amount(self.bytes_out)} out{share}; {self.encoded:,} encoded "
                                f"anew, {self.samples - self.encoded:,} kept byte for byte"))
        for name, count in (("duplicates", self.duplicates), ("skipped", self.skipped)):
            if count:
                lines.append((name, f"{count:,} left out"))
        if self.renamed:
            lines.append(("keys", f"{self.renamed:,} were taken already, and got a number"))
        for name, count in self.notes.items():
            lines.append(("left out", f"{count:,} {name}"))
        for reason, about in self.refused.items():
            more = ", ..." if about["count"] > len(about["examples"]) else ""
            lines.append(("refused", f"{about['count']:,}: {reason} ({'; '.join(about['examples'])}{more})"))
        lines += [("damaged", problem) for problem in self.problems]
        rate = f", {self.packed_now / self.seconds:,.0f} images/s" if self.packed_now and self.seconds else ""
        lines.append(("done", f"in {self.seconds:.1f} s{rate}"))
        return "\n".join(f"{name:10s} {text}" for name, text in lines)


def by_reason(refused: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Most frequent first, with the first examples."""
    counts = Counter(each.reason for each in refused)
    found: dict[str, dict[str, Any]] = {reason: {"count": count, "examples": []} for reason, count in counts.most_common()}
    for each in refused:
        examples = found[each.reason]["examples"]
        if len(examples) < EXAMPLES:
            examples.append(f"{each.shard.rpartition('/')[2]}: {each.key}")
    return found


def amount(count: int) -> str:
    """1,234,567 bytes as 1.2 MB."""
    size, unit = float(count), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{count} bytes"
