"""Runs whose hours or memory were published, beside what a plan says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .command import Read, planned
from .needs import Needs

What = Literal["hours", "GPU-hours", "s a step", "GB a GPU"]


@dataclass(frozen=True)
class Row:
    """One figure of a published run. words: the plan of it; sets: which GPUs' share of the roofline it sets; "": it checks."""

    run: str
    words: str
    what: What
    published: float
    source: str
    sets: str = ""


_V100 = "gpu=v100 precision=fp16 attention=plain"
_DINO, _MAE, _SWAV = "facebookresearch/dino, README", "facebookresearch/mae, PRETRAIN.md", "facebookresearch/swav, README"
_DINOV2 = "facebookresearch/dinov2, README"

ROWS: tuple[Row, ...] = (
    Row("DINO ViT-S/16, 100 epochs, 8 GPUs", f"dino gpus=8 {_V100}", "hours", 42.0, f"{_DINO}; V100 unverified", "v100"),
    Row("DINO ViT-S/16, 300 epochs, 16 GPUs", f"dino variant=vits16_300ep gpus=16 {_V100}", "hours", 62.4,
        f"{_DINO}; V100 unverified"),
    Row("the same with 2 + 10 views, 300 epochs", f"dino variant=vits16_300ep recipe=dino_800ep gpus=16 {_V100}", "hours", 72.6,
        "table 8 of the paper, as a third party quotes it; unverified"),
    Row("DINO ViT-S/16, 1,024 images on 16 GPUs", f"dino variant=vits16_300ep gpus=16 {_V100}", "s a step", 0.74,
        "a user, facebookresearch/dino issue 69; V100 unverified"),
    Row("the same", f"dino variant=vits16_300ep gpus=16 {_V100}", "GB a GPU", 13.9, "the same"),
    Row("MAE ViT-L/16, 800 epochs, 64 V100", f"mae variant=vitl16 gpus=64 {_V100}", "hours", 42.0, _MAE),
    Row("MAE ViT-B/16, 800 epochs, 8 A100", "mae gpus=8 gpu=a100-80", "hours", 18.0,
        "arXiv:2404.00509, on loaders and settings of its own"),
    Row("MILAN ViT-B/16, 400 epochs, 8 A100-40GB", "milan model.teacher=own model.target_dim=768 gpus=8 gpu=a100-40 epochs=400 "
        "accumulate=2 schedule.warmup_epochs=40", "hours", 39.0, "the authors; the teacher counted is as large as CLIP's"),
    Row("MoCo v3 ViT-B/16, 100 epochs, 128 GPUs", f"moco_v3 variant=vit_b epochs=100 gpus=128 {_V100}", "hours", 24.0,
        "arXiv:2104.02057, section 6; epochs and V100 unverified"),
    Row("SwAV ResNet-50, an epoch of 2 + 6 views, 64 V100",
        f"swav epochs=1 schedule.warmup_epochs=0 batch_size=4096 gpus=64 {_V100}", "hours", 220 / 3600, _SWAV),
    Row("DINOv2 ViT-L/16, 125,000 steps, 32 A100-80GB", "dinov2 gpus=32 gpu=a100-80 parallel=fsdp steps=125000",
        "hours", 24.0, f"{_DINOV2}: about 1 day", "a100-40 and a100-80"),
    Row("DINOv2 ViT-L/14, 625,000 steps, 96 A100-80GB", "dinov2 variant=vitl14 gpus=96 gpu=a100-80 parallel=fsdp images=14197122 "
        "epochs=140 steps=625000", "hours", 79.2, f"{_DINOV2}: 3.3 days"),
    Row("DINOv2 ViT-g/14, 625,000 steps", "dinov2 variant=vitg14 gpus=96 gpu=a100-80 parallel=fsdp images=142000000 steps=625000",
        "GPU-hours", 22_000.0, "facebookresearch/dinov2, MODEL_CARD.md; steps and batch unverified"),
    Row("I-JEPA ViT-H/14, 300 epochs, 16 A100", "ijepa gpus=16 gpu=a100-80", "hours", 72.0, "arXiv:2301.08243: under 72"),
    Row("DINOv3 ViT-L/16 on ImageNet-1k, 32 H100, as DINOv2's step", "dinov2 gpus=32 gpu=h100 parallel=fsdp steps=125000",
        "hours", 14.0, "facebookresearch/dinov3, README: about 14 hours", "h100 and h200"),
    Row("the same", "dinov2 gpus=32 gpu=h100 parallel=fsdp steps=125000", "s a step", 0.57, "the header of its configuration"),
)


def predicted(row: Row, found: Needs) -> float:
    """What the plan of a row says of its figure."""
    return {"hours": found.hours, "GPU-hours": found.gpu_hours, "s a step": found.step_seconds,
            "GB a GPU": found.memory_bytes / 1e9}[row.what]


def table(read: Read, rows: Sequence[Row] = ROWS) -> Iterator[str]:
    """Lines of Markdown, the first two of them its head."""
    yield "| run | figure | predicted | published | ratio | what for, and where from |"
    yield "|---|---|---|---|---|---|"
    plans: dict[str, Needs] = {}
    for row in rows:
        if row.words not in plans:
            plans[row.words] = planned(row.words.split(), read)[1]
        said = predicted(row, plans[row.words])
        role = f"sets the share of {row.sets}" if row.sets else "checks"
        yield (f"| {row.run} | {row.what} | {_number(said)} | {_number(row.published)} | {said / row.published:.2f} | "
               f"{role}; {row.source} |")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"
