"""A run's method as one of its checkpoints has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..augment.recipe import Recipe
from . import METHODS, build, method_info
from .method import Method
from .training.step import image_side


def restored(path: Path, state: Mapping[str, Any]) -> tuple[Method, Recipe]:
    """The method of a checkpoint, with its weights, and the recipe that it trained on."""
    if state["method"] not in METHODS:
        raise ValueError(f"{path} is a checkpoint of {state['method']!r}, a method that this version of viewmill does not have")
    recipe = Recipe.from_dict(state["recipe"])
    info = method_info(state["method"])
    known = {f.name for f in fields(info.config())}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in state["config"]["model"].items()}
    try:
        if given.keys() - known:
            raise RuntimeError(f"unknown field model.{sorted(given.keys() - known)[0]}")
        method = build(info.name, info.config(**given), image_px=image_side(recipe))
        method.load_state_dict(state["model"])
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{path}, by viewmill {state['viewmill']}, does not fit this version's {info.name}: {first}") from error
    return method, recipe
