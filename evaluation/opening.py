"""Encoders from wherever one lies: a run, a checkpoint, a file of weights, a published checkpoint, a folder, timm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..augment.presets import recipe as named_recipe
from ..augment.recipe import Recipe
from ..models.backbone import backbone as untrained
from ..models.backbone import published
from ..models.exports import is_timm_folder, open_timm_folder
from ..models.official import KNOWN, find
from ..models.restored import restored
from ..models.training import checkpoint
from ..models.weight_files import read_weights
from .encoder import Encoder, of_method
from .pictures import evaluation_recipe, judged_side
from .state_dict import fitted

SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")
VIEW = "eval_bicubic"
"""How pictures are shown to a network of which nothing else is known."""


def open_encoder(what: str, *, backbone: str | None = None, image_px: int | None = None, pretrained: bool = True,
                 weights_key: str | None = None, view: str | None = None, head_layers: int = 0) -> Encoder:
    """The encoder that is meant by

    - the folder of a run: its newest whole checkpoint; or one checkpoint of it;
    - a folder in timm's layout, as `viewmill export to=timm` writes it and the Hugging Face hub has it;
    - a file of weights (.pt, .pth, .bin, .safetensors), with backbone= for the network that it belongs to, or without where its
      names tell: of DINO, MAE, MoCo v3, BEiT, iBOT, SimMIM, Barlow Twins, VICReg, SwAV, and whatever is laid out like theirs.
      weights_key: which part of the file, where it holds several networks;
    - a name of timm's, or `convnet4`: with the weights that timm publishes, or untrained (pretrained=False).

    image_px: the side of the pictures; by default the one that the network was trained at, 224 where backbone= says what it is.
    view: a preset's name, how pictures are shown, in place of what training, or its authors' evaluation, says of it.
    head_layers: see `Encoder.keep_head`. In evaluation mode, no weight trains.
    Raises ValueError, one line, where it cannot be had.
    """
    path, of_weights = Path(what), False
    if path.is_dir():
        encoder = _of_timm(path, image_px) if is_timm_folder(path) else _of_checkpoint(*_newest(path), image_px)
    elif path.is_file():
        state = read_weights(path)
        of_weights = not ("method" in state and "draw_version" in state)
        if not of_weights:
            encoder = _of_checkpoint(path, checkpoint.load(path), image_px)
        elif backbone is not None:
            encoder = _of_state_dict(path, state, backbone, image_px or 224, weights_key)
        else:
            encoder = _published(path, state, image_px, weights_key)
    elif path.suffix in SUFFIXES or len(path.parts) > 1:
        raise ValueError(f"there is no run and no file {what}; give a run's folder, a checkpoint, a file of weights, or a name "
                         "of timm's")
    else:
        encoder = _of_name(what, image_px, pretrained)
    if not of_weights and (backbone is not None or weights_key is not None):
        raise ValueError(f"backbone= and weights_key= go with a file of weights, {what} says itself what it is; leave them out")
    if view is not None:
        encoder.view = sized_view(view, encoder.image_px)
    encoder.keep_head(head_layers)
    return encoder.eval().requires_grad_(False)


def _newest(folder: Path) -> tuple[Path, dict[str, Any]]:
    found = checkpoint.at(folder)
    if found is None:
        raise ValueError(f"{folder} holds no checkpoint of a run; give the out= of a training run, or a file of weights")
    return found


def _of_checkpoint(path: Path, state: dict[str, Any], image_px: int | None) -> Encoder:
    method, recipe = restored(path, state)
    side = judged_side(recipe)
    if image_px is not None and image_px != side:
        raise ValueError(f"image_px={image_px}: {path} was trained on pictures of {side} px; leave image_px out")
    # Of the run's configuration no more than the network's fields: the rest may name places and options that are its user's.
    origin = {"config": {"model": state["config"]["model"]}, **{name: state[name] for name in ("method", "recipe", "viewmill")}}
    return of_method(method, recipe, side, f"{state['method']} of {path.parent.parent}, step {state['step']}", origin)


def _of_state_dict(path: Path, state: dict[str, Any], name: str, image_px: int, weights_key: str | None) -> Encoder:
    module, dim = untrained(name, image_px)
    part = fitted(module, state, path, weights_key)
    view = sized_view(VIEW, image_px)
    return Encoder(module, dim, image_px, view, f"{name} of {path.name}{part}", {"backbone": name})


def _of_name(name: str, image_px: int | None, pretrained: bool) -> Encoder:
    if not pretrained:
        side = image_px or 224
        module, dim = untrained(name, side)
        return Encoder(module, dim, side, sized_view(VIEW, side), f"{name}, untrained", {"backbone": name})
    module, dim, side, mean, std = published(name, image_px)
    view = sized_view(VIEW, side).with_op("*", "normalize", mean=mean, std=std)
    return Encoder(module, dim, side, view, f"{name} by timm", {"backbone": name})


def _of_timm(path: Path, image_px: int | None) -> Encoder:
    found = open_timm_folder(path)
    shown = found.shown
    if image_px is not None and image_px != shown.image_px:
        raise ValueError(f"image_px={image_px}: {path} says that its pictures have {shown.image_px} px; leave image_px out")
    view = sized_view("eval" if shown.interpolation == "bilinear" else VIEW, shown.image_px)
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
    view = sized_view(network.layout.view, side).with_op("*", "normalize", mean=mean, std=std)
    name = f"{network.about} of {path.name}" + (f" ({part})" if part else "")
    return Encoder(network, network.feature_dim, side, view, name)


def sized_view(name: str, side_px: int) -> Recipe:
    """A preset of one plain view at this size: as the preset cuts it, with the same share of the short side; the whole picture
    where views are small. Raises ValueError for one of several views."""
    view = named_recipe(name)
    if len(view.instances) != 1:
        raise ValueError(f"view={view} makes {len(view.instances)} views of a picture, an evaluation shows one; for example "
                         f"view={VIEW}")
    old = view.instances[0].size_hw[0]
    if side_px == old:
        return view
    small = evaluation_recipe(view, side_px)
    return replace(small, name=f"{view} at {side_px} px")
