"""What made a run: configuration, recipe, versions, commit, processor; printed at its start and saved in config.json."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ... import __version__
from ...augment.draw import DRAW_VERSION
from ...augment.recipe import Recipe
from .config import RunConfig, shown
from .overrides import plain
from .process import World
from .schedule import Plan

PACKAGES = ("torch", "timm", "numpy", "numba", "simplejpeg", "pillow")


def facts(config: RunConfig, recipe: Recipe, images: int, steps: Plan, world: World, threads: tuple[int, int]) -> dict[str, Any]:
    """Everything that the run depends on, JSON-able. threads: of torch and of rendering, each rank."""
    return {
        "config": plain(config),
        "recipe": recipe.to_dict(),
        "images": images,
        "steps": {"per_epoch": steps.steps_per_epoch, "total": steps.total, "warmup": steps.warmup, "peak_lr": steps.peak},
        "ranks": world.size,
        "device": device_name(world.device),
        "threads": {"torch": threads[0], "rendering": threads[1]},
        "draw_version": DRAW_VERSION,
        "commit": commit(),
        "versions": {"viewmill": __version__, "python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def announce(config: RunConfig, recipe: Recipe, images: int, steps: Plan, world: World, threads: tuple[int, int],
             method: nn.Module) -> None:
    """Print the run, and save it as out/config.json; each start of the same run also adds a line to out/starts.jsonl."""
    known = facts(config, recipe, images, steps, world, threads)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    temporary = out / f".config.{os.getpid()}"
    temporary.write_text(json.dumps(known, indent=1) + "\n")
    os.replace(temporary, out / "config.json")
    with open(out / "starts.jsonl", "a") as file:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        file.write(json.dumps({"time": now, "host": platform.node(), **{k: v for k, v in known.items() if k != "recipe"}}) + "\n")
    weights = sum(p.numel() for p in method.parameters() if p.requires_grad)
    shapes = ", ".join(f"{s.count} x {s.height} px {name}" for name, s in recipe.groups.items())
    flat = {key: value for key, value in _flat(known["config"]).items() if key not in ("method", "recipe", "data", "out")}
    lines = [
        f"method     {config.method}, {weights / 1e6:.2f} million weights",
        f"data       {shown(config.data)}: {images:,} images",
        f"recipe     {recipe} ({shapes}), fingerprint {recipe.fingerprint}",
        f"steps      {steps.total:,} of {config.batch_size} images, {steps.steps_per_epoch:,} an epoch; "
        f"rate to {steps.peak:.4g} over {steps.warmup:,} steps, then {steps.law}",
        f"where      {known['device']}, {world.size} rank{'s' if world.size > 1 else ''}, "
        f"threads: torch {threads[0]}, rendering {threads[1]}",
        f"made by    {', '.join(f'{k} {v}' for k, v in known['versions'].items())}, commit {known['commit'] or 'unknown'}",
        f"config     {', '.join(f'{key}={shown(value)}' for key, value in flat.items())}",
    ]
    print("\n".join(lines), flush=True)


def commit() -> str | None:
    """The commit of the working copy this package runs from, with "+" where files differ from it; None outside one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        ask = ["git", "-C", str(root)]
        name = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        changed = subprocess.run([*ask, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10, check=True)
        return name + ("+" if changed.stdout.strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.processor() or platform.machine()})"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
