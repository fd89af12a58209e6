"""One shard: a pure function of the plan and its number, run in any process of any machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..catalogue import seal_shard
from ..faults import BadSample
from ..index_file import INDEX_SUFFIX
from .members import END, RECORD, packed
from .plan import Job, job_in
from .reencode import EXTENSION, finished
from .sample import Refused, Sample, again
from .sources.opened import is_url
from .target import upload

PARTIAL = ".partial"


class Packed(NamedTuple):
    """A sample's members, and how many bytes its image had before and has now."""

    data: bytes
    before: int
    after: int
    encoded: bool


def write_shard(folder: str, number: int) -> dict[str, Any]:
    """Write, seal and, for a target behind a URL, upload one shard. Gives its numbers, its catalogue entry and its refusals.

    Until it is whole and on the disk the tar has a hidden name, so that whatever stops this leaves no shard that looks whole.
    """
    began, job = time.monotonic(), job_in(folder)
    target = job.folder / "out" if is_url(job.target) else Path(job.target)
    target.mkdir(parents=True, exist_ok=True)
    path = target / job.shard_name(number)
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    made: dict[str, Any] = {"samples": 0, "bytes_in": 0, "bytes_out": 0, "encoded": 0}
    refused: list[Refused] = []
    try:
        with partial.open("wb") as file:
            for each in samples(job, number):
                if isinstance(each, Refused):
                    refused.append(each)
                    continue
                file.write(each.data)
                made["samples"] += 1
                made["bytes_in"] += each.before
                made["bytes_out"] += each.after
                made["encoded"] += each.encoded
            file.write(END)
            file.write(bytes(-file.tell() % RECORD))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(target)
    entry = seal_shard(path)
    if is_url(job.target):
        for file_name in (path.name, path.name + INDEX_SUFFIX):
            upload(target / file_name, job.target, file_name)
            (target / file_name).unlink()
    return {**made, "shard": number, "entry": asdict(entry), "refused": refused, "seconds": time.monotonic() - began}


def samples(job: Job, number: int) -> Iterator[Packed | Refused]:
    """What goes into a shard, in order, one after another where the source can be read so; the rest is gathered before."""
    ends = job.array("ends")
    start, stop = int(ends[number - 1]) if number else 0, int(ends[number])
    unit, row, taken = (np.array(job.array(name)[start:stop]) for name in ("unit", "row", "again"))
    gathered: dict[int, Packed | Refused] = {}
    readers: dict[int, Iterator[tuple[int, Sample | Refused]]] = {}
    for which in np.unique(unit).tolist():
        here = np.flatnonzero(unit == which)
        reader = job.units[which].read(job.listing(which), row[here].astype(np.int64), job.settings)
        if job.units[which].in_order:
            readers[which] = reader
            continue
        for i, sample in reader:
            gathered[int(here[i])] = pack_one(job, sample, int(taken[here[i]]))
    for position in range(stop - start):
        if position in gathered:
            yield gathered.pop(position)
        else:
            yield pack_one(job, next(readers[int(unit[position])])[1], int(taken[position]))


def pack_one(job: Job, sample: Sample | Refused, taken: int) -> Packed | Refused:
    """taken: by which number its key is told from equal ones before it."""
    if isinstance(sample, Refused):
        return sample
    try:
        made = finished(sample.image, job.settings)
    except BadSample as error:
        return Refused(sample.where.rpartition(": ")[0] or sample.where, sample.key, str(error))
    extension = made.extension or sample.extension
    if made.extension and sample.extension in ("jpg", "jpeg", "jpe"):
        extension = sample.extension
    others = {name for name, _ in sample.others}
    if extension in others:  # a second picture of the sample has that name
        extension = next(name for name in ("jpg", "jpeg", "jpe", *EXTENSION.values()) if name not in others)
    data = packed(sample._replace(key=again(sample.key, taken), extension=extension, image=made.data))
    return Packed(data, len(sample.image), len(made.data), bool(made.extension))


def sync_folder(folder: Path) -> None:
    """A rename reaches the disk with its folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
