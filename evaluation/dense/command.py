"""`viewmill eval detection|segmentation ENCODER data=... test_data=...`: a backbone fine-tuned to find things, or name pixels."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ... import __version__
from ...models.training import process
from ...models.training.config import describe
from ...models.training.manual import rows
from ...models.training.overrides import filled, plain, split
from ...models.training.step import autocast_for
from ..opening import open_encoder
from ..resumable import Stopped
from ..voc import CLASSES
from . import coco, voc
from .config import DetectionConfig, SegmentationConfig, lists
from .masks import numbers
from .scenes import VOID, Scenes, joined
from .schedules import DETECTION, SEGMENTATION
from .surroundings import Surroundings

CONFIGS: dict[str, type[DetectionConfig] | type[SegmentationConfig]] = {"detection": DetectionConfig,
                                                                         "segmentation": SegmentationConfig}
EXAMPLES = {"detection": "data=coco/annotations/instances_train2017.json test_data=coco/annotations/instances_val2017.json",
            "segmentation": "data=VOC2012/ImageSets/Segmentation/train.txt test_data=VOC2012/ImageSets/Segmentation/val.txt"}


def main(task: str, words: Sequence[str], default_out: Any) -> int:
    """Run `viewmill eval TASK WORDS` and print what came of it; the exit status is 130 after SIGINT, else 0. Under torchrun every
    rank calls it; rank 0 writes and prints. default_out: the folder of an encoder's results."""
    what, config = read(task, words)
    world = process.start(config.device)
    try:
        line = shlex.join(["viewmill", "eval", task, *words])
        evaluate(task, what, config, world, Path(config.out or default_out(what)), line)
    except Stopped as stopped:
        if world.rank == 0:
            print(f"{stopped}: viewmill eval {task} {shlex.join(words)}", flush=True)
        return 130 if stopped.signal == signal.SIGINT else 0
    finally:
        process.leave(world)
    return 0


def read(task: str, words: Sequence[str]) -> tuple[str, Any]:
    """(encoder, keys). Raises ValueError, one line."""
    names = [word for word in words if "=" not in word]
    if len(names) != 1:
        raise ValueError(f"viewmill eval {task} needs one encoder, a run's folder, a checkpoint, a file of weights or a name of "
                         f"timm's, got {len(names)}: {' '.join(names) or 'none'}")
    pairs = [split(word) for word in words if "=" in word]
    config = filled(CONFIGS[task](data="unset", test_data="unset"), pairs)
    for needed in ("data", "test_data"):
        if needed not in (name for name, _ in pairs):
            raise ValueError(f"viewmill eval {task} needs {needed}=, COCO's JSON of instances or a list of a VOC folder, for "
                             f"example {EXAMPLES[task]}")
        lists(getattr(config, needed))
    return names[0], config


def evaluate(task: str, what: str, config: Any, world: process.World, out: Path, line: str) -> dict[str, Any]:
    """What a task finds, as JSON-able data; out/TASK.json keeps it. line: the command that this is."""
    torch_threads, threads = process.split_cores(process.cores(), world.local_size, world.device.type == "cuda",
                                                 config.torch_threads, config.threads)
    torch.set_num_threads(torch_threads)
    process.seed_all(config.seed)
    encoder = open_encoder(what, backbone=config.backbone, image_px=config.image_px, pretrained=config.pretrained,
                           weights_key=config.weights_key)
    train, test, names = opened(task, config)
    leader = world.rank == 0
    autocast = autocast_for(config.precision, world.device)
    kept = out if autocast is nullcontext else out / "bf16"  # other steps than in full precision
    place = Surroundings(kept, world, threads, config.seed, autocast, _say if leader else _silent)
    with process.alone_in(out) if leader else nullcontext():
        began = time.monotonic()
        place.say(f"encoder    {encoder.name}, {sum(p.numel() for p in encoder.module.parameters()) / 1e6:.2f} million weights\n"
                  f"pictures   {len(train):,} to learn from, {len(test):,} to be tested on, {len(names)} classes")
        if task == "detection":
            from . import detection

            found = detection.run(encoder, train, test, config, place)
        else:
            from . import segmentation

            found = segmentation.run(encoder, train, test, names, config, place)
        settings = {**plain(config), "schedule": found.pop("schedule")}
        result = {"eval": task, "encoder": what, "name": encoder.name, "fingerprint": encoder.fingerprint, **found,
                  "seconds": round(time.monotonic() - began, 1), "pictures": len(train), "test_pictures": len(test),
                  "command": line, "config": settings, "viewmill": __version__}
        if leader:
            save(out / f"{task}.json", result)
            place.say(f"{in_words(task, result)}\nresult     {out / f'{task}.json'}")
    return result


