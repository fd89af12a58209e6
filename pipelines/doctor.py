"""Whether everything works on this machine, how fast it is, and what to do about what is missing.

    viewmill doctor
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch

from . import checks, inventory, rates
from .checks import Check, Way
from .rates import Rate

PUBLISHED_VIT_S = 871
"""Images/s: the best published rate found of training a ViT-S on two views of each image, on one H200."""

TARGETS = {"decode": 2700, "simclr": 2700, "dino": 800}
"""Images/s on one H100 or H200, no model running: decoded, as two views (5,400 views/s), as 2 + 8 crops."""

SHARE = 1 / 4
"""Of a ViT-S step: what making its views may take."""

NAMES = {"decode": "decoded", "simclr": "SimCLR, 2 x 224 px", "dino": "DINO, 2 x 224 + 8 x 96 px",
         "vit-s": "ViT-S training, 2 x 224 px"}


@dataclass
class Report:
    """What was found. versions, machine, devices: see `inventory`; targets: see TARGETS, on what they are meant for."""

    versions: dict[str, str]
    machine: dict[str, Any]
    devices: dict[str, Any]
    checks: list[Check] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.verdict == "failed"]

    @property
    def advice(self) -> str:
        return " ".join(_advice(self))

    def rate(self, what: str, way: Way | str) -> float:
        """Images/s; 0 where it was not measured."""
        return next((each.images_per_second for each in self.rates if (each.what, each.way) == (what, str(way))), 0.0)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        measured = [{**asdict(each), "views_per_second": each.images_per_second * each.views} for each in self.rates]
        targets = {"on": "one H100 or H200, no model running", "images_per_second": TARGETS, "share_of_a_vit_s_step": SHARE,
                   "published_vit_s_images_per_second": PUBLISHED_VIT_S, "for_comparison_only": not _meant(self)}
        return {"ok": not self.failed, "versions": self.versions, "machine": self.machine, "devices": self.devices,
                "checks": [asdict(check) for check in self.checks], "rates": measured, "targets": targets, "advice": self.advice}


def examine(seconds: float = 2.0, batches: int = 200, say: Callable[[str], None] = print) -> Report:
    """Look, check, measure; say each line as soon as it is known. seconds: each measurement's; batches: over how many the
    memory is watched."""
    report = Report(inventory.versions(), inventory.machine(), inventory.devices())
    for line in _found(report):
        say(line)
    say("checks")
    if not report.machine["kernels_compiled"]:
        say("  compiling the cpu engine's kernels for this processor first: once, about 80 seconds")
    for run in _checks(batches):
        report.checks.append(run())
        say(f"  {report.checks[-1]}")
    say(f"speed, images a second of 0.2 megapixels, if nothing else runs{'' if _meant(report) else '; targets for comparison'}")
    for measure in _measurements(seconds):
        try:
            report.rates.append(measure())
        except Exception as error:  # the other engines may still work
            report.checks.append(Check("speed", "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"))
            say(f"  {report.checks[-1]}")
            continue
        say(_as_line(report.rates[-1]))
    for line in _targets(report):
        say(line)
    say("advice")
    for sentence in _advice(report):
        say(f"  {sentence}")
    return report


def _checks(batches: int) -> Iterator[Callable[[], Check]]:
    yield checks.shared
    yield checks.decoding
    for way in checks.WAYS:
        yield partial(checks.crops, way)
        if way != checks.SPECIFICATION:
            yield partial(checks.parity, way)
        if way != Way("torch", "cuda"):  # whose loader works on the CPU
            yield partial(checks.files, way)
    yield checks.bits
    for way in checks.FEEDS:
        yield partial(checks.kept, way)
        yield partial(checks.memory, way, batches)
        if way.device != "cpu":
            yield partial(checks.overlap, way)


def _measurements(seconds: float) -> Iterator[Callable[[], Rate]]:
    yield partial(rates.decoding, seconds)
    for way in (checks.SPECIFICATION, *checks.FEEDS):
        if not way.missing:
            for what in ("decode", "simclr", "dino"):
                if what != "decode" or way.engine == "dali":  # the others decode alike
                    yield partial(rates.views, way, what, seconds)
    if torch.cuda.is_available():
        yield partial(rates.vit_s, seconds)


def _meant(report: Report) -> bool:
    """Whether the targets are about a machine like this one."""
    return any("H100" in gpu["name"] or "H200" in gpu["name"] for gpu in report.devices["gpus"])


def _found(report: Report) -> Iterator[str]:
    machine, devices, gib = report.machine, report.devices, 2**30
    yield "versions"
    for name, version in report.versions.items():
        yield f"  {name:12s} {version}"
    yield "machine"
    yield f"  {'system':12s} {machine['system']}"
    yield f"  {'processor':12s} {machine['cpu']}, {machine['cores']} cores for this process"
    left = f"{machine['available_bytes'] / gib:.1f} GiB left within limits"
    yield f"  {'memory':12s} {machine['memory_bytes'] / gib:.1f} GiB, {left}"
    yield f"  {'kernels':12s} {machine['kernels_folder']}, {'' if machine['kernels_compiled'] else 'not yet '}compiled"
    yield "devices"
    yield f"  {'CUDA':12s} driver {devices['cuda_driver']}, torch's runtime {devices['cuda_runtime']}"
    for number, gpu in enumerate(devices["gpus"]):
        yield (f"  {f'GPU {number}':12s} {gpu['name']}, {gpu['memory_bytes'] / gib:.0f} GiB, "
               f"compute capability {gpu['capability']}")
    if devices["gpus"]:
        yield f"  {'hardware':12s} JPEG decoder of GPU 0: {devices['jpeg_decoder']}"
    for line in devices["missing"]:
        yield f"  {'missing':12s} {line}"


def _as_line(rate: Rate) -> str:
    target = TARGETS.get(rate.what, 0)
    ours, aim = (f"{_number(each)} ({_number(each * rate.views)} views)" if rate.views > 1 else _number(each)
                 for each in (rate.images_per_second, target))
    return f"  {NAMES[rate.what]:27s} {rate.way:31s} {ours:21s} {f'target {aim}' if target else ''}".rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _targets(report: Report) -> Iterator[str]:
    yield (f"  targets: one H100 or H200, no model running; views at most {SHARE:g} of a ViT-S step; the best published two-view "
           f"ViT-S training rate found is {PUBLISHED_VIT_S} images/s, on an H200")
    step, ours = report.rate("vit-s", "GPU"), report.rate("simclr", Way("dali", "cuda"))
    if step and ours:
        share = step / ours
        yield f"  views take {share:.2f} of a ViT-S step on this GPU{'' if share <= SHARE else f', more than {SHARE:g}'}"


def _advice(report: Report) -> Iterator[str]:
    """One to four sentences: what does not work, what to use, whether it feeds a ViT-S, what to install."""
    if report.failed:
        names = ", ".join(check.name for check in report.failed)
        yield f"Do not train before this is understood: {names}."
    ways = [way for way in checks.FEEDS if (way.device != "cpu") == bool(report.devices["gpus"])]
    best = max(ways, key=lambda way: report.rate("simclr", way))
    rate, cores = report.rate("simclr", best), report.machine["cores"]
    if not rate:
        return
    where = ", device='cuda'" if best.device != "cpu" else ""
    yield (f"Use engine={best.engine!r}{where} with threads={cores}: {rate:,.0f} images/s for SimCLR, "
           f"{report.rate('dino', best):,.0f} for DINO.")
    step = report.rate("vit-s", "GPU")
    if step and rate >= step:
        yield f"That feeds a ViT-S, which this GPU trains at up to {step:,.0f} images/s on two views."
    elif step:
        yield (f"That does not feed a ViT-S, which this GPU could train at {step:,.0f} images/s on two views: "
               f"about {math.ceil(cores * step / rate)} cores like these would, if there are more to be had.")
    else:
        needed = math.ceil(cores * PUBLISHED_VIT_S / rate)
        yield (f"There is no GPU here; {needed} cores like these feed one that trains a ViT-S at {PUBLISHED_VIT_S} images/s on "
               "two views, the best published rate.")
    if report.devices["gpus"] and not report.devices["dali"]:
        yield f"Install NVIDIA DALI, so that the GPU decodes and crops: {inventory.INSTALL_DALI}."
    elif report.versions["pillow"].split(".")[0].isdigit() and int(report.versions["pillow"].split(".")[0]) < 13:
        yield "Install Pillow 13, whose crops the contract is: pip install -U pillow."
