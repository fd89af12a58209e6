"""Where a benchmark ran: its figures mean little without it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..placement import cores

BUSY = 0.5
"""Load average per core above which a run is warned of other work."""
ALWAYS = ("viewmill", "numpy", "numba", "simplejpeg", "torch", "torchvision", "pillow")


def machine() -> dict[str, Any]:
    """cpu, cores (that this process may use), ram_gb, system, python, load (average over a minute), governor; what a system
    does not tell is left out."""
    found: dict[str, Any] = {"cpu": _cpu(), "cores": cores(), "system": f"{platform.system()} {platform.machine()}",
                             "python": platform.python_version()}
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found["ram_gb"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    with contextlib.suppress(OSError, AttributeError):
        found["load"] = round(os.getloadavg()[0], 2)
    with contextlib.suppress(OSError):
        found["governor"] = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    return found


def warnings(seen: dict[str, Any]) -> list[str]:
    """What may disturb a measurement, of what `machine` said at its start."""
    found = []
    if seen.get("load", 0.0) / seen["cores"] > BUSY:
        found.append(f"other work is running: the load average is {seen['load']} on {seen['cores']} cores; "
                     "trust ratios and processor time more than rates")
    if seen.get("governor", "performance") != "performance":
        found.append(f"the processor's clock may change: its governor is {seen['governor']!r}, not 'performance'")
    return found


def versions(distributions: Iterable[str] = ()) -> dict[str, str]:
    """Of those that matter here and of the named ones, where installed."""
    from ... import __version__

    found = {"viewmill": __version__}
    for name in dict.fromkeys((*ALWAYS[1:], *distributions)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    if "pillow" in found:
        found["pillow"] += _pillow_build()
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found["pillow-simd"] = importlib.metadata.version("pillow-simd")
    return found


def _pillow_build() -> str:
    """As in " (libjpeg-turbo 3.1.0, not SIMD)": the fork with vectors carries "post" in its version."""
    import PIL
    from PIL import features

    turbo = features.version_feature("libjpeg_turbo") if features.check_feature("libjpeg_turbo") else None
    simd = "SIMD" if ".post" in PIL.__version__ else "not SIMD"
    return f" (libjpeg-turbo {turbo}, {simd})" if turbo else f" ({simd})"


def _cpu() -> str:
    with contextlib.suppress(OSError, StopIteration), open("/proc/cpuinfo") as info:
        return next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    return platform.processor() or platform.machine()
