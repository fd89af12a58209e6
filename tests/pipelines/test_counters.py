"""Counters: sums that many threads add to, that add up over producers and ranks, and what is said of them."""

from __future__ import annotations

import importlib
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from viewmill import Loader
from viewmill.pipelines.counters import Counters, Tally, added, as_metrics, in_words, summed

from .streams import SMALL, data, folder, local

COUNTING = """
from viewmill.pipelines.counters import Counters
from viewmill.pipelines.sources.arrays import ArraySource

class Counting(ArraySource):
    def __init__(self, images):
        super().__init__(images)
        self.counters = Counters()

    def read(self, index):
        self.counters.add("retries", 2)
        return super().read(index)
"""


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Eight pictures; each read counts two retries. In a module that a sidecar can import."""
    (tmp_path / "counting_source.py").write_text(COUNTING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "counting_source", raising=False)
    return importlib.import_module("counting_source").Counting(data(8)[0])


def test_threads_add_up() -> None:
    counters, tally = Counters(), Tally()

    def work(_: int) -> None:
        for i in range(1000):
            counters.add("a")
            counters.add("b", 0.5)
            tally.note(i)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert counters.snapshot() == {"a": 8000, "b": 4000.0}
    assert tally.take() == (8000, 8 * 499_500) and tally.take() == (0, 0)


def test_a_snapshot_stays_and_a_pickle_begins_at_nothing() -> None:
    counters = Counters()
    counters.add("a")
    then = counters.snapshot()
    counters.add("a")
    assert then == {"a": 1} and pickle.loads(pickle.dumps(counters)).snapshot() == {}


def test_sums_of_names_that_not_both_have() -> None:
    assert added({"a": 1, "b": 2}, {"b": 3, "c": 4}) == {"a": 1, "b": 5, "c": 4}
    assert added({"a": 1, "b": 2}, {"b": 3}, -1) == {"a": 1, "b": -1}
    ranks = [{"read": 3, "retries": 1, "substituted": {"x": 1, "y": 2}}, {"read": 4, "substituted": {"y": 5}}]
    assert summed(ranks) == {"read": 7, "retries": 1, "substituted": {"x": 1, "y": 7}}
    assert as_metrics({**summed(ranks), "delivered": 9, "total_seconds": 9.0}) == {
        "data/read": 7, "data/retries": 1, "data/substituted": 8, "data/substituted/x": 1, "data/substituted/y": 7}


def test_reasons_become_names_of_metrics() -> None:
    stats = {"substituted": {"JPEG damaged (Corrupt JPEG data: N bytes)": 1, "empty, 0 bytes": 2}}
    assert set(as_metrics(stats)) == {"data/substituted", "data/substituted/jpeg_damaged_corrupt_jpeg_data_n_bytes",
                                      "data/substituted/empty_0_bytes"}


def test_what_is_not_zero_is_said_in_words() -> None:
    stats: dict[str, Any] = {"read": 12_345, "read_bytes": 1_234_567_890, "substituted": {}, "retries": 0, "evicted": 0}
    assert in_words(stats) == "read 12,345 images (1.2 GB)"
    stats |= {"substituted": {"empty, 0 bytes": 1, "JPEG cut short": 2}, "retries": 4, "fetched_bytes": 2_500_000,
              "fetch_wait_seconds": 12.3}
    assert in_words(stats, Path("runs/a/quarantine.jsonl")) == (
        "read 12,345 images (1.2 GB), 3 replaced by stand-ins (2 x JPEG cut short, 1 x empty, 0 bytes; runs/a/quarantine.jsonl "
        "names them), 4 retries, 2.5 MB fetched, 12 s waited for shards")
    many = {"read": 1, "read_bytes": 999, "substituted": {letter: 1 for letter in "abcd"}}
    assert in_words(many) == "read 1 images (999 bytes), 4 replaced by stand-ins (1 x a, 1 x b, 1 x c, ...)"


def test_a_loader_counts_what_its_producers_read_and_decoded() -> None:
    images, _ = data(16)
    for sidecar in (False, True):
        with Loader(images, SMALL, 4, threads=2, sidecar=sidecar, prefetch=1) as loader:
            assert loader.stats()["read"] == loader.stats()["read_bytes"] == loader.stats()["decoded"] == 0
            list(loader)
            stats = loader.stats()
        # One pass, and what was made ahead of the next one meanwhile: a batch in its slot and those in hand.
        assert 16 <= stats["decoded"] <= stats["read"] <= 16 + 3 * 4
        assert stats["read_bytes"] >= sum(image.nbytes for image in images)


def test_images_that_cannot_be_used_are_read_and_not_decoded(tmp_path: Path) -> None:
    """Half of them are cut short: each is read once, and what stands in for it once more at the least."""
    with Loader(str(folder(tmp_path, 8, broken=range(4))), SMALL, 8, threads=1, sidecar=False, prefetch=1, max_bad=1.0) as loader:
        list(loader)
        stats = loader.stats()
    assert stats["read"] >= stats["decoded"] + 4 and stats["decoded"] >= 8
    assert stats["substituted"] == {"JPEG cut short": 4}


def test_restarts_add_up_and_other_users_of_a_source_do_not_count(counting: Any) -> None:
    for _ in range(5):
        counting.read(0)  # by somebody else
    with Loader(counting, SMALL, 4, threads=1, sidecar=False, prefetch=1) as loader:
        reads = []
        for _ in range(3):
            next(iter(loader))
            reads.append(loader.stats()["read"])
            assert loader.stats()["retries"] >= 2 * reads[-1]
            loader.close()
        assert loader.stats()["read"] == reads[-1]
    assert reads[0] >= 4 and reads[1] >= reads[0] + 4 and reads[2] >= reads[1] + 4
    assert loader.stats()["retries"] <= counting.counters.snapshot()["retries"] - 10


def test_a_sidecar_counts_what_its_source_does_there(counting: Any) -> None:
    with Loader(counting, SMALL, 4, threads=1, prefetch=1) as loader:
        list(loader)
        assert loader.stats()["retries"] >= 16 and counting.counters.snapshot() == {}


def test_a_source_without_counters_has_none(tmp_path: Path) -> None:
    with Loader(str(folder(tmp_path, 8)), SMALL, 4, threads=1, sidecar=False) as loader:
        list(loader)
    assert set(loader.stats()) == {"delivered", "samples", "wait_seconds", "total_seconds", "substituted", "faults", "read",
                                   "read_bytes", "decoded"}
    with local(8, 4) as loader:
        assert "retries" not in loader.stats()
