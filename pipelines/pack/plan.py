"""What is to be done, decided once and kept in a folder: which sample of the source goes where. Then shards need nothing of each
other, and a pack that was stopped goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from ..faults import DataError
from .listing import LISTED, Listing
from .members import RECORD
from .order import WINDOW_SHARDS, cut, shuffled, shuffled_in_blocks, taken_before
from .reencode import finished
from .sample import Refused, Sample, again, hashed
from .settings import Settings
from .skipped import skipped_rows
from .sources.opening import unit_from
from .sources.unit import to_dict

PLAN_VERSION = 1
PLAN, LISTINGS, RESULTS = "plan.json", "listings", "results"
_ARRAYS = ("unit", "row", "again", "ends")
_TRIED, _RUN = 64, 8
"""Images that are encoded to see how small the others will become, in runs of neighbours."""

Tasks = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]], str], Any]
"""(a function, the arguments of each call, what to call them) -> an iterator of (number, result), in any order."""


@dataclass(frozen=True)
class Job:
    """An opened plan. target: where the shards go, a folder or a URL."""

    folder: Path
    target: str
    settings: Settings
    units: tuple[Any, ...]
    classes: tuple[str, ...]

    def listing(self, number: int) -> Listing:
        return Listing.load(self.folder / LISTINGS / f"{number:05d}")

    def array(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")

    def shard_name(self, number: int) -> str:
        return f"{self.settings.name}-{number:06d}.tar"

    def result_file(self, number: int) -> Path:
        return self.folder / RESULTS / f"{number:06d}.json"


def begin(folder: Path, target: str, settings: Settings, units: Sequence[Any], classes: Sequence[str]) -> Job:
    """Write down what is asked, before anything is listed."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / PLAN, {"version": PLAN_VERSION, "target": target, "settings": settings.to_dict(),
                               "units": [to_dict(unit) for unit in units], "classes": list(classes)})
    return Job(folder, target, settings, tuple(units), tuple(classes))


def job_in(folder: str) -> Job:
    """The job that a folder describes, in any process."""
    return _job(folder, os.stat(os.path.join(folder, PLAN)).st_mtime_ns)


@lru_cache(maxsize=4)
def _job(folder: str, _changed: int) -> Job:
    about = json.loads((Path(folder) / PLAN).read_text())
    return Job(Path(folder), about["target"], Settings(**about["settings"]), tuple(map(unit_from, about["units"])),
               tuple(about["classes"]))


def list_unit(folder: str, number: int) -> tuple[int, str]:
    """List one unit of the source; (samples, what is wrong with it). A unit that cannot be read at all has none."""
    job = job_in(folder)
    try:
        numbers = {name: i for i, name in enumerate(job.classes)}
        listing = job.units[number].listed(job.settings, numbers, job.folder)
    except DataError as error:
        listing = Listing(np.zeros(0, LISTED), np.zeros(0, np.uint8), np.zeros(0, np.int64), [], {}, "", str(error))
    listing.save(job.folder / LISTINGS / f"{number:05d}")
    return len(listing), listing.problem


def digest_rows(folder: str, number: int, start: int, stop: int) -> bytes:
    """16 bytes for each of a unit's rows, of its image's bytes; zeros where it cannot be read."""
    job = job_in(folder)
    found = np.zeros((stop - start, 16), np.uint8)
    for which, sample in job.units[number].read(job.listing(number), np.arange(start, stop), job.settings):
        if isinstance(sample, Sample):
            found[which] = np.frombuffer(blake2b(sample.image, digest_size=16).digest(), np.uint8)
    return found.tobytes()


def make(job: Job, run: Tasks) -> dict[str, Any]:
    """List, leave out, order and cut; arrays are written into the plan's folder. Gives what the summary wants to know.

    In memory 24 bytes for each sample, 16 more for duplicates=drop, and twice that for a moment. Raises DataError where there is
    nothing to pack.
    """
    problems = [""] * len(job.units)
    for number, (_, problem) in run(list_unit, [(str(job.folder), i) for i in range(len(job.units))], "listing"):
        problems[number] = problem
    listings = [job.listing(i) for i in range(len(job.units))]
    lengths = np.array([len(each) for each in listings], np.int64)
    if not lengths.sum():
        named = next((problem for problem in problems if problem), f"{job.units[0].name()}: no images in it")
        raise DataError(f"{named} (and {len(job.units) - 1} more)" if len(job.units) > 1 else named)
    unit = np.repeat(np.arange(len(listings), dtype=np.uint32), lengths)
    row = np.concatenate([np.arange(length, dtype=np.uint32) for length in lengths])
    keep, facts = np.ones(len(unit), bool), {"listed": int(lengths.sum()), "skipped": 0, "duplicates": 0}
    starts = np.cumsum(lengths) - lengths
    if job.settings.skip:
        for number, rows in enumerate(skipped_rows(job.settings.skip, job.units, listings)):
            keep[starts[number] + rows] = False
        facts["skipped"] = int((~keep).sum())
    if job.settings.duplicates == "drop":
        first = _firsts(job, listings, keep, starts, run)
        facts["duplicates"] = int(keep.sum() - first.sum())
        keep = first
    unit, row = unit[keep], row[keep]
    if not len(unit):
        raise DataError(f"all {facts['listed']} samples are left out, by skip={job.settings.skip}: nothing is left to pack")
    taken = _taken(job, listings, unit, row)
    sizes = np.concatenate([listing.table["size"][row[unit == i]] for i, listing in enumerate(listings)])
    ratio = _ratio(job, listings, unit, row) if job.settings.reencodes else 1.0
    sizes = np.maximum(1, np.round(sizes * ratio)).astype(np.int64)
    order = _order(job, listings, keep, lengths, sizes)
    ends = cut(sizes[order], max(1, job.settings.shard_bytes - RECORD), job.settings.shard_samples)
    for name, array in zip(_ARRAYS, (unit[order], row[order], taken[order], ends), strict=True):
        np.save(job.folder / f"{name}.npy", array)
    notes: dict[str, int] = {}
    for listing in listings:
        for name, count in listing.notes.items():
            notes[name] = notes.get(name, 0) + count
    return {**facts, "shards": len(ends), "samples": len(unit), "renamed": int((taken > 0).sum()), "notes": notes,
            "problems": [problem for problem in problems if problem], "size_ratio": ratio,
            "refused": sum(len(listing.refused) for listing in listings), "states": [listing.state for listing in listings]}