def opened(task: str, config: Any) -> tuple[Scenes, Scenes, tuple[str, ...]]:
    """Pictures to learn from and to be tested on, and the classes, of segmentation the background first. Raises ValueError where
    they cannot be had, or have no classes in common."""
    masks = task == "segmentation" or config.schedule().masks
    parts = []
    for data, images, limit, maps in ((config.data, config.images, config.max_images, getattr(config, "maps", "")),
                                      (config.test_data, config.test_images, config.max_test_images, "SegmentationClass")):
        several = []
        for each in lists(data):
            path = Path(each)
            if not each.endswith(".txt"):
                several.append(coco.read(path, images, masks=masks))
            else:
                several.append(voc.read_maps(path, maps) if task == "segmentation" else voc.read(path, masks=masks))
        parts.append(joined(several, ", ".join(lists(data))).part(limit))
    train, test = parts
    if task == "detection":
        if not any((~(scene.crowd | scene.difficult)).any() for scene in test.scenes):
            raise ValueError(f"{test.name} has nothing to be found: no thing in a box that is neither a crowd nor difficult")
        return train, test.named(train.names), train.names
    if not lists(config.data)[0].endswith(".txt"):
        return train, test.named(train.names), ("background", *train.names)
    count = config.classes or 1 + max(largest(scene.class_map, scene.size_hw) for scene in train.scenes if scene.class_map)
    names = ("background", *CLASSES) if count == 1 + len(CLASSES) else tuple(map(str, range(count)))
    return train, test, names


def largest(class_map: Path, size_hw: tuple[int, int]) -> int:
    """The largest class in a map."""
    found = numbers(class_map, size_hw)
    return int(np.max(found[found != VOID], initial=0))


def save(path: Path, result: Mapping[str, Any]) -> None:
    """Written whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    os.replace(temporary, path)


def in_words(task: str, result: Mapping[str, Any]) -> str:
    """The figures of a result, a line each."""
    if task == "segmentation":
        lines = [f"{'mIoU':<10} {result['miou']:.4f}, of pixels right {result['pixel_accuracy']:.4f}, mean over classes "
                 f"{result['mean_accuracy']:.4f}"]
    else:
        lines = [f"{title:<10} " + "  ".join(f"{name} {value:.4f}" for name, value in result[title].items())
                 for title in ("box", "mask", "voc") if title in result]
    return "\n".join([*lines, f"{'seconds':<10} {result['seconds']:,.0f}"])


def manual(task: str) -> str:
    """All keys of a task."""
    published = DETECTION if task == "detection" else SEGMENTATION
    protocols = [f"  {name:<14} {of.source}; {of.steps:,} steps of {of.batch_size}" for name, of in published.items()]
    keys = rows(describe(CONFIGS[task]))
    return "\n".join([HEADS[task], "Protocols (protocol=NAME):", *protocols, "", f"Keys of {task}:", *keys])


HEADS = {
    "detection": """Usage: viewmill eval detection ENCODER data=... test_data=... [KEY=VALUE]...

Fine-tune torchvision's Faster R-CNN, with masks=true Mask R-CNN, from a backbone, and say how well it finds things. ENCODER: the
folder of a run, a checkpoint of it, a file of weights (with backbone=), or a name of timm's. The same command again goes on where
an interrupted one stopped. Several processes: torchrun --nproc-per-node N -m viewmill.cli eval detection ...

  viewmill eval detection runs/moco data=[VOC2007/ImageSets/Main/trainval.txt,VOC2012/ImageSets/Main/trainval.txt] \\
      test_data=VOC2007/ImageSets/Main/test.txt protocol=moco_voc
  viewmill eval detection runs/mae data=coco/annotations/instances_train2017.json \\
      test_data=coco/annotations/instances_val2017.json protocol=vitdet
""",
    "segmentation": """Usage: viewmill eval segmentation ENCODER data=... test_data=... [KEY=VALUE]...

Fine-tune torchvision's FCN from a backbone, and say how well it names each pixel's class. ENCODER: the folder of a run, a
checkpoint of it, a file of weights (with backbone=), or a name of timm's. The same command again goes on where an interrupted one
stopped. Several processes: torchrun --nproc-per-node N -m viewmill.cli eval segmentation ...

  viewmill eval segmentation runs/rotnet data=VOC2012/ImageSets/Segmentation/train_aug.txt maps=SegmentationClassAug \\
      test_data=VOC2012/ImageSets/Segmentation/val.txt protocol=mmselfsup
""",
}


def _say(line: str) -> None:
    print(line, flush=True)


def _silent(line: str) -> None:
    pass
