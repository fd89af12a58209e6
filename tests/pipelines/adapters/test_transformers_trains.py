"""Hugging Face's Trainer on our loader: it trains, counts epochs, and goes on from its own checkpoints within one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import viewmill as vm
from torch import nn

from ..streams import local
from .test_forms import ONE

pytest.importorskip("accelerate", reason="accelerate is not installed: pip install 'viewmill[peers]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install 'viewmill[peers]'")


class Classifier(nn.Module):
    """seen: the labels of each batch and the sum of its pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.seen = nn.Linear(3, 10), list[tuple[list[int], float]]()

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen.append((labels.tolist(), round(float(pixel_values.sum()), 3)))
        logits = self.head(pixel_values.mean((2, 3)))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def trainer(root: Path, **more: Any) -> Any:
    torch.manual_seed(0)
    given = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "report_to": [], "use_cpu": True, "disable_tqdm": True,
             "save_strategy": "no", "learning_rate": 0.1, "logging_strategy": "no", **more}
    made = transformers.Trainer(model=Classifier(), args=transformers.TrainingArguments(output_dir=str(root), **given))
    return vm.adapt(local(20, 4, recipe=ONE), to="transformers").into(made)


def test_it_trains_as_many_epochs_as_it_was_told(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    before = run.model.head.weight.detach().clone()
    outcome = run.train()
    assert outcome.global_step == 10 and outcome.metrics["epoch"] == 2.0 and not torch.equal(before, run.model.head.weight)
    first, second = run.model.seen[:5], run.model.seen[5:]
    assert len(second) == 5 and {pixels for _, pixels in first} & {pixels for _, pixels in second} == set()


@pytest.mark.parametrize("parts", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_it_goes_on_within_an_epoch_from_its_own_checkpoint(parts: int, tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", gradient_accumulation_steps=parts)
    whole.train()
    updates = 4
    cut = trainer(tmp_path / "cut", gradient_accumulation_steps=parts, save_strategy="steps", save_steps=updates)
    cut.train()
    there = tmp_path / "cut" / f"checkpoint-{updates}"
    later = trainer(tmp_path / "cut", gradient_accumulation_steps=parts)
    later.train(resume_from_checkpoint=str(there))
    done = {1: 4, 2: 7}[parts]  # in parts of two, an epoch of five batches is three updates, the last of one batch
    assert cut.model.seen == whole.model.seen and later.model.seen == whole.model.seen[done:]
    assert later.state.global_step == whole.state.global_step
    assert torch.equal(later.model.head.weight, whole.model.head.weight)
