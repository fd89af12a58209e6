"""Ceilings are found where they were built in, ten times lower than the rest; nothing is called cold that cannot be shown."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from viewmill import Loader, Recipe, View
from viewmill.augment.ops import Blur, CenterCrop, Crop, Jitter
from viewmill.pipelines import ceilings, page_cache
from viewmill.pipelines.ceilings import Part, pick
from viewmill.pipelines.decode import decode
from viewmill.pipelines.diagnosing import Report, Run, examine
from viewmill.pipelines.source import ArraySource, BadSample, Source, open_source

from .shards import encoded, picture, shard
from .streams import SMALL, pictures

CPU = torch.device("cpu")
TRIVIAL = Recipe((View("a", 8, (CenterCrop(size_px=8),)),))


class Sleepy(ArraySource):
    """Each image takes 200 ms to read."""

    def read(self, index: int) -> np.ndarray:
        time.sleep(0.2)
        return super().read(index)


class Files(ArraySource):
    """Encoded pictures."""

    def __init__(self, files: list[bytes]) -> None:
        super().__init__([decode(file) for file in files])
        self.files = files

    def read(self, index: int) -> bytes:  # type: ignore[override]
        return self.files[index]


def run(source: Source, recipe: Recipe, step: Any = lambda batch: None, threads: int = 1, cores: int = 64, **loader: Any) -> Run:
    def open_loader(source: Source, recipe: Recipe, batch_size: int = 8, threads: int = threads, **changes: Any) -> Loader:
        options = {"sidecar": False, **loader, **changes}
        return Loader(source, recipe, batch_size, epochs=None, threads=threads, device="cpu", **options)

    return Run("a run", source, recipe, 8, open_loader, step, CPU, cores, threads, 1)


def examined(*arguments: Any, **options: Any) -> tuple[Report, str]:
    lines: list[str] = []
    report = examine(run(*arguments, **options), 0.2, lines.append)
    assert report.ceilings is not None and report.diagnosis is not None
    json.dumps(report.as_dict())
    return report, "\n".join(lines)


def test_a_storage_of_200_ms_a_read_gives_5_images_a_second_for_each_thread_and_binds_and_reading_ahead_is_tried() -> None:
    report, said = examined(Sleepy(pictures(16)), TRIVIAL, threads=2, cores=2, read_ahead_bytes=0)
    found, verdict = report.ceilings, report.diagnosis
    assert found is not None and verdict is not None and report.setup.reads == 2
    assert 5 < found.read_warm <= 10 and found.views <= 10.5  # of views the clock may start with a read under way
    assert min(found.decode or 0, found.render or 0, found.step) > 50
    assert verdict.binding == "read" and found.read_cold is None and "reading binds" in said
    (only,) = verdict.recommendations  # two reads at once, or as many as are made ahead
    assert only.change == "loader.read_ahead_bytes=67108864" and only.how == "measured" and only.gain > 2


def test_a_loader_that_reads_ahead_is_measured_by_as_many_reads_at_once() -> None:
    report, _ = examined(Sleepy(pictures(32)), TRIVIAL)
    assert report.setup.reads_ahead and report.setup.reads == 16
    assert report.ceilings is not None and 5 * 2 < report.ceilings.read_warm <= 5 * 16  # one thread makes the views


def test_heavy_pixels_bind_at_rendering() -> None:
    ops = (Crop(size_px=160), Jitter(p=1.0), Blur(p=1.0, sigma_px=(2.0, 2.0)))
    heavy = Recipe((View("a", 160, ops, count=12),))
    report, said = examined(Files([encoded(picture(16, 16, i)) for i in range(8)]), heavy)
    found = report.ceilings
    assert found is not None and report.diagnosis is not None
    assert found.render and found.decode and found.decode > 10 * found.render and found.read_warm > 10 * found.render
    assert report.diagnosis.binding == "render" and "rendering binds" in said


def test_large_files_bind_at_decoding_and_packing_them_smaller_is_tried() -> None:
    large = [encoded(np.kron(picture(96, 128, i), np.ones((12, 12, 1), np.uint8)), quality=98) for i in range(8)]
    report, said = examined(Files(large), TRIVIAL)
    found = report.ceilings
    assert found is not None and report.diagnosis is not None
    assert found.render and found.decode and found.render > 3 * found.decode
    assert report.diagnosis.binding == "decode" and "decoding binds" in said
    packed = next(each for each in report.diagnosis.recommendations if "shorter side of 512 px" in each.change)
    assert packed.gain > 1.5 and packed.how == "measured" and "other pixels" in packed.because  # a fifth of the pixels


def test_a_step_that_sleeps_binds_and_nothing_is_tried() -> None:
    report, said = examined(ArraySource(pictures(16)), SMALL, lambda batch: time.sleep(0.2))
    found = report.ceilings
    assert found is not None and report.diagnosis is not None
    assert 8 / 0.2 / 4 < found.step <= 8 / 0.2 and found.together is not None and found.together <= 8 / 0.2
    assert report.diagnosis.binding == "step" and not report.trials and not report.diagnosis.recommendations
    assert "data is not what limits" in said and found.data_wait is not None and found.data_wait < 0.5


def test_a_very_long_step_is_made_once_for_each_measurement() -> None:
    made = []
    examined(ArraySource(pictures(16)), TRIVIAL, lambda batch: (made.append(1), time.sleep(0.9)))
    assert len(made) == 2


def test_pages_that_stay_are_never_called_cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(shard(tmp_path / "a.tar", 12))
    monkeypatch.setattr(page_cache, "drop", lambda extents: True)
    monkeypatch.setattr(page_cache, "resident", lambda extents: 1.0)
    monkeypatch.setattr(page_cache, "bytes_from_storage", lambda: 0)
    read = ceilings.read_cold(source, pick(source, 0.1), 1, 0.01)
    assert read.state == "not shown" and read.evidence.startswith("100% of the pages stayed when dropped, 0 MiB of ")
    report, said = examined(source, TRIVIAL)
    assert report.ceilings is not None and report.ceilings.read_cold is None and "could not be shown to be cold" in said


def test_pages_that_went_or_bytes_that_storage_delivered_show_a_cold_read(tmp_path: Path,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(shard(tmp_path / "a.tar", 12))
    picked, stored = pick(source, 0.1), iter(range(0, 10**12, 10**9))
    monkeypatch.setattr(page_cache, "drop", lambda extents: True)
    monkeypatch.setattr(page_cache, "resident", lambda extents: 0.02)
    monkeypatch.setattr(page_cache, "bytes_from_storage", lambda: None)
    assert ceilings.read_cold(source, picked, 1, 0.0001).state == "cold"
    monkeypatch.setattr(page_cache, "resident", lambda extents: 0.5)  # half of them, whatever read-ahead brings
    assert ceilings.read_cold(source, picked, 1, 0.0001).state == "not shown"
    monkeypatch.setattr(page_cache, "resident", lambda extents: 1.0)  # what mincore says of a file that is not ours
    monkeypatch.setattr(page_cache, "bytes_from_storage", lambda: next(stored))
    assert ceilings.read_cold(source, picked, 1, 0.0001).state == "cold"
    assert ceilings.read_warm(source, picked, 1, 0.0001).state == "not shown"  # all of it came from storage
    monkeypatch.setattr(page_cache, "drop", lambda extents: False)
    assert "cannot drop pages" in ceilings.read_cold(source, picked, 1, 0.0001).evidence


def test_samples_are_spread_over_the_data_and_bad_ones_left_out() -> None:
    class Broken(ArraySource):
        def read(self, index: int) -> np.ndarray:
            if index % 2:
                raise BadSample("cut short")
            return super().read(index)

    source = Broken([np.full((4, 4, 3), i % 256, np.uint8) for i in range(2000)])
    picked = pick(source, 60.0)
    assert len(picked.index) > 100 and (picked.index % 2 == 0).all()
    assert min(picked.index) < 100 and max(picked.index) > 1900
    assert all(int(image.flat[0]) == i % 256 for i, image in zip(picked.index.tolist(), picked.data, strict=True))

    class None_(ArraySource):
        def read(self, index: int) -> np.ndarray:
            raise BadSample("cut short")

    with pytest.raises(ValueError, match=r"^none of 3 images can be used, the last is arrays\[\d\]: cut short: check the data$"):
        pick(None_(pictures(3)), 1.0)


def test_a_part_of_a_source_is_a_source_and_fills_batches() -> None:
    whole = ArraySource(pictures(10), np.arange(10))
    part = Part(whole, np.array([7, 2, 4])).filling(5)
    assert isinstance(part, Source) and len(part) == 20 and part.shard_sizes.tolist() == [20]
    assert [part.label(i) for i in range(5)] == [7, 2, 4, 7, 2] and part.key(4) == "2"
    assert np.array_equal(part.read(3), whole.read(7))
    assert part.size_hw(np.array([0, 4])).tolist() == [list(whole.images[7].shape[:2]), list(whole.images[2].shape[:2])]
    other = Part(whole, np.array([7, 2]), [encoded(picture(5, 6)), encoded(picture(7, 8))]).filling(1)
    assert other.size_hw(np.arange(4)).tolist() == [[5, 6], [7, 8], [5, 6], [7, 8]]
    assert decode(other.read(3)).shape == (7, 8, 3)


def test_a_part_of_files_says_where_they_lie(tmp_path: Path) -> None:
    source = open_source(shard(tmp_path / "a.tar", 9))
    picked = pick(source, 1.0)
    part = ceilings.part_of(source, picked).filling(20)
    path, offset, size = part.extent(10)  # type: ignore[attr-defined]
    assert Path(path).read_bytes()[offset:offset + size] == part.read(10) == picked.data[10 % len(picked.data)]
    assert not hasattr(ceilings.part_of(ArraySource(pictures(3)), picked), "extent")


def test_smaller_files_have_the_asked_shorter_side_and_small_ones_are_left_alone() -> None:
    picked = pick(Files([encoded(picture(400, 600, i)) for i in range(3)]), 10.0)
    made = ceilings.smaller(picked, 100, 10.0)
    assert made is not None and [decode(each).shape for each in made.data] == [(100, 150, 3)] * 3
    assert ceilings.smaller(picked, 330, 10.0) is None
