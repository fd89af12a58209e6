"""Shards out of whatever images lie in: folders, tars, URLs, Parquet, tables of paths.

    viewmill pack photos/ shards/ shortest=256 quality=90

First everything is listed, and it is decided which sample goes into which shard (`plan`); then shards are written, each by
itself, by as many processes as there are (`shard`, `workers`). What was decided, and which shards are done, lies in DST/.pack, so
that the same command again goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..catalogue import CATALOGUE, ShardEntry, entry_of, write_catalogue
from ..faults import DataError
from ..index_file import INDEX_SUFFIX
from ..progress import Progress
from ..quarantine import Quarantined, now
from ..workers import Here, Processes, Ray
from . import begun, plan
from .plan import PLAN, Job, write_json
from .report import Summary, by_reason
from .sample import Refused
from .settings import Settings, manual, settings_of
from .shard import write_shard
from .sources.opened import is_url
from .sources.opening import open_units
from .target import there, upload

__all__ = ["Settings", "Summary", "manual", "pack", "settings_of"]


def pack(sources: Sequence[str], target: str, settings: Settings | None = None, *, ray: bool = False, allow_pipe: bool = False,
         progress: Progress | None = None) -> Summary:
    """Pack sources into shards in target, a folder or a URL, with their indexes and catalogue; go on where one was stopped.

    Raises DataError and ValueError, in one line, for what cannot be a source or a target, and where target has been begun with
    other options; WorkerDied where a process was killed. Whatever it raises, the same call goes on.
    """
    began, settings, progress = time.monotonic(), settings or Settings(), progress or Progress()
    target = str(target) if is_url(str(target)) else str(Path(target).absolute())
    folder = begun.plan_folder(target)
    opened = open_units([str(source) for source in sources], settings, folder / "staged", allow_pipe)
    begun.check_target(target, opened.units, settings)
    before = begun.plan_there(folder)
    if before is None and not settings.overwrite:
        begun.check_foreign(target, settings.name)
    with begun.locked(folder, target):
        if before is not None and not settings.overwrite:
            change = begun.same(before, settings, opened.units) or _moved(before, opened.units)
            if change:
                raise DataError(f"{target}: a pack was begun there with {change}: repeat that command, choose another folder, or "
                                "give overwrite=true to remove its shards")
            if "summary" in before:
                return Summary(**{**before["summary"], "seconds": time.monotonic() - began, "packed_now": 0})
        begun.remove_temporary(folder, *([folder / "out"] if is_url(target) else [Path(target)]))
        if before is None or settings.overwrite or "shards" not in before:
            if settings.overwrite:
                begun.clear(target, folder, {settings.name} | ({before["settings"]["name"]} if before else set()))
            begun.tidy(folder, everything=True)
            job, about = plan.begin(folder, target, settings, opened.units, opened.classes), None
        else:
            job, about = plan.job_in(str(folder)), before
        workers = (Ray(settings.address, settings.workers) if ray else
                   Here() if settings.workers == 1 else Processes(settings.workers))
        try:
            with progress:
                if about is None:
                    about = _planned(job, workers, progress)
                results, now_packed = _written(job, about["shards"], workers, progress)
        finally:
            workers.close()
            begun.remove_temporary(folder, *([folder / "out"] if is_url(target) else [Path(target)]))
        return _finish(job, about, results, time.monotonic() - began, now_packed)


def left(target: str) -> str:
    """How far a pack that was stopped has come."""
    folder = begun.plan_folder(target if is_url(target) else str(Path(target).absolute()))
    about = begun.plan_there(folder)
    if about is None or "shards" not in about:
        return "before the first shard"
    done = sum(1 for _ in (folder / plan.RESULTS).glob("*.json")) if (folder / plan.RESULTS).is_dir() else 0
    return f"after {done} of {about['shards']} shards"


def _planned(job: Job, workers: Any, progress: Progress) -> dict[str, Any]:
    def run(function: Any, tasks: Sequence[tuple[Any, ...]], title: str) -> Iterator[tuple[int, Any]]:
        progress.begin(title, len(tasks))
        for done, each in enumerate(workers.run(function, tasks), 1):
            progress.advance(done)
            yield each

    facts = plan.make(job, run)
    about = {**json.loads((job.folder / PLAN).read_text()), **facts}
    write_json(job.folder / PLAN, about)  # what it now says, it did not say before: the arrays are whole
    return about


def _moved(before: dict[str, Any], units: Sequence[Any]) -> str:
    """Which unit has changed since it was listed, "" for none."""
    for unit, state in zip(units, before.get("states", []), strict=False):
        if state and unit.state() != state:
            return f"another content of {unit.name()}"
    return ""


def _written(job: Job, shards: int, workers: Any, progress: Progress) -> tuple[list[dict[str, Any]], int]:
    """Results of all shards, in order, and how many samples were packed now."""
    (job.folder / plan.RESULTS).mkdir(exist_ok=True)
    results: list[dict[str, Any] | None] = [_done(job, number) for number in range(shards)]
    ends = job.array("ends").tolist()
    open_shards = [number for number, result in enumerate(results) if result is None]
    total, done, packed_now, began = ends[-1], 0, 0, time.monotonic()
    done = total - sum(ends[n] - (ends[n - 1] if n else 0) for n in open_shards)
    progress.begin("packing", total, done)
    for which, result in workers.run(write_shard, [(str(job.folder), number) for number in open_shards]):
        number = open_shards[which]
        write_json(job.result_file(number), result)
        results[number] = result
        packed_now += result["samples"]
        done += ends[number] - (ends[number - 1] if number else 0)
        progress.advance(done, f"{packed_now / max(1e-9, time.monotonic() - began):,.0f} images/s")
    return [each for each in results if each is not None], packed_now


def _done(job: Job, number: int) -> dict[str, Any] | None:
    """The result of a shard that is there already, with its index."""
    try:
        result = json.loads(job.result_file(number).read_text())
        entry = ShardEntry(**result["entry"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    name = job.shard_name(number)
    if is_url(job.target):
        found = there(job.target, name) == entry.tar_bytes and there(job.target, name + INDEX_SUFFIX) == entry.index_bytes
    else:
        found = entry_of(Path(job.target) / name) == entry
    return result if found else None


def _finish(job: Job, about: dict[str, Any], results: list[dict[str, Any]], seconds: float, packed_now: int) -> Summary:
    refused = plan.refused_in(job) + [Refused(*each) for result in results for each in result["refused"]]
    out = job.folder / "out" if is_url(job.target) else Path(job.target)
    out.mkdir(parents=True, exist_ok=True)
    entries = [ShardEntry(**result["entry"]) for result in results]
    files = []
    if refused:
        files.append(begun.REFUSED)
        time_now = now()
        lines = [json.dumps(asdict(Quarantined(time_now, each.shard, each.key, f"{each.shard}: {each.key}", 0, 0, each.reason)))
                 for each in refused]
        (out / begun.REFUSED).write_text("".join(line + "\n" for line in lines))
    if job.classes:
        files.append(begun.CLASSES)
        (out / begun.CLASSES).write_text(json.dumps(job.classes, ensure_ascii=False, indent=1) + "\n")
    write_catalogue(out, entries)
    if is_url(job.target):
        for name in (*files, CATALOGUE):
            upload(out / name, job.target, name)
    sums = {name: sum(result[name] for result in results) for name in ("samples", "bytes_in", "bytes_out", "encoded")}
    summary = Summary(job.target, len(results), about["listed"] + about["refused"], tar_bytes=sum(e.tar_bytes for e in entries),
                      duplicates=about["duplicates"], skipped=about["skipped"], renamed=about["renamed"],
                      classes=len(job.classes), notes=about["notes"], refused=by_reason(refused), problems=about["problems"],
                      seconds=seconds, packed_now=packed_now, **sums)
    write_json(job.folder / PLAN, {**about, "summary": asdict(summary)})
    begun.tidy(job.folder)
    return summary
