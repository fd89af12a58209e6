"""What a process and all its descendants use: processor time and memory, as Linux tells it under /proc."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

SAMPLED_SECONDS = 0.05
PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """The process and its living descendants; empty without /proc."""
    children: dict[int, list[int]] = {}
    for folder in PROC.glob("[0-9]*"):
        fields = _stat(int(folder.name))
        if fields:
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found, left = [], [pid]
    while left:
        each = left.pop()
        if (PROC / str(each)).exists():
            found.append(each)
            left += children.get(each, [])
    return found


def cpu_seconds(pids: list[int]) -> float | None:
    """Processor time of these processes so far, in steps of a hundredth; None without /proc."""
    if not PROC.is_dir():
        return None
    ticks = 0
    for pid in pids:
        if fields := _stat(pid):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def own_bytes(pids: list[int]) -> int | None:
    """Proportional set size of what lies in no file: a page that two of these processes share counts half for each. None
    without /proc."""
    if not PROC.is_dir():
        return None
    total = 0
    for pid in pids:
        fields = _fields(pid, "smaps_rollup")
        total += sum(fields.get(name, 0) for name in ("Pss_Anon", "Pss_Shmem")) if "Pss_Anon" in fields else fields.get("Pss", 0)
    return total


def file_bytes(smaps: Iterable[str]) -> int:
    """Pages of files (libraries, images) in memory, by the texts of /proc/PID/smaps of some processes: what several map counts
    once, whoever else maps it."""
    resident: dict[tuple[str, str, str], int] = {}
    for text in smaps:
        key = None
        for line in text.splitlines():
            fields = line.split()
            if "-" in fields[0] and len(fields) >= 5 and not fields[0].endswith(":"):
                key = (fields[3], fields[4], fields[2]) if fields[4] != "0" and len(fields) > 5 and fields[5][0] == "/" else None
                if key and (fields[5].startswith("/memfd:") or fields[5].startswith("/dev/")):  # memory by another name
                    key = None
            elif key and fields[0] == "Rss:":
                size = int(fields[1]) * 1024
            elif key and fields[0] == "Anonymous:":  # of a private mapping, written to: counted as the process's own
                resident[key] = max(resident.get(key, 0), size - int(fields[1]) * 1024)
    return sum(resident.values())


class PeakMemory:
    """Within the context, the largest sum of what the tree's processes hold for themselves, sampled twenty times a second by a
    thread; then the pages of files that they map, once. `bytes` is None without /proc."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.bytes: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="viewmill-memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self.bytes is not None:
            self.bytes += file_bytes(_text(pid, "smaps") for pid in tree(self.pid))

    def _watch(self) -> None:
        while True:
            seen = own_bytes(tree(self.pid))
            if seen is not None:
                self.bytes = max(self.bytes or 0, seen)
            if self._over.wait(SAMPLED_SECONDS):
                return


def wait_until_idle(pid: int, window: float = 0.1, limit: float = 60.0) -> bool:
    """Wait until the tree has used no more than a tenth of a core in two windows after each other; False at the limit,
    or where that cannot be seen."""
    began, quiet, last = time.monotonic(), 0, cpu_seconds(tree(pid))
    if last is None:
        return False
    while quiet < 2:
        if time.monotonic() - began > limit:
            return False
        time.sleep(window)
        now = cpu_seconds(tree(pid)) or 0.0
        quiet = quiet + 1 if now - last <= window / 10 + 1e-9 else 0
        last = now
    return True


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name: state first, parent second."""
    return _text(pid, "stat").rpartition(")")[2].split()


def _fields(pid: int, name: str) -> dict[str, int]:
    """Bytes by name."""
    lines = [line.split() for line in _text(pid, name).splitlines()]
    return {line[0].removesuffix(":"): int(line[1]) * 1024 for line in lines if len(line) == 3 and line[2] == "kB"}


def _text(pid: int, name: str) -> str:
    """Empty where the process has ended."""
    try:
        return (PROC / str(pid) / name).read_text()
    except OSError:
        return ""
