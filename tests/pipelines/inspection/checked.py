"""Checks in this process, and what they found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from viewmill.pipelines.inspection import Report, Settings, check


def checked(*data: object, **options: Any) -> Report:
    return check([str(each) for each in data], Settings(**{"workers": 1, **options}))


def kinds(report: Report) -> dict[str, int]:
    """How many of each kind there are."""
    return {kind: count for kind, count in report.found.counts.items() if count}


def said(report: Report, kind: str) -> list[tuple[str, str]]:
    """(where, reason), with paths cut to their file name."""
    return [(each.where.rpartition("/")[2], each.reason) for each in report.found.findings if each.kind == kind]


def changed(path: Path, change: Callable[[bytearray], Any]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def flip(path: Path, at: int) -> None:
    def one(data: bytearray) -> None:
        data[at] ^= 0xFF

    changed(path, one)
