"""Shards mutated at random: none crashes or hangs the reader, none gives a key other bytes than its own, all damage is found.

`fuzz.py FOLDER SEED 1` does one of them again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from . import fuzz

PROGRAM = Path(fuzz.__file__)
GROWTH_BYTES = 24 << 20


def mutate(folder: Path, first: int, count: int, limit_s: float) -> dict[str, Any]:
    """What came of the seeds from `first` on, in a process of its own."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run([sys.executable, "-X", "faulthandler", str(PROGRAM), str(folder), str(first), str(count)],
                              capture_output=True, text=True, timeout=limit_s, env=environment)
    except subprocess.TimeoutExpired:
        pytest.fail(f"seed {(folder / 'seed').read_text()} hangs")
    assert done.returncode == 0, f"seed {(folder / 'seed').read_text()}: {done.stderr[-2000:]}"
    return json.loads(done.stdout)


def summed(found: list[dict[str, Any]]) -> dict[str, Counter[str]]:
    return {kind: sum((Counter(each["counts"].get(kind, {})) for each in found), Counter())
            for kind in (mutation.__name__ for mutation in fuzz.MUTATIONS)}


def check(counts: dict[str, Counter[str]], mutations: int) -> None:
    """Each kind did harm of its own, and with checksums no change of an image passed."""
    assert sum(count["mutations"] for count in counts.values()) == mutations
    total = sum(counts.values(), Counter())
    assert total["found"] == total["changed"] > 0 and total["exact"] > 0 and total["epochs"] > 0
    for kind, count in counts.items():
        assert count["refused"] > 0, kind
        assert count["read"] > 0 or kind in ("truncate", "insert"), kind  # which nearly always end or move a header
    assert counts["zero_a_run"]["bad"] > 0 and counts["randomise_a_run"]["bad"] > 0


def test_some_hundred_mutations(tmp_path: Path) -> None:
    check(summed([mutate(tmp_path / "x", 0, 360, 200)]), 360)


@pytest.mark.slow
def test_twenty_thousand_mutations(tmp_path: Path) -> None:
    found = [mutate(tmp_path / str(first), first, 5000, 1800) for first in range(1000, 21_000, 5000)]
    counts = summed(found)
    for kind, count in counts.items():
        print(f"| {kind.replace('_', ' ')} | " + " | ".join(f"{count[name]:,}" for name in (
            "mutations", "refused", "read", "bad", "exact", "changed", "found")) + " |")
    print("resident MiB:", [[round(each / 2**20) for each in one["resident"]] for one in found])
    check(counts, 20_000)
    for one in found:
        early, late = one["resident"]
        assert late - early < GROWTH_BYTES, one["resident"]


def test_a_mutation_is_the_same_each_time_and_damages(tmp_path: Path) -> None:
    fuzz.write_real_shard(tmp_path / "x.tar")
    whole = (tmp_path / "x.tar").read_bytes()
    made = [fuzz.mutated(whole, seed) for seed in range(90)]
    assert made == [fuzz.mutated(whole, seed) for seed in range(90)]
    assert sum(data != whole for _, data in made) >= 80 and len({kind for kind, _ in made}) == len(fuzz.MUTATIONS)
