"""Published recipes by name, one file a paper."""

from __future__ import annotations

import json

from ..op import nearest
from ..recipe import Recipe
from . import (
    barlow,
    beit,
    byol,
    cae,
    cmc,
    colorization,
    context,
    context_encoder,
    counting,
    cpc,
    damaged_jigsaw,
    data2vec,
    decoupling,
    deepcluster,
    dino,
    dinov2,
    esvit,
    eva,
    ibot,
    igpt,
    ijepa,
    instdisc,
    jigsaw,
    jigsaw_plus,
    lci,
    mae,
    maskfeat,
    milan,
    moco,
    moco_v3,
    nnclr,
    pirl,
    protocols,
    pseudo_labels,
    rotnet,
    simclr,
    simmim,
    simsiam,
    splitbrain,
    swav,
    vicreg,
)
from .preset import Preset

_CONTEXTUAL = (context, jigsaw, jigsaw_plus, pseudo_labels, rotnet, colorization, splitbrain, context_encoder, damaged_jigsaw,
               lci, counting, deepcluster, decoupling)
_JOINT = (instdisc, moco, moco_v3, simclr, pirl, cmc, cpc, barlow, vicreg, byol, simsiam, swav, nnclr, dino, esvit, dinov2)
_MASKED = (igpt, beit, ibot, mae, simmim, cae, milan, maskfeat, data2vec, ijepa, eva)

PRESETS: dict[str, Preset] = {
    preset.recipe.name: preset
    for paper in (*_CONTEXTUAL, *_JOINT, *_MASKED, protocols)
    for preset in paper.PRESETS
}

ALIASES = {
    "beit_tokenizer": "beit_tokenizer_112",
    "cmc": "cmc_resnet",
    "context_encoder": "context_encoder_center",
    "dinov2": "dinov2_p16",
    "igpt": "igpt_ar_32",
    "moco_v3": "moco_v3_vit",
    "simmim": "simmim_vit",
}
"""Methods whose recipes all carry a longer name -> the one that is meant by the method's."""

__all__ = ["ALIASES", "PRESETS", "Preset", "names", "recipe"]


def names() -> tuple[str, ...]:
    """The recipes there are. `recipe` knows them, and their methods' names (ALIASES)."""
    return tuple(PRESETS)


def recipe(name: str) -> Recipe:
    """The published recipe of that name, or one of your own, by the path of a file NAME.json that has `Recipe.to_dict()`. Raises
    ValueError for another, naming the nearest."""
    if name.endswith(".json"):
        return _of_file(name)
    name = ALIASES.get(name, name)
    if name not in PRESETS:
        raise ValueError(f"there is no recipe {name!r}; {nearest(name, [*PRESETS, *ALIASES])}")
    return PRESETS[name].recipe


def _of_file(path: str) -> Recipe:
    try:
        with open(path) as file:
            return Recipe.from_dict(json.load(file))
    except OSError as error:
        raise ValueError(f"recipe {path}: this file cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"recipe {path}: no recipe as Recipe.to_dict() has it: {error}") from error