def _firsts(job: Job, listings: list[Listing], keep: np.ndarray, starts: np.ndarray, run: Tasks) -> np.ndarray:
    """Those that are kept, without images whose bytes came before."""
    tasks, step = [], 2048
    for number, listing in enumerate(listings):
        tasks += [(str(job.folder), number, at, min(at + step, len(listing))) for at in range(0, len(listing), step)]
    digests = np.zeros((len(keep), 2), np.uint64)
    for which, data in run(digest_rows, tasks, "comparing"):
        _, number, start, stop = tasks[which]
        digests[starts[number] + start:starts[number] + stop] = np.frombuffer(data, np.uint64).reshape(-1, 2)
    inside = np.flatnonzero(keep & digests.any(1))
    _, first = np.unique(digests[inside].view("V16").reshape(-1), return_index=True)
    kept = keep & ~digests.any(1)  # what cannot be read is refused later, with its reason
    kept[inside[first]] = True
    return kept


def _taken(job: Job, listings: list[Listing], unit: np.ndarray, row: np.ndarray) -> np.ndarray:
    """(n,) uint32: by which number each key is told from equal ones before it; 0 for the first."""
    hashes = np.concatenate([listing.table["hash"][row[unit == i]] for i, listing in enumerate(listings)])
    count = taken_before(hashes)
    if not count.any():
        return count
    known, new = np.unique(hashes), set[int]()
    for i in np.flatnonzero(count).tolist():
        key, number = job.units[unit[i]].key(listings[unit[i]], int(row[i])), int(count[i])
        while (made := hashed(again(key, number))) in new or _is_in(known, made):
            number += 1
        new.add(made)
        count[i] = number
    return count


def _is_in(known: np.ndarray, value: int) -> bool:
    at = int(np.searchsorted(known, np.uint64(value)))
    return at < len(known) and int(known[at]) == value


def _ratio(job: Job, listings: list[Listing], unit: np.ndarray, row: np.ndarray) -> float:
    """How much smaller images become, by those that are tried: always the same ones."""
    runs = max(1, min(_TRIED // _RUN, len(unit) // _RUN))
    firsts = np.linspace(0, max(0, len(unit) - _RUN), runs).astype(np.int64)
    tried = np.unique(np.concatenate([np.arange(first, min(first + _RUN, len(unit))) for first in firsts]))
    before = after = 0
    for number in np.unique(unit[tried]).tolist():
        rows = row[tried][unit[tried] == number].astype(np.int64)
        for _, sample in job.units[number].read(listings[number], rows, job.settings):
            if isinstance(sample, Sample):
                try:
                    made = len(finished(sample.image, job.settings).data)
                except Exception:  # refused when its shard is written
                    continue
                before, after = before + len(sample.image), after + made
    return after / before if before else 1.0


def _order(job: Job, listings: list[Listing], keep: np.ndarray, lengths: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    if not job.settings.shuffle:
        return np.arange(len(sizes), dtype=np.int64)
    if not any(unit.by_block for unit in job.units):
        return shuffled(len(sizes), job.settings.seed)
    blocks = np.concatenate([unit.blocks(listing) for unit, listing in zip(job.units, listings, strict=True)])
    ends = np.cumsum(blocks)
    kept = np.concatenate([[0], np.cumsum(keep)])
    blocks = kept[ends] - kept[ends - blocks]
    mean = max(1, int(sizes.sum()) // len(sizes))
    shard = min(job.settings.shard_bytes, job.settings.shard_samples * mean or job.settings.shard_bytes)
    return shuffled_in_blocks(blocks[blocks > 0], sizes, WINDOW_SHARDS * shard, job.settings.seed)


def refused_in(job: Job) -> list[Refused]:
    """Samples that listing left out."""
    return [each for i in range(len(job.units)) for each in job.listing(i).refused]


def write_json(path: Path, about: Any) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w") as file:
        json.dump(about, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
