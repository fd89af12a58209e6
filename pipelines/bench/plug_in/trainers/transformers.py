"""Hugging Face's Trainer: a table of images with torchvision's transform, and the DataLoader that the Trainer makes of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, Image
from torch import Tensor
from transformers import Trainer, TrainingArguments

from ...files import Files
from ...peers import Stream
from ...peers.loading import streamed
from ...peers.torchvision import transform
from . import adapted
from .timm import SAME


def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    return {"pixel_values": torch.stack([row["pixel_values"] for row in rows]),
            "labels": torch.tensor([row["label"] for row in rows])}


class Transform:
    """Columns in, columns out."""

    def __init__(self) -> None:
        self.transform = transform(SAME.instances[0].ops)

    def __call__(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"pixel_values": [self.transform(image.convert("RGB")) for image in rows["image"]], "label": rows["label"]}


def before(trainer: str, place: Path, batch_size: int, workers: int) -> Stream:
    paths = sorted(map(str, place.rglob("*.jpg")))
    table = Dataset.from_dict({"image": paths, "label": [0] * len(paths)}).cast_column("image", Image())
    arguments = TrainingArguments(output_dir=tempfile.gettempdir(), per_device_train_batch_size=batch_size,
                                  dataloader_num_workers=workers, dataloader_drop_last=True, remove_unused_columns=False,
                                  use_cpu=True, report_to=[])
    made = Trainer(model=torch.nn.Linear(1, 1), args=arguments, train_dataset=table.with_transform(Transform()),
                   data_collator=collate)
    return streamed(made.get_train_dataloader(), workers, views_of=lambda batch: batch)


def after(trainer: str, files: Files, batch_size: int, threads: int) -> Stream:
    return adapted(files, SAME, batch_size, threads, "transformers", labelled=True)


def views(batch: Any) -> list[Tensor]:
    return [batch["pixel_values"]]
