"""`profile=true`: a trace of some steps, and one page that says where a step's time goes."""

from __future__ import annotations

import resource
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

FOLDER, TRACE, PAGE = "profile", "trace.json", "summary.md"
SKIPPED, WARM_UP, STEPS = 10, 2, 10
"""Steps before: first allocations, compiling, a loader that is ahead; then the profiler's own; then those that are traced."""

PREFIX = "step: "
PARTS = ("data", "forward", "backward", "clipping", "optimizer", "teachers and hooks", "log")
"""In the order of a step. "data": the wait for a batch, and its way to the device; "log": numbers and signs of health."""

OPERATORS = 12


def part(name: str) -> AbstractContextManager[Any]:
    """One of PARTS, as a trace shows it; without a profiler it costs about a microsecond."""
    return record_function(PREFIX + name)


class Profile:
    """Watches the steps of a run: `step` after each. After SKIPPED + WARM_UP + STEPS of them out/profile has TRACE, for
    chrome://tracing or Perfetto, and PAGE; `said` is then a line for the user, once. A run that ends before leaves nothing."""

    def __init__(self, out: Path, device: torch.device) -> None:
        self.folder, self.said, self._device = out / FOLDER, "", device
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
        self._profile = profile(activities=activities, on_trace_ready=self._write,
                                schedule=schedule(wait=SKIPPED, warmup=WARM_UP, active=STEPS, repeat=1))
        self._profile.start()

    def step(self) -> None:
        self._profile.step()

    def close(self) -> None:
        self._profile.stop()

    def _write(self, found: profile) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        found.export_chrome_trace(str(self.folder / TRACE))
        page = summary([(event.key, event.count, event.cpu_time_total, event.self_cpu_time_total,
                         getattr(event, "device_time_total", 0.0), getattr(event, "self_device_time_total", 0.0))
                        for event in found.key_averages()], on_device=self._device.type == "cuda")
        (self.folder / PAGE).write_text(f"{page}\n{_memory(self._device)}\n")
        self.said = f"profile    {self.folder / PAGE}: where {STEPS} steps went; {self.folder / TRACE} for chrome://tracing"


Event = tuple[str, int, float, float, float, float]
"""name, how often, and in all microseconds of the CPU, of those its own, of the device, of those its own."""


def summary(events: list[Event], *, on_device: bool, steps: int = STEPS) -> str:
    """The page, in Markdown: parts of a step, and the operators that take most by themselves. on_device: times of operators are
    the device's; parts are always the CPU's, which launches and waits."""
    whole = sum(event[2] for event in events if event[0].startswith("ProfilerStep"))
    by = {event[0].removeprefix(PREFIX): event for event in events if event[0].startswith(PREFIX)}
    lines = ["# Where a step's time goes", "", f"Means over {steps} steps of {whole / steps / 1000:,.1f} ms, which tracing makes "
             "longer: shares say more than times.", "", "| part | ms | share |", "|---|---|---|"]
    rest = whole
    for name in PARTS:
        if name in by:
            lines.append(_row(name, by[name][2], whole, steps))
            rest -= by[name][2]
    what = "device" if on_device else "CPU"
    lines += [_row("the rest of the loop", max(rest, 0.0), whole, steps), "",
              f"| operator, {what} time of its own | ms | share | calls a step |", "|---|---|---|---|"]
    operators = [(event[5] if on_device else event[3], event[0], event[1]) for event in events
                 if not event[0].startswith((PREFIX, "ProfilerStep"))]
    for own, name, calls in sorted(operators, key=lambda each: -each[0])[:OPERATORS]:
        lines.append(f"{_row(f'`{name}`', own, whole, steps)} {calls / steps:,.1f} |")
    return "\n".join(lines) + "\n"


def _row(name: str, microseconds: float, whole: float, steps: int) -> str:
    return f"| {name} | {microseconds / steps / 1000:,.2f} | {microseconds / max(whole, 1e-9):.1%} |"


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        most, name = torch.cuda.max_memory_allocated(device), "the device's memory"
    else:
        most, name = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "this process's memory"
    return f"Most of {name} so far: {most / 2**30:.2f} GiB."
