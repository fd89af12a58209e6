"""What a method is compared with: the network that it began as, and the pixels themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..augment.recipe import Recipe
from ..models import build
from ..models.training.process import seed_all
from ..models.training.step import image_side
from .encoder import Encoder, of_method
from .pictures import CHUNK, Pictures, evaluation_recipe, judged_side

RAW_PX = 32


def initialized(method: str, fields: Any, recipe: Recipe, seed: int) -> Encoder:
    """The weights that a run of this method, with these fields of its own, recipe and seed begins with."""
    seed_all(seed)
    built = build(method, fields, image_px=image_side(recipe))
    encoder = of_method(built, recipe, judged_side(recipe), f"{method}, untrained, seed {seed}")
    return encoder.eval().requires_grad_(False)


@torch.no_grad()
def calibrated(encoder: Encoder, pictures: Pictures, images: int, device: torch.device,
               autocast: Callable[[], AbstractContextManager[Any]] = nullcontext) -> Encoder | None:
    """A copy whose batch norms have the mean and variance, over the first `images` pictures, whole pieces of them, of what
    they really see; as initialized they assume 0 and 1. None where it has no batch norm, and would be the same."""
    copied = copy.deepcopy(encoder).to(device)
    norms = [part for part in copied.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    if not norms:
        return None
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches, each as heavy as the others
        norm.train()
    with autocast():
        for piece in pictures.pieces(copied.view, range(min(max(images // CHUNK, 1), pictures.piece_count))):
            copied(piece.images.to(device))
    copied.name = f"{encoder.name}, batch norms calibrated"
    return copied.eval()


class Pixels(nn.Module):
    """images (N, C, H, W) to their values less the mean image's: all are positive, so that without it every cosine is near 1."""

    mean: Tensor

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean).flatten(1)


def raw_pixels(pictures: Pictures, recipe: Recipe, side_px: int = RAW_PX) -> Encoder:
    """The pixels as features, at a small side. recipe: whose filter resizes them."""
    view = replace(evaluation_recipe(recipe, side_px, raw=True), name="raw pixels")
    total, count = torch.zeros((), dtype=torch.float64), 0
    for piece in pictures.pieces(view):
        total = total + piece.images.double().sum(0)
        count += len(piece.images)
    mean = (total / max(count, 1)).float()
    return Encoder(Pixels(mean), mean.numel(), side_px, view, "raw pixels").eval()
