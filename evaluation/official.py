"""Encoders as `encoder` opens them, and of published checkpoints and folders, whose layout says itself what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..models.exports import is_timm_folder, open_timm_folder
from ..models.official import KNOWN, find, read_published
from . import encoder as plain
from .encoder import Encoder


def open_encoder(what: str, *, backbone: str | None = None, image_px: int | None = None, pretrained: bool = True,
                 weights_key: str | None = None, view: str | None = None, head_layers: int = 0) -> Encoder:
    """`encoder.open_encoder`, and two more.

    - A file of weights needs no backbone= where its names tell its network: of DINO, MAE, MoCo v3, BEiT, iBOT, SimMIM, Barlow
      Twins, VICReg, SwAV, and whatever is laid out like theirs. Pictures are shown as its authors' evaluation does, at the side
      it was trained at; image_px may be another where the network takes one.
    - A folder may hold a network in timm's layout, as `viewmill export to=timm` writes it and the Hugging Face hub has it.

    With backbone= weights are matched by name, as of any file. Raises ValueError, one line, where it cannot be had.
    """
    path = Path(what)
    others: dict[str, Any] = {"image_px": image_px, "view": view, "head_layers": head_layers}
    if path.is_dir() and is_timm_folder(path):
        if backbone is not None or weights_key is not None:
            raise ValueError(f"backbone= and weights_key= go with a file of weights, {what} says itself what it is; leave them "
                             "out")
        found = _of_timm(path, image_px)
        return _finished(found, view, head_layers)
    if not path.is_file():
        return plain.open_encoder(what, backbone=backbone, pretrained=pretrained, weights_key=weights_key, **others)
    state = read_published(path)
    if "method" in state and "draw_version" in state:
        return plain.open_encoder(what, backbone=backbone, pretrained=pretrained, weights_key=weights_key, **others)
    if backbone is not None:
        found = plain.weights_for(path, state, backbone, image_px or 224, weights_key)
    else:
        found = _published(path, state, image_px, weights_key)
    return _finished(found, view, head_layers)


def _finished(found: Encoder, view: str | None, head_layers: int) -> Encoder:
    if view is not None:
        found.view = plain.sized_view(view, found.image_px)
    found.keep_head(head_layers)
    return found.eval().requires_grad_(False)


def _of_timm(path: Path, image_px: int | None) -> Encoder:
    found = open_timm_folder(path)
    shown = found.shown
    if image_px is not None and image_px != shown.image_px:
        raise ValueError(f"image_px={image_px}: {path} says that its pictures have {shown.image_px} px; leave image_px out")
    view = plain.sized_view("eval" if shown.interpolation == "bilinear" else "eval_bicubic", shown.image_px)
    view = view.with_op("*", "normalize", mean=shown.mean, std=shown.std)
    return Encoder(found.module, found.dim, shown.image_px, view, f"{found.architecture} of {path}")


def _published(path: Path, state: dict[str, Any], image_px: int | None, weights_key: str | None) -> Encoder:
    try:
        found = find(state, weights_key)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; say which network the file belongs to, for example backbone=resnet50") from error
    if found is None:
        raise ValueError(f"{path} is a file of weights, but none of {KNOWN} is laid out so: say of which network, for example "
                         "backbone=resnet50")
    network, part = found
    side = image_px or network.image_px
    if side != network.image_px and not network.takes_other_sizes:
        raise ValueError(f"image_px={side}: {network.about} takes pictures of {network.image_px} px alone; leave image_px out")
    mean, std = network.layout.normalize
    view = plain.sized_view(network.layout.view, side).with_op("*", "normalize", mean=mean, std=std)
    name = f"{network.about} of {path.name}" + (f" ({part})" if part else "")
    return Encoder(network, network.feature_dim, side, view, name)
