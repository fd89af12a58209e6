"""Semantic segmentation: torchvision's FCN, fine-tuned from a backbone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation import FCN
from torchvision.models.segmentation.fcn import FCNHead

from ...models.training import checkpoint, process
from ..encoder import Encoder
from .backbones import Levels, Shown
from .class_overlap import counted, figures
from .config import SegmentationConfig
from .feed import Feed, drawn, pool_of
from .placement import Placement, cut, whole
from .scenes import VOID, Scene, Scenes
from .schedules import Segmentation
from .surroundings import Surroundings
from .training import sides_of, trained

Example = tuple[Tensor, Tensor]
"""A picture (3, h, w) uint8 and its pixels' classes (h, w) uint8."""

TRIES = 10
AT_ONCE = 64


def run(encoder: Encoder, train: Scenes, test: Scenes, names: Sequence[str], config: SegmentationConfig,
        place: Surroundings) -> dict[str, Any]:
    """"miou", "pixel_accuracy", "mean_accuracy" and "iou" of each class over all pixels of the test pictures at their own size;
    and what was trained. names: of the classes, the background first. The encoder stays as it is.

    Raises ValueError, one line, for what the user can mend; RunFailure where the loss diverges; Stopped where a signal came,
    after saving.
    """
    of = config.schedule()
    before = checkpoint.random_state()
    try:
        process.seed_all(place.seed)
        network = Segmenter(encoder, len(names), of)
        job = {"task": "segmentation", "pictures": train.fingerprint, "classes": len(names)}
        with pool_of(place.threads) as pool:
            feed = Feed(len(train), of.batch_size, place.seed, place.world,
                        lambda epoch, number: example(train.scenes[number], of, place.seed, epoch, number), pool)
            trained(network, network.levels.module, Losses(of, network, len(names)), feed, of, job, encoder=encoder, place=place,
                    what="segmentation", save_minutes=config.save_minutes)
        counts = confusion(network, test, len(names), of, place)
    finally:
        checkpoint.set_random_state(before)
    return {"metric": "miou", **figures(counts, names), "protocol": config.protocol, "schedule": asdict(of),
            "chosen_on": "nothing to choose", "steps": of.steps, "classes": len(names), "train_images": len(train),
            "test_images": len(test)}


class Segmenter(nn.Module):
    """Images (N, C, H, W), normalised, sides multiples of `multiple`, to scores (N, classes, H, W): "out", and "aux" where the
    backbone has a map before the last and of.aux is above 0."""

    def __init__(self, encoder: Encoder, classes: int, of: Segmentation) -> None:
        super().__init__()
        self.shown, levels = Shown(encoder), Levels(encoder, of.drop_path, of.output_stride)
        body, channels = _Maps(levels), levels.channels
        aux = FCNHead(channels[-2], classes) if of.aux and len(channels) > 1 else None
        self.fcn = FCN(body, FCNHead(channels[-1], classes), aux)
        self.multiple = levels.multiple

    @property
    def levels(self) -> Levels:
        levels: Levels = self.fcn.backbone.levels
        return levels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self.fcn(images)
        return found

    def batch(self, pictures: Sequence[Tensor]) -> Tensor:
        """Pictures (3, h, w), levels 0 to 255, of any sizes, to images (N, C, H, W): normalised, then filled up with zeros."""
        shown = [self.shown(picture) for picture in pictures]
        height, width = sides_of(shown, self.multiple)
        return torch.stack([F.pad(each, (0, width - each.shape[2], 0, height - each.shape[1])) for each in shown])


class _Maps(nn.Module):
    def __init__(self, levels: Levels) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        shown = self.levels(images)
        return OrderedDict(zip(("aux", "out")[-len(shown) :], shown, strict=True))


class Losses:
    """Cross entropy of each pixel that has a class. Raises ValueError for a class that the network does not have."""

    def __init__(self, of: Segmentation, network: Segmenter, classes: int) -> None:
        self.of, self.network, self.classes = of, network, classes

    def __call__(self, network: nn.Module, batch: Sequence[Example]) -> dict[str, Tensor]:
        device = next(network.parameters()).device
        images = self.network.batch([picture.to(device) for picture, _ in batch])
        height, width = images.shape[2:]
        truth = torch.stack([F.pad(each, (0, width - each.shape[1], 0, height - each.shape[0]), value=VOID) for _, each in batch])
        _refuse_strange(truth.numpy(), self.classes, "a training picture")
        truth = truth.to(device).long()
        told = network(images)
        pixels = (truth != VOID).sum().clamp(min=1)
        sums = {name: F.cross_entropy(scores.float(), truth, ignore_index=VOID, reduction="sum") for name, scores in told.items()}
        return {name: loss / pixels * (self.of.aux if name == "aux" else 1.0) for name, loss in sums.items()}


def example(scene: Scene, of: Segmentation, seed: int, epoch: int, picture: int) -> Example:
    """A training picture as it is shown, a pure function of what is given: cut anew, ten times at most, where of the pixels that
    have a class more than most_of_one belong to one."""
    mirror, scale, *at = drawn(seed, epoch, picture, "segmentation", 2 + 2 * TRIES)
    low, high = of.ratio
    for number in range(TRIES):
        shown = cut(scene.size_hw, of.short_px, of.longest_px, low + (high - low) * scale, of.crop_px,
                    (at[2 * number], at[2 * number + 1]), mirror < 0.5)
        classes = scene.classes(shown)
        counts = np.bincount(classes[classes != VOID])
        if (counts > 0).sum() > 1 and counts.max() < of.most_of_one * counts.sum():
            break
    return torch.from_numpy(shown.pixels(scene.pixels())).permute(2, 0, 1), torch.from_numpy(classes)


@torch.no_grad()
def confusion(network: Segmenter, scenes: Scenes, classes: int, of: Segmentation, place: Surroundings) -> np.ndarray:
    """(classes, classes) int64, see `counted`, of a network in evaluation mode, on every rank; each rank looks at its share."""
    world = place.world
    mine = list(range(world.rank, len(scenes), world.size))
    counts = np.zeros((classes, classes), np.int64)
    with pool_of(place.threads) as pool:
        def ready(number: int) -> tuple[Tensor, np.ndarray]:
            scene = scenes.scenes[number]
            shown = whole(scene.size_hw, of.short_px, of.longest_px)
            as_it_is = Placement((0, 0, scene.size_hw[1], scene.size_hw[0]), scene.size_hw)
            return torch.from_numpy(shown.pixels(scene.pixels())).permute(2, 0, 1), scene.classes(as_it_is)

        for first in range(0, len(mine), AT_ONCE):
            for picture, truth in pool.map(ready, mine[first : first + AT_ONCE]):
                _refuse_strange(truth, classes, "a test picture")
                with place.autocast():
                    scores = network(network.batch([picture.to(world.device)]))["out"].float()
                scores = scores[:, :, : picture.shape[1], : picture.shape[2]]
                told = F.interpolate(scores, truth.shape, mode="bilinear", align_corners=False).argmax(1)[0]
                counts += counted(truth, told.cpu().numpy(), classes)
    return np.sum(process.gather(world, counts), axis=0)


def _refuse_strange(truth: np.ndarray, classes: int, where: str) -> None:
    strange = truth[(truth >= classes) & (truth != VOID)]
    if len(strange):
        raise ValueError(f"{where} has pixels of class {int(strange[0])}, known are 0 to {classes - 1}, and {VOID} for none; say "
                         "how many there are, with the background: classes=")
