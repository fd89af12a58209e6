"""What processes use: a process made here is found, its work and rest are seen, and file pages count once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from viewmill.pipelines.bench.processes import (
    PROC,
    PeakMemory,
    cpu_seconds,
    file_bytes,
    own_bytes,
    tree,
    wait_until_idle,
)

needs_proc = pytest.mark.skipif(not PROC.is_dir(), reason="this system has no /proc")
SMAPS = """7f0000000000-7f0000100000 r-xp 00000000 08:01 42                 /lib/libtorch.so
Size:               1024 kB
Rss:                 800 kB
Pss:                 400 kB
Anonymous:             0 kB
7f0000100000-7f0000200000 rw-p 00100000 08:01 42                 /lib/libtorch.so
Rss:                 100 kB
Anonymous:            60 kB
7f0000200000-7f0000300000 rw-s 00000000 00:01 7                  /memfd:ring (deleted)
Rss:                 500 kB
Anonymous:             0 kB
7f0000300000-7f0000400000 rw-p 00000000 00:00 0                  [heap]
Rss:                 300 kB
Anonymous:           300 kB
"""


def test_pages_of_files_count_once_however_many_map_them() -> None:
    assert file_bytes([SMAPS]) == 1024 * (800 + 40)  # less what was written to; not the heap, not shared memory
    other = SMAPS.replace("800 kB", "900 kB")  # it has seen more of the same library
    assert file_bytes([SMAPS, other]) == 1024 * (900 + 40)


@needs_proc
def test_a_child_belongs_to_the_tree_with_its_work_and_memory() -> None:
    script = "b = bytearray(80_000_000); print('made', flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == b"made\n"
            found = tree(child.pid)
            assert found == [child.pid] and child.pid in tree(os.getpid())
            with PeakMemory(child.pid) as memory:
                pass
            assert (own_bytes(found) or 0) > 80_000_000 and (memory.bytes or 0) > 80_000_000
            assert not wait_until_idle(child.pid, limit=1.0)
            assert (cpu_seconds(found) or 0) > 0
        finally:
            child.kill()


@needs_proc
def test_a_child_that_waits_is_idle() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        try:
            assert wait_until_idle(child.pid)
        finally:
            child.kill()
