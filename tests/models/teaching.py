"""Runs on disk that teach: shared by the tests of methods with a teacher."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from viewmill.augment import presets
from viewmill.augment.presets.preset import IMAGENET, bicubic_crop
from viewmill.augment.recipe import Recipe, View
from viewmill.models import build, method_info
from viewmill.models.training import checkpoint


def write_run(folder: Path, method: str = "mae", *, image_px: int = 32, **fields: object) -> nn.Module:
    """The folder of a run with one checkpoint of an untrained network, as training writes it, of views of image_px."""
    info = method_info(method)
    config = info.config(**{**info.fields_32px, "depth": 2, **fields})
    recipe: Recipe = presets.recipe(info.recipe_32px)
    if image_px != 32:
        recipe = Recipe(name="plain", views=(View(group="global", size_px=image_px, ops=(bicubic_crop(image_px), IMAGENET)),))
    torch.manual_seed(3)
    module = build(method, config, image_px=image_px)
    for parameter in module.parameters():  # large enough that heads look somewhere
        if parameter.ndim > 1:
            parameter.data.mul_(3)
    state = {"method": method, "config": {"model": vars(config)}, "recipe": recipe.to_dict(), "draw_version": 1, "viewmill": "0",
             "step": 7, "model": module.state_dict()}
    checkpoint.save(folder / "checkpoints", state, 2)
    return module
