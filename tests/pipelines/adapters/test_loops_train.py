"""Loops that need nothing beside torch and timm: timm's supervised one and DINO's, on our loader."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import timm
import torch
import viewmill as vm
from timm.data import Mixup
from timm.data.loader import PrefetchLoader
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import AverageMeter
from torch import nn
from viewmill.augment.ops import Crop, Normalize
from viewmill.augment.presets.preset import IMAGENET

from ..streams import SMALL, local

VIEW = vm.Recipe((vm.View(group="global", size_px=16, ops=(Crop(size_px=16), IMAGENET)),), name="supervised")


def train_one_epoch(epoch: int, model: nn.Module, loader: Any, optimizer: Any, criterion: Any, mixup: Any,
                    schedule: Any) -> float:
    """What timm's train.py does with a loader in an epoch, and nothing else of it."""
    if hasattr(loader.sampler, "set_epoch"):
        loader.sampler.set_epoch(epoch)
    if epoch >= 1:  # mixup_off_epoch
        if loader.mixup_enabled:
            loader.mixup_enabled = False
        elif mixup is not None:
            mixup.mixup_enabled = False
    updates, losses = epoch * len(loader), AverageMeter()
    last = len(loader) - 1
    for number, (images, target) in enumerate(loader):
        images, target = mixup(images, target)
        loss = criterion(model(images), target)
        losses.update(loss.item(), images.size(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step_update(num_updates=updates + number, metric=losses.avg)
        assert number <= last
    assert number == last
    return losses.avg


@pytest.mark.parametrize("prefetcher", [False, True])
def test_timm_trains_a_classifier(prefetcher: bool) -> None:
    torch.manual_seed(0)
    loader: Any = vm.adapt(local(20, 4, recipe=VIEW, dtype="uint8" if prefetcher else "float32"), to="timm")
    batches = loader
    if prefetcher:
        loader = PrefetchLoader(loader, device=torch.device("cpu"))
    model = timm.create_model("resnet10t", num_classes=10)
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.05)
    mixup = Mixup(mixup_alpha=0.2, num_classes=10)
    schedule = CosineLRScheduler(optimizer, t_initial=10, t_in_epochs=False)
    before = model.conv1[0].weight.detach().clone()
    with batches:
        losses = [train_one_epoch(epoch, model, loader, optimizer, SoftTargetCrossEntropy(), mixup, schedule)
                  for epoch in range(2)]
    assert all(map(math.isfinite, losses)) and not torch.equal(before, model.conv1[0].weight)
    assert not mixup.mixup_enabled and optimizer.param_groups[0]["lr"] < 0.05


def test_bytes_through_timm_s_prefetcher_are_the_floats_that_the_loader_makes() -> None:
    with local(8, 4, recipe=VIEW) as floats, local(8, 4, recipe=VIEW, dtype="uint8") as levels:
        wanted = [(batch.views["global"][0], batch.label) for batch in floats]
        found = list(PrefetchLoader(vm.adapt(levels, to="timm"), device=torch.device("cpu")))
    half = 0.5 / 255 / 0.224 + 1e-5
    assert len(found) == len(wanted) == 2
    assert all((a - b).abs().max() <= half and torch.equal(x, y) for (a, x), (b, y) in zip(found, wanted, strict=True))


class MultiCrop(nn.Module):
    """Crops of one size are one pass of the backbone, as DINO's wrapper has it."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, 16)

    def forward(self, crops: list[torch.Tensor]) -> torch.Tensor:
        sides = [crop.shape[-1] for crop in crops]
        ends = [i + 1 for i in range(len(crops)) if i + 1 == len(crops) or sides[i + 1] != sides[i]]
        starts = [0, *ends[:-1]]
        return self.head(torch.cat([self.backbone(torch.cat(crops[a:b])) for a, b in zip(starts, ends, strict=True)]))


def test_a_script_like_dino_s_trains() -> None:
    torch.manual_seed(0)
    recipe = vm.Recipe(tuple(vm.View(group=v.group, count=v.count, size_px=v.size_px, ops=(*v.ops, Normalize(kind="none")))
                             for v in SMALL.views), name="crops")
    data_loader = vm.adapt(local(20, 4, recipe=recipe), to="crops")
    student = MultiCrop()
    teacher = copy.deepcopy(student).requires_grad_(False)
    optimizer = torch.optim.AdamW(student.parameters(), 1e-3)
    momenta = [1 - 0.004 * (math.cos(math.pi * i / (2 * len(data_loader))) + 1) / 2 for i in range(2 * len(data_loader))]
    steps, losses = 0, []
    with data_loader:
        for epoch in range(2):
            data_loader.sampler.set_epoch(epoch)
            for it, (images, _) in enumerate(data_loader):
                it = len(data_loader) * epoch + it
                images = [im.to("cpu", non_blocking=True) for im in images]
                taught = (teacher(images[:2]) / 0.04).softmax(-1).detach().chunk(2)
                learnt = (student(images) / 0.1).log_softmax(-1).chunk(5)
                loss = torch.stack([-(t * s).sum(-1).mean() for i, t in enumerate(taught) for j, s in enumerate(learnt)
                                    if i != j]).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                for mine, its in zip(student.parameters(), teacher.parameters(), strict=True):
                    its.mul_(momenta[it]).add_((1 - momenta[it]) * mine.detach())
                steps, losses = steps + 1, [*losses, loss.item()]
    assert steps == 10 and all(map(math.isfinite, losses))
    assert any(not torch.equal(a, b) for a, b in zip(student.parameters(), teacher.parameters(), strict=True))
