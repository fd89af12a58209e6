"""The quarantine log: one JSON line for each sample that could not be used, written as it is met.

Several processes may share a file: each line is appended by one write. `viewmill pack skip=FILE` leaves these samples out, and
`viewmill check DATA quarantine=FILE` looks at them again.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from .faults import DataError

LOG = logging.getLogger("viewmill")

REMEMBERED = 100_000
"""Samples that a log knows to have written; beyond, one may be written again, and the reader takes it once."""

_START = '{"time": '
_WAY_OUT = "give the quarantine.jsonl of a run or of a check"


@dataclass(frozen=True)
class Quarantined:
    """A sample that could not be used, and why.

    time: when it was met, UTC, as 2026-01-31T12:00:00Z. shard: a path or URL, of a folder's image its own path, "" where there
    is none; key, where: as the source has them. offset, size: its bytes in the shard, 0, 0 where that is not known. epoch,
    position: where in a run, index: its number in that run's data; -1 where it was not met in a run.
    """

    time: str
    shard: str
    key: str
    where: str
    offset: int
    size: int
    reason: str
    epoch: int = -1
    position: int = -1
    index: int = -1


def now() -> str:
    """The time as a line has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class QuarantineLog:
    """Appends to a file, which is made with the first line, each distinct sample once. Raises ValueError, now, where the file's
    folder is none or may not be written; later faults of the disk are said once and stop nothing. For one thread."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._written: set[tuple[str, int, str]] = set()
        self._failed = False
        self._torn = True  # perhaps: the file's last line may be half a one
        folder = self.path.parent
        if self.path.is_dir() or not folder.is_dir() or not os.access(self.path if self.path.exists() else folder, os.W_OK):
            raise ValueError(f"quarantine needs a file in a folder that can be written, got {str(path)!r}: make the folder first")

    def add(self, sample: Quarantined) -> None:
        this = (sample.shard, sample.offset, sample.key)
        if this in self._written:
            return
        try:
            self._append(sample)
        except OSError as error:
            if not self._failed:
                LOG.warning("%s: cannot be written (%s): bad samples are only counted from here on", self.path, error.strerror)
            self._failed = self._torn = True
            return
        if len(self._written) < REMEMBERED:
            self._written.add(this)

    def _append(self, sample: Quarantined) -> None:
        line = (json.dumps(asdict(sample)) + "\n").encode()
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            end = os.fstat(handle).st_size if self._torn else 0
            if end and os.pread(handle, 1, end - 1) != b"\n":
                line = b"\n" + line
            if os.write(handle, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._torn = False
        finally:
            os.close(handle)


def read_quarantine(path: str | Path) -> list[Quarantined]:
    """The samples of a log, each once, with the latest that is said of it. Half a line, left by a full disk or a machine that
    stopped, is passed over. Raises DataError for a file that is missing or something else."""
    path = Path(path)
    try:
        lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): {_WAY_OUT}") from error
    found: dict[tuple[str, int, str], Quarantined] = {}
    for number, line in enumerate(lines, 1):
        if line and (sample := _sample(path, number, line)) is not None:
            this = (sample.shard, sample.offset, sample.key)
            found.pop(this, None)
            found[this] = sample
    return list(found.values())


def _sample(path: Path, number: int, line: str) -> Quarantined | None:
    """None for half a line."""
    try:
        about = json.loads(line)
    except ValueError:
        if line.startswith(_START) or _START.startswith(line):
            return None
        about = None
    wanted = {field.name: {"str": str, "int": int}[str(field.type)] for field in fields(Quarantined)}
    if not isinstance(about, dict) or not all(type(about.get(name)) is kind for name, kind in wanted.items()):
        shown = line if len(line) <= 40 else line[:40] + "..."
        raise DataError(f"{path}: line {number} is not that of a quarantine log, got {shown!r}: {_WAY_OUT}")
    return Quarantined(**{name: about[name] for name in wanted})
