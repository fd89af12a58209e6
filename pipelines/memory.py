"""How much memory this process may still take, and anonymous memory that two processes share."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def available_bytes() -> int:
    """What the machine, or the container's limit if that is tighter, can still give; 2**63 where neither can be read."""
    found = [2**63]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        line = next(x for x in Path("/proc/meminfo").read_text().splitlines() if x.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    if len(found) == 1:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # no /proc: macOS
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    found += [_left(folder) for folder in groups("memory")]
    return max(0, min(found))


def shared_memory(size: int, name: str) -> int:
    """A file descriptor of `size` zeroed bytes that no path names: it ends with the last process that maps it.

    Not /dev/shm, which containers often cap at 64 MB and where blocks outlive a crash.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile(prefix=name) as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size)
    return fd


def groups(controller: str, root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """Folders that may hold this process's limits of a controller ("memory", "cpu"), of both versions of control groups: the
    root, as a container sees its own group, and this process's group with all above it, any of which may be the tightest."""
    folders = [root, root / controller]
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "" or controller in controllers.split(","):
                top = root / controller if controllers else root
                group = top / path.lstrip("/")
                while group != top:
                    folders.append(group)
                    group = group.parent
    return [folder for folder in folders if folder.is_dir()]


def _left(folder: Path) -> int:
    for limit, usage in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
            return most - used + _reclaimable(folder)
    return 2**63


def _reclaimable(folder: Path) -> int:
    """File pages count as used, and go as soon as anyone needs the room."""
    with contextlib.suppress(OSError, ValueError):
        fields = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(fields.get("total_inactive_file", fields.get("inactive_file", 0)))
    return 0
