"""`viewmill bench skipping`: what a vision transformer's pass over some of its patches costs beside one over all of them."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..models.backbone import VisionTransformer, vision_transformer
from ..models.training import process
from ..models.training.config import describe, key
from ..models.training.manual import rows
from ..models.training.overrides import filled, split
from ..models.vit import tokens


@dataclass(frozen=True)
class SkippingConfig:
    backbone: str = key("a plain vision transformer of timm's", "vit_base_patch16_224")
    image_px: int = key("side of the images", 224)
    images: int = key("of a pass", 4)
    visible: tuple[int, ...] = key("how many patches are seen: MAE and MILAN see 49 of 196, CAE 98", (49, 98))
    rounds: int = key("so often each number of patches has its turn, one after the other", 5)
    out: str | None = key("a file of all times, JSON", None)
    torch_threads: int | None = key("threads of torch on the CPU; null: all cores", None)
    device: Literal["auto", "cpu", "cuda"] = key("auto: cuda where there is one", "auto")

    def __post_init__(self) -> None:
        for name in ("image_px", "images", "rounds", "torch_threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} needs a whole number of at least 1, got {value}")


def main(words: Sequence[str]) -> int:
    """Measure and print. Raises ValueError, one line."""
    if {"--help", "-h"} & set(words):
        print("\n".join([HEAD, *rows(describe(SkippingConfig))]))
        return 0
    config = filled(SkippingConfig(), [split(word) for word in words])
    world = process.start(config.device)
    try:
        torch.set_num_threads(config.torch_threads or process.cores())
        found = measured(config, world.device)
    finally:
        process.leave(world)
    if config.out is not None:
        Path(config.out).write_text(json.dumps(found, indent=1) + "\n")
    print(in_words(found), flush=True)
    return 0


def measured(config: SkippingConfig, device: torch.device) -> dict[str, Any]:
    """{"passes": of each number of patches, all of them last, "visible", "multiply_adds" of one image's forward pass, and "ms",
    of each round, of a forward and a backward pass over all images}. Rounds alternate, so that what slows a machine slows all;
    one goes before that is not counted. Raises ValueError where there are no such patches."""
    torch.manual_seed(0)
    encoder = vision_transformer(config.backbone, config.image_px).to(device)
    assert encoder.patch_embed.num_patches is not None
    whole = int(encoder.patch_embed.num_patches)
    counts = [*(count for count in dict.fromkeys(config.visible) if count != whole), whole]
    for count in counts:
        if not 1 <= count <= whole:
            raise ValueError(f"visible: {config.backbone} has {whole} patches at {config.image_px} px, got {count}; use 1 to "
                             f"{whole}")
    images = torch.randn(config.images, 3, config.image_px, config.image_px, device=device)
    seen = [torch.arange(count, device=device).expand(config.images, -1) for count in counts]
    times: list[list[float]] = [[] for _ in counts]
    for number in range(config.rounds + 1):
        for kept, visible in zip(times, seen, strict=True):
            began = _now(device)
            tokens(encoder, images, visible).square().mean().backward()
            if number:
                kept.append(round(1e3 * (_now(device) - began), 3))
            encoder.zero_grad(set_to_none=False)  # outside of the time: the same for all
    return {"backbone": config.backbone, "image_px": config.image_px, "images": config.images, "device": str(device),
            "torch_threads": torch.get_num_threads() if device.type == "cpu" else None, "torch": torch.__version__,
            "passes": [{"visible": count, "multiply_adds": multiply_adds(encoder, images[:1], visible[:1]), "ms": kept}
                       for count, visible, kept in zip(counts, seen, times, strict=True)]}


def multiply_adds(encoder: VisionTransformer, image: Tensor, visible: Tensor) -> int:
    """Of matrix products and convolutions in one image's forward pass, with attention written out: torch counts none of its fused
    form on the CPU. The encoder is left as it was."""
    attentions: list[Any] = [part for part in encoder.modules() if hasattr(part, "fused_attn")]
    fused = [part.fused_attn for part in attentions]
    try:
        for part in attentions:
            part.fused_attn = False
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            tokens(encoder, image, visible)
    finally:
        for part, was in zip(attentions, fused, strict=True):
            part.fused_attn = was
    return int(counter.get_total_flops()) // 2


def in_words(found: dict[str, Any]) -> str:
    """A table in Markdown. How much less time: the median of the rounds' own ratios, and the least and largest of them."""
    whole = found["passes"][-1]
    where = found["device"] if found["torch_threads"] is None else f"{found['torch_threads']} threads of the CPU"
    lines = [f"{found['backbone']}, forward and backward, {found['images']} images of {found['image_px']} px, {where}, torch "
             f"{found['torch']}; medians of {len(whole['ms'])} rounds that alternate", "",
             "| patches seen | ms | multiply-adds of an image | times less | times faster |", "|---|---|---|---|---|"]
    for each in found["passes"]:
        ratios = [a / b for a, b in zip(whole["ms"], each["ms"], strict=True)]
        faster = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"| {each['visible']} of {whole['visible']} | {statistics.median(each['ms']):,.0f} | "
                     f"{each['multiply_adds'] / 1e9:.1f} G | {whole['multiply_adds'] / each['multiply_adds']:.2f} | "
                     f"{'' if each is whole else faster} |")
    return "\n".join(lines)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


HEAD = """Usage: viewmill bench skipping [KEY=VALUE]...

Measure what skipping masked patches saves: a vision transformer's forward and backward pass over some patches, beside all.

  viewmill bench skipping backbone=vit_base_patch16_224 visible=[49,98]
"""
