"""Long runs and many early ends: memory, threads, open files and processes stay what they were."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewmill import Loader

from .soak import growth
from .streams import SMALL, data
from .test_loader import resources

REPOSITORY = Path(__file__).resolve().parents[2]


def soak(directory: Path, samples: int) -> dict[str, float]:
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("this system does not tell how much memory is shared")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / ".dev"), str(REPOSITORY)])}
    done = subprocess.run([sys.executable, "-m", "tests.pipelines.soak", str(directory), str(samples)], env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    print(found)
    return found


def test_growth_is_seen() -> None:
    # 40 windows, 4 of warm-up; then 100 MiB that grow by 1 MiB a window: from 104.5 + ... to a quarter of a hundred more.
    held = np.stack([np.full(40, 51_200), 51_200 + 1024 * np.arange(40)], 1)
    assert growth(held)["growth"] == pytest.approx(27 / 108) and growth(held)["bytes_per_sample"] == pytest.approx(1024**2 / 4000)
    assert growth(np.full((40, 2), 7))["growth"] == 0


def test_memory_stays_what_it_was_over_a_few_epochs(tmp_path: Path) -> None:
    found = soak(tmp_path, 40_000)
    assert found["growth"] < 0.05 and found["damaged"] == 400


@pytest.mark.slow
def test_memory_grows_by_less_than_two_percent_over_200_000_samples(tmp_path: Path) -> None:
    found = soak(tmp_path, 200_000)
    assert found["growth"] < 0.02 and found["damaged"] == 2_000


def broken_off(times: int, close: bool, **options: Any) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Open files, threads and child processes after the first loop that was left early, and after as many more."""
    after = []
    for _ in range(times + 1):
        loader = Loader(data(64), SMALL, 4, threads=2, **options)
        for _batch in loader:
            break
        if close:
            loader.close()
        del loader, _batch
        after.append(resources())
    return after[0], after[-1]


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize(("sidecar", "times"), [
    (False, 20), (True, 2),
    pytest.param(False, 200, marks=pytest.mark.slow), pytest.param(True, 200, marks=pytest.mark.slow)])
def test_loops_left_early_leave_no_thread_file_or_process(sidecar: bool, times: int, close: bool) -> None:
    first, last = broken_off(times, close, sidecar=sidecar)
    assert first == last, f"open files, threads, children: {first} after one, {last} after {times} more"
