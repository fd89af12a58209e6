"""What arms that share a decode would save: `python -m tests.evaluation.ablate.one_decode DATA [IMAGES]`.

CPU seconds, which a busy machine does not change much, of an image: its SimCLR views by one arm, by four arms of one decode
(`viewmill.together`; the others without gray, without jitter, with larger crops), and a step of training on one arm's views.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import torch
import viewmill as vm
from viewmill import train
from viewmill.augment import Recipe
from viewmill.models.training import process, step

BATCH = 128


def rendering(data: str, recipe: Recipe, images: int) -> float:
    """CPU milliseconds of an image, decoding included, once kernels are there."""
    with vm.Loader(data, recipe, BATCH, threads=1, sidecar=False, engine="cpu", epochs=None) as loader:
        batches = iter(loader)
        for _ in range(3):
            next(batches)
        began = time.process_time()
        for _ in range(images // BATCH):
            next(batches)
        return 1000 * (time.process_time() - began) / (images // BATCH * BATCH)


def training(data: str, images: int, backbone: str) -> float:
    """CPU milliseconds of an image in a step, forward, backward and update."""
    run, recipe = train.read(["simclr", f"data={data}", "recipe=simclr_cifar", f"model.backbone={backbone}",
                              f"batch_size={BATCH}"])
    take, _ = step.step_of(run, recipe, process.start("cpu"), 50_000)
    with vm.Loader(data, recipe, BATCH, threads=1, sidecar=False, engine="cpu") as loader:
        batch = next(iter(loader))
    take(batch)
    began = time.process_time()
    for _ in range(images // BATCH):
        take(batch)
    return 1000 * (time.process_time() - began) / (images // BATCH * BATCH)


def arms() -> Mapping[str, Recipe]:
    base = vm.recipe("simclr_cifar")
    return {"base": base, "gray-0": base.with_op("*", "grayscale", p=0.0), "jitter-0": base.with_op("*", "jitter", p=0.0),
            "crop": base.with_op("*", "crop", scale=(0.5, 1.0))}


def main(data: str, images: str = "2048") -> None:
    torch.set_num_threads(1)
    alone, four = rendering(data, arms()["base"], int(images)), rendering(data, vm.together(arms()), int(images)) / 4
    print(f"views of an arm {alone:.3f} ms an image; of four arms of one decode {four:.3f} ms an arm, {four / alone:.2f} of it")
    for backbone in ("convnet4", "resnet18"):
        taught = training(data, int(images) // (1 if backbone == "convnet4" else 8), backbone)
        print(f"{backbone}: a step {taught:.3f} ms an image; sharing saves {(alone - four) / (alone + taught):.1%} of an arm")


if __name__ == "__main__":
    main(*sys.argv[1:])
