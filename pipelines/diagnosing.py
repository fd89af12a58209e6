"""`viewmill bench --diagnose`: measure a run's ceilings, try what may help, say which binds and what to change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from ..augment.recipe import Recipe, UnsupportedRecipe
from . import ceilings as measured
from .batch import Batch
from .ceilings import Open, Part, Picked, Read
from .diagnosis import Ceilings, Diagnosis, Setup, Trial, bound, diagnose, number, slowest_part, supply
from .memory import available_bytes
from .read_ahead import READERS
from .source import Source

READ_AHEAD = 1 << 26
"""Bytes that are read ahead, for trial."""

PACKED_PX = 512
"""The shorter side that images are packed with, for trial."""


@dataclass(frozen=True)
class Run:
    """What is diagnosed. step: what the trainer does with a batch on its device; open_loader: as the run opens its own."""

    title: str
    source: Source
    recipe: Recipe
    batch_size: int
    open_loader: Open
    step: Callable[[Batch], None]
    device: torch.device
    cores: int
    render_threads: int
    torch_threads: int


@dataclass
class Report:
    """All that was measured, and the verdict."""

    title: str
    setup: Setup
    images: int
    bytes_each: float
    pixels_each: float
    reads: dict[str, Read] = field(default_factory=dict)
    ceilings: Ceilings | None = None
    trials: list[Trial] = field(default_factory=list)
    diagnosis: Diagnosis | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"shared_cores": self.setup.shared, "fits_in_memory": self.setup.fits}


def examine(run: Run, seconds: float = 2.0, say: Callable[[str], None] = print) -> Report:
    """Measure, each ceiling for so many seconds; say each line as soon as it is known. Where data limit the run, what may help
    is tried, the best setting of the loader in real steps too."""
    picked = measured.pick(run.source, 2 * seconds)
    part = measured.part_of(run.source, picked)
    with run.open_loader(part.filling(run.batch_size), run.recipe) as loader:
        engine, prefetch, ahead = loader.engine, loader.prefetch, loader.read_ahead_bytes
    reads_ahead = ahead > 0 and engine != "dali"
    reads = max(READERS, run.render_threads) if reads_ahead else run.render_threads
    data_bytes = picked.bytes_each * len(run.source) if hasattr(run.source, "extent") else 0.0
    setup = Setup(run.cores, run.render_threads, run.torch_threads, run.device.type == "cpu", engine, prefetch, reads,
                  reads_ahead, data_bytes, available_bytes())
    report = Report(run.title, setup, len(run.source), picked.bytes_each, picked.pixels_each)
    say(run.title)
    say(f"{engine} engine, threads: {run.render_threads} rendering, {run.torch_threads} torch, on {run.cores} cores; "
        f"model on {run.device.type}")
    say(f"measured on {len(picked.index):,} of {len(run.source):,} images, on average {picked.bytes_each / 1000:,.0f} kB and "
        f"{picked.pixels_each / 1e6:.2f} megapixels, {seconds:g} s a line")
    if hasattr(os, "getloadavg") and (load := os.getloadavg()[0]) > run.cores / 2:
        say(f"this machine is busy with something else, its load is {load:.1f}: what follows is less than it can do")
    say(f"  {'ceiling':32s}{'images/s':>10s}")
    report.ceilings = _ceilings(run, report, picked, part, seconds, say)
    report.diagnosis = diagnose(report.ceilings, setup)
    if report.diagnosis.data_limits:
        say("  tried")
        settings = {}
        for trial, changes in _tried(run, report, picked, part, seconds):
            report.trials.append(trial)
            settings[trial.change] = changes
            what = "real steps" if trial.views is None else "views, end to end"
            say(_row(trial.change.split(" torch_threads")[0], trial.views or trial.together, what))
        report.diagnosis = diagnose(report.ceilings, setup, report.trials)
        best = next((each.change for each in report.diagnosis.recommendations if settings.get(each.change)), None)
        if best is not None:
            rate, wait = measured.together(part, run.recipe, run.open_loader, run.batch_size, run.step, run.device, seconds,
                                           **settings[best])
            say(_row(f"{best.split()[0]}, steps", rate, f"real steps, warm cache; {wait:.0%} of the time waiting for a batch"))
            report.trials = [replace(trial, together=rate) if trial.change == best else trial for trial in report.trials]
            report.diagnosis = diagnose(report.ceilings, setup, report.trials)
    _say_verdict(report.diagnosis, say)
    return report


def _ceilings(run: Run, report: Report, picked: Picked, part: Part, seconds: float, say: Callable[[str], None]) -> Ceilings:
    setup, threads = report.setup, run.render_threads

    def shown(name: str, rate: float | None, note: str = "") -> float | None:
        say(_row(name, rate, note))
        return rate

    at_once = f"{setup.reads} at once" if setup.reads > 1 else "one by one"
    cold = report.reads["cold"] = measured.read_cold(run.source, picked, setup.reads, seconds)
    is_cold = cold.state == "cold"
    shown("read, cold cache", cold.images_per_second if is_cold else None,
          f"{at_once}; {'' if is_cold else 'could not be shown to be cold: '}{cold.evidence}")
    warm = report.reads["warm"] = measured.read_warm(run.source, picked, setup.reads, seconds)
    shown(f"read, {'warm cache' if warm.state == 'warm' else 'read before'}", warm.images_per_second,
          f"{at_once}; {'' if warm.state == 'warm' else 'could not be shown to be warm: '}{warm.evidence}")
    decode = render = None
    if setup.engine == "dali":
        shown("decode, render", None, "the dali engine does both at once")
    else:
        decode = shown("decode", measured.decoding(picked, run.recipe, threads, seconds), "encoded images in memory, no views")
        render = shown("render", measured.rendering(picked, run.recipe, run.open_loader, seconds),
                       "decoded images in memory: planning, draws, pixels")
    views, ready = measured.views_and_batches(part, run.recipe, run.open_loader, run.batch_size, seconds)
    shown("views, end to end", views, "the run's loader in steady state, warm cache")
    copy = measured.copying(ready[0], run.device, min(seconds, 1.0))
    shown("copy", copy, "out of pinned memory to the device" if run.device.type == "cuda" else
          "once through memory, more than the hand-over costs here")
    step = measured.stepping(run.step, ready, run.device, seconds)
    shown("model step", step, "forward, backward, optimizer, on ready batches")
    ready.clear()
    first = Ceilings(warm.images_per_second, cold.images_per_second if is_cold else None, decode, render, views, copy, step)
    limit = bound(supply(first, setup), step, setup, copy=copy)
    shown("views and step, computed", limit, _formula(setup))
    both, wait = measured.together(part, run.recipe, run.open_loader, run.batch_size, run.step, run.device, seconds)
    shown("views and step, measured", both, f"real steps, warm cache; {wait:.0%} of the time waiting for a batch")
    return replace(first, together=both, data_wait=wait)


def _tried(run: Run, report: Report, picked: Picked, part: Part, seconds: float) -> Iterator[tuple[Trial, dict[str, Any]]]:
    """What may help, each really tried, with the changes that the loader was opened with."""
    setup, now = report.setup, report.ceilings
    assert now is not None
    recipe, size = run.recipe, run.batch_size
    if slowest_part(now, setup) == "read" and setup.fits and not setup.reads_ahead and setup.engine != "dali":
        rate = measured.views(part, recipe, run.open_loader, size, seconds, read_ahead_bytes=READ_AHEAD)
        yield Trial(f"loader.read_ahead_bytes={READ_AHEAD}", rate), {"read_ahead_bytes": READ_AHEAD}
    threads = run.cores
    if threads > run.render_threads:
        rate = measured.views(part, recipe, run.open_loader, size, seconds, threads=threads)
        # Threads that wait for storage need no cores of their own.
        keep = f" torch_threads={run.torch_threads}" if setup.on_cpu else ""  # which would else follow from the other
        yield Trial(f"loader.threads={threads}{keep}", rate, render_threads=min(threads, run.cores)), {"threads": threads}
    for engine in _other_engines(setup.engine):
        try:
            rate = measured.views(part, recipe, run.open_loader, size, seconds, engine=engine)
        except ValueError:  # it cannot do this recipe
            continue
        yield Trial(f"loader.engine={engine}", rate), {"engine": engine}
    if recipe.decode == "full" and setup.engine == "cpu":
        scaled = Recipe.from_dict({**recipe.to_dict(), "decode": "scaled"})
        try:
            worth_it = max(measured.scales(scaled, picked.data)) > 1
            of_scaled = measured.views(part, scaled, run.open_loader, size, seconds) if worth_it else 0.0
        except UnsupportedRecipe:  # views that cannot be made of scaled images
            of_scaled = 0.0
        if of_scaled:
            yield Trial("recipe.decode=scaled", of_scaled, pixels=True), {}
    if setup.engine != "dali" and (packed := measured.smaller(picked, PACKED_PX, 4 * seconds)) is not None:
        small = Part(run.source, packed.index, packed.data)
        rate = measured.views(small, recipe, run.open_loader, size, seconds)
        yield Trial(f"files packed with a shorter side of {PACKED_PX} px, JPEG quality 90", rate,
                    read_bytes=packed.bytes_each / picked.bytes_each, pixels=True), {}
    if not setup.shared and (now.data_wait or 0.0) > 0.1 and now.views > 1.2 * now.step:
        both, _ = measured.together(part, recipe, run.open_loader, size, run.step, run.device, seconds,
                                    prefetch=2 * setup.prefetch)
        yield Trial(f"loader.prefetch={2 * setup.prefetch}", together=both), {"prefetch": 2 * setup.prefetch}


def _other_engines(engine: str) -> Iterator[str]:
    from .engines import dali

    if engine != "cpu":
        yield "cpu"
    if engine != "dali" and torch.cuda.is_available() and not dali.missing():
        yield "dali"


def _formula(setup: Setup) -> str:
    if not setup.shared:
        return "the lowest of views, copy and step: they do not share cores"
    if setup.render_threads >= setup.cores and setup.torch_threads >= setup.cores:
        return f"1 / (1/views + 1/step): they share {setup.cores} cores"
    return (f"{setup.cores} / ({setup.render_threads}/views + {setup.torch_threads}/step), at most the lower: they share "
            f"{setup.cores} cores")


def _say_verdict(found: Diagnosis, say: Callable[[str], None]) -> None:
    say("verdict")
    for line in found.verdict:
        say(f"  {line}")
    if found.recommendations:
        say("recommended, each by itself")
    for each in found.recommendations:
        say(f"  {each.change}: {each.gain:.2f} times as fast ({each.how}: {each.because})")


def _row(name: str, rate: float | None, note: str = "") -> str:
    return f"  {name:32s}{'-' if rate is None else number(rate):>10s}  {note}".rstrip()
