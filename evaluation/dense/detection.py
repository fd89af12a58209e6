"""Detection and instance segmentation: torchvision's Faster and Mask R-CNN, fine-tuned from a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import paste_masks_in_image

from ...models.training import checkpoint, process
from ..encoder import Encoder
from .coco_ap import coco_figures
from .config import DetectionConfig
from .detector import detector
from .feed import Feed, drawn, pool_of
from .masks import encoded
from .placement import Placement, jittered, whole
from .scenes import Scene, Scenes
from .schedules import Detection
from .surroundings import Surroundings
from .training import trained
from .voc_ap import Found, voc_figures

Example = tuple[Tensor, dict[str, Tensor]]
"""A picture (3, h, w) uint8 and torchvision's target: boxes (n, 4) float32, labels (n,) int64, masks (n, h, w) uint8."""


def run(encoder: Encoder, train: Scenes, test: Scenes, config: DetectionConfig, place: Surroundings) -> dict[str, Any]:
    """"box" and, with masks, "mask": average precision by COCO's rules, "box_by_class" and "mask_by_class"; of VOC's lists "voc"
    too, by its own; "metric": which of them papers report first; and what was trained. The encoder stays as it is.

    Raises ValueError, one line, for what the user can mend; RunFailure where the loss diverges; Stopped where a signal came,
    after saving.
    """
    of = config.schedule()
    before = checkpoint.random_state()
    try:
        process.seed_all(place.seed)
        learnt = train.learnt()
        network = detector(encoder, len(train.names), of.masks, of, config.pyramid_dim, config.head_dim)
        job = {"task": "detection", "pictures": learnt.fingerprint, "dims": [config.pyramid_dim, config.head_dim]}
        with pool_of(place.threads) as pool:
            def ready(epoch: int, number: int) -> Example:
                return example(learnt.scenes[number], placement(learnt.scenes[number].size_hw, of, place.seed, epoch, number),
                               of.masks)

            feed = Feed(len(learnt), of.batch_size, place.seed, place.world, ready, pool)
            trained(network, pretrained_part(network, of), losses, feed, of, job, encoder=encoder, place=place, what="detection",
                    save_minutes=config.save_minutes)
        found = detections(network, test, of, place)
    finally:
        checkpoint.set_random_state(before)
    result: dict[str, Any] = {"metric": "voc AP50" if config.of_voc else "mask AP" if of.masks else "box AP"}
    result["box"], result["box_by_class"] = coco_figures(test, found, "box")
    if of.masks:
        result["mask"], result["mask_by_class"] = coco_figures(test, found, "mask")
    if config.of_voc:
        result["voc"] = voc_figures(test, found)
    return result | {"protocol": config.protocol, "schedule": asdict(of), "chosen_on": "nothing to choose", "steps": of.steps,
                     "classes": len(train.names), "train_images": len(learnt), "test_images": len(test)}


def placement(size_hw: tuple[int, int], of: Detection, seed: int, epoch: int, picture: int) -> Placement:
    """How a training picture is shown, a pure function of what is given."""
    mirror, side, down, across = drawn(seed, epoch, picture, "detection", 4)
    if of.jitter:
        low, high = of.jitter
        return jittered(size_hw, of.test_side_px, low + (high - low) * side, (down, across), mirror < 0.5)
    return whole(size_hw, of.sides_px[int(side * len(of.sides_px))], of.longest_px, mirror < 0.5)


def example(scene: Scene, shown: Placement, masks: bool) -> Example:
    """What of a scene is left in sight, with its boxes cut at the edge of what is shown."""
    boxes, left = shown.boxes(scene.boxes)
    target = {"boxes": torch.from_numpy(boxes[left]).float(), "labels": torch.from_numpy(scene.label[left])}
    if masks:
        painted = [scene.masks[row].painted(scene.size_hw, shown) for row in np.flatnonzero(left)]
        target["masks"] = torch.from_numpy(np.stack(painted) if painted else np.zeros((0, *shown.shown_hw), np.uint8))
    return torch.from_numpy(shown.pixels(scene.pixels())).permute(2, 0, 1), target


def losses(network: nn.Module, batch: Sequence[Example]) -> dict[str, Tensor]:
    device = next(network.parameters()).device
    images = [picture.to(device).float() for picture, _ in batch]
    targets = [{name: value.to(device) for name, value in target.items()} for _, target in batch]
    found: dict[str, Tensor] = network(images, targets)
    return found


def pretrained_part(network: Any, of: Detection) -> nn.Module:
    """The backbone in a detector; of a ResNet cut in two, both parts."""
    body = network.backbone.module
    if of.neck == "c4":
        return nn.ModuleList([body.module, network.roi_heads.box_head[0][0]])
    part: nn.Module = body.levels.module
    return part


@torch.no_grad()
def detections(network: nn.Module, scenes: Scenes, of: Detection, place: Surroundings) -> list[Found]:
    """What a network in evaluation mode finds in each scene, on every rank; each rank looks at its share."""
    world = place.world
    mine = list(range(world.rank, len(scenes), world.size))
    shown = [whole(scene.size_hw, of.test_side_px, of.longest_px) for scene in scenes.scenes]
    found: list[Found] = []
    with pool_of(place.threads) as pool:
        def pixels(number: int) -> Tensor:
            return torch.from_numpy(shown[number].pixels(scenes.scenes[number].pixels())).permute(2, 0, 1)

        # Not all at once: pictures that nobody looks at yet would fill the memory.
        for first in range(0, len(mine), AT_ONCE):
            some = mine[first : first + AT_ONCE]
            for number, picture in zip(some, pool.map(pixels, some), strict=True):
                with place.autocast():
                    (answer,) = network([picture.to(world.device).float()])
                found.append(in_pixels(answer, scenes.scenes[number], shown[number]))
    shares = process.gather(world, found)
    return [shares[number % world.size][number // world.size] for number in range(len(scenes))]


AT_ONCE = 64


def in_pixels(answer: dict[str, Tensor], scene: Scene, shown: Placement) -> Found:
    """An answer about a whole picture as it was shown, in the picture's own pixels."""
    (height, width), (rows, columns) = scene.size_hw, shown.shown_hw
    boxes = answer["boxes"].float().cpu() * torch.tensor([width / columns, height / rows] * 2)
    runs: tuple[dict[str, Any], ...] = ()
    if "masks" in answer:
        masks = answer["masks"].float().cpu()
        # One by one: a hundred masks of a large picture at once take a gigabyte.
        runs = tuple(encoded(paste_masks_in_image(mask[None], box[None], (height, width))[0, 0].numpy() > 0.5)
                     for mask, box in zip(masks, boxes, strict=True))
    return Found(boxes.double().numpy(), answer["labels"].cpu().numpy(), answer["scores"].double().cpu().numpy(), runs)
