"""A classifier on the disk, with all that it takes to have it again: tensors and plain data."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ... import __version__
from ...augment.recipe import Recipe
from ...models.backbone import backbone
from ...models.restored import restored
from ...models.weight_files import read_weights
from ..encoder import Encoder
from .config import TUNINGS
from .network import Classifier

NAME = "classifier.pt"


def save(folder: Path, classifier: Classifier) -> None:
    """Write folder/classifier.pt, whole or not at all. Of an encoder that does not say its origin nothing is written."""
    encoder = classifier.encoder
    if not encoder.origin:
        return
    view = encoder.view.to_dict()
    state = {**encoder.origin, "made_by": __version__, "model": encoder.whole.state_dict(), "classifier": {
        "head": classifier.head.state_dict(), "classes": classifier.classes, "pool": classifier.pool, "view": view,
        "image_px": encoder.image_px, "head_layers": encoder.head_layers, "name": encoder.name}}
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{NAME}.{os.getpid()}"
    try:
        torch.save(state, temporary)
        os.replace(temporary, folder / NAME)
    finally:
        temporary.unlink(missing_ok=True)


def open_classifier(what: str) -> Classifier:
    """What `save` wrote: the file, its folder, or the folder of the evaluation or of the run above it, where there is one. In
    evaluation mode, no weight trains. Raises ValueError, one line, where it cannot be had."""
    path = _found(Path(what))
    state = read_weights(path)
    if "classifier" not in state:
        raise ValueError(f"{path} is no classifier; give what viewmill eval finetune or distill left, {NAME}")
    of = state["classifier"]
    whole: nn.Module
    if "method" in state:
        method, _ = restored(path, state)
        whole, dim = method, method.feature_dim
    else:
        whole, dim = backbone(state["backbone"], of["image_px"])
        whole.load_state_dict(state["model"])
    encoder = Encoder(whole, dim, of["image_px"], Recipe.from_dict(of["view"]), of["name"])
    encoder.keep_head(of["head_layers"])
    classifier = Classifier(encoder, of["classes"], replace(TUNINGS["small"], pool=of["pool"], drop_path=0.0))
    classifier.head.load_state_dict(of["head"])
    return classifier.eval().requires_grad_(False)


def _found(what: Path) -> Path:
    if what.is_file():
        return what
    folders = [what, *(what / part / name for part in ("", "bf16", "eval", "eval/bf16") for name in ("finetune", "distill"))]
    below = [folder / NAME for folder in folders]
    there = [path for path in below if path.is_file()]
    if len(there) != 1:
        found = f"{len(there)}: {', '.join(map(str, there))}" if there else "none"
        raise ValueError(f"{what} needs to be one classifier that viewmill eval finetune or distill left, a file {NAME} or its "
                         f"folder; there is {found}")
    return there[0]
