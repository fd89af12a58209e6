"""kornia's augmentation modules on whole batches in the trainer, as its documentation has it: workers decode and crop, since
files differ in size; torch has as many threads as there are workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import transforms as T

from ....augment.masks import Mask
from ....augment.ops import Blur, Crop, Flip, Grayscale, Jitter, Normalize, Op, Solarize
from ....augment.recipe import Recipe
from ..files import Files
from . import Stream
from .loading import Views, loaded, own_images_only, pillow_image, refusal


def modules(ops: tuple[Op, ...]) -> nn.Module:
    """What follows a crop as kornia's augmentation modules, on the unit scale, each image with draws of its own. kornia has no
    boxes: its blur is Gaussian, of as many taps as the papers' (a tenth of 224 px, odd). Raises UnsupportedRecipe for other
    ops."""
    import kornia.augmentation as K

    steps: list[nn.Module] = []
    for op in ops:
        match op:
            case Flip():
                steps.append(K.RandomHorizontalFlip(p=float(op.p or 0)))
            case Jitter(brightness_law="multiplicative", contrast_pivot="luma-mean", saturation_law="gray-blend"):
                steps.append(K.ColorJitter(*op.strengths(), p=float(op.p or 0)))
            case Grayscale():
                steps.append(K.RandomGrayscale(p=float(op.p or 0)))
            case Blur():
                taps = op.taps or 23
                steps.append(K.RandomGaussianBlur((taps, taps), op.sigma_px or (0.1, 2.0), p=float(op.p or 0)))
            case Solarize():
                at = op.level / 255
                if op.p:
                    steps.append(K.RandomSolarize((at, at), (0.0, 0.0), p=op.p))
            case Normalize(kind="mean-std"):
                steps.append(K.Normalize(torch.tensor(op.mean), torch.tensor(op.std)))
            case Normalize(kind="none") | Mask():
                pass
            case _:
                raise refusal("kornia", op)
    return nn.Sequential(*steps)


def _crop(op: Op) -> Any:
    match op:
        case Crop(law="torchvision-retry", antialias=True):
            assert op.size_px and op.scale and op.ratio
            return T.Compose([T.RandomResizedCrop(op.size_px, op.scale, op.ratio, T.InterpolationMode(str(op.filter))),
                              T.PILToTensor()])
    raise refusal("kornia, which crops by torchvision in the workers,", op)


def notes(recipe: Recipe) -> list[str]:
    found = ["workers decode by Pillow and crop by torchvision; the rest is done in the trainer, batch by batch"]
    if any(isinstance(op, Blur) and op.kind == "pillow" for instance in recipe.instances for op in instance.ops):
        found.append("blurs by a Gaussian of 23 taps in place of Pillow's three boxes")
    if any(isinstance(op, Jitter) for instance in recipe.instances for op in instance.ops):
        found.append("jitters in one drawn order for the whole batch")
    return found


def stream(files: Files, recipe: Recipe, batch_size: int, threads: int) -> Stream:
    own_images_only(recipe, "kornia")
    source = files.source()
    crops = [_crop(instance.ops[0]) for instance in recipe.instances]
    rest = [modules(instance.ops[1:]) for instance in recipe.instances]
    torch.set_num_threads(threads)
    loading = loaded(Views(source, pillow_image, crops), len(source), batch_size, threads)

    def batches() -> Iterator[list[Tensor]]:
        for batch in loading.batches:
            with torch.no_grad():
                yield [module(view.float() / 255) for module, view in zip(rest, batch, strict=True)]

    return Stream(batches(), loading.ahead, loading.close)
