"""A frozen network that turns pictures into features, whoever trained it: a run's, a checkpoint's, timm's, a state dict's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..augment.presets import recipe as named_recipe
from ..augment.recipe import Recipe
from ..models import METHODS, build, method_info
from ..models.backbone import backbone as untrained
from ..models.backbone import published
from ..models.heads import first_layers
from ..models.method import Method
from ..models.training import checkpoint
from ..models.training.step import image_side
from .pictures import evaluation_recipe, judged_side
from .state_dict import fitted, read_state_dict

SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")
VIEW = "eval_bicubic"
"""How pictures are shown to a network of which nothing else is known."""


class Encoder(nn.Module):
    """images (N, C, image_px, image_px) to features (N, dim), in whatever mode the modules are.

    module: the network whose weights are judged, inside `whole`, which also has what pretraining put around it. view: a recipe
    of one plain view, as pictures are to be shown. name: what it is, in a few words. fingerprint: of weights, structure and
    view; equal for equal features. head: the layers of pretraining's head that features go through, none at first; see
    `keep_head`. origin: what it can be built anew from, with its weights, as plain data; empty where nobody said.
    """

    def __init__(self, whole: nn.Module, dim: int, image_px: int, view: Recipe, name: str,
                 origin: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.whole, self.dim, self.image_px, self.view, self.name = whole, dim, image_px, view, name
        self.origin, self.head_layers = dict(origin or {}), 0

    @property
    def module(self) -> nn.Module:
        return self.whole.encoder if isinstance(self.whole, Method) else self.whole

    @property
    def head(self) -> nn.Sequential:
        # Made anew each time, so that a copy, or one whose batch norms were converted, has its own.
        whole = self.whole.projection_head if isinstance(self.whole, Method) else None
        return nn.Sequential() if whole is None or not self.head_layers else first_layers(whole, self.head_layers)

    def keep_head(self, layers: int) -> None:
        """Have features go through the first `layers` linear layers of the projection head, each with its norm and activation;
        0: through none. Raises ValueError where there are no such layers."""
        if layers == self.head_layers:
            return
        whole = self.whole.projection_head if isinstance(self.whole, Method) else None
        if whole is None:
            raise ValueError(f"head_layers={layers}: {self.name} has no projection head; leave head_layers out, or give a run of "
                             "a method that has one, for example simclr_v2")
        widths = [part.out_features for part in whole if isinstance(part, nn.Linear)]
        if not 0 <= layers <= len(widths):
            raise ValueError(f"head_layers={layers}: the projection head of {self.name} has {len(widths)} layers; use 0 to "
                             f"{len(widths)}, 0 for the backbone alone")
        assert isinstance(self.whole, Method)
        self.head_layers, self.dim = layers, [self.whole.feature_dim, *widths][layers]

    @property
    def fingerprint(self) -> str:
        digest = blake2b(f"{type(self.whole).__name__} {self.view.to_dict()}".encode(), digest_size=16)
        if isinstance(self.whole, Method):
            digest.update(str(getattr(self.whole, "config", "")).encode())
        _add_weights(digest, self.module)
        _add_weights(digest, self.head)
        return digest.hexdigest()

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.whole.features(images) if isinstance(self.whole, Method) else self.whole(images)
        return self.head(features) if self.head_layers else features


def fingerprint_of(module: nn.Module) -> str:
    """Of its weights and their names; equal for equal ones."""
    digest = blake2b(digest_size=16)
    _add_weights(digest, module)
    return digest.hexdigest()


def _add_weights(digest: blake2b, module: nn.Module) -> None:
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode() + str((value.dtype, tuple(value.shape))).encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def open_encoder(what: str, *, backbone: str | None = None, image_px: int | None = None, pretrained: bool = True,
                 weights_key: str | None = None, view: str | None = None, head_layers: int = 0) -> Encoder:
    """The encoder that is meant by

    - the folder of a run: its newest whole checkpoint; or one checkpoint of it;
    - a file with a state dict (.pt, .pth, .bin, .safetensors), with backbone= for the network that it belongs to;
      weights_key: which part of the file, where it holds several networks;
    - a name of timm's, or `convnet4`: with the weights that timm publishes, or untrained (pretrained=False).

    image_px: the side of the pictures; by default the one that the network was trained at, 224 for a state dict. view: a
    preset's name, how pictures are shown, in place of what training says of it. head_layers: see `Encoder.keep_head`. In
    evaluation mode, no weight trains.
    Raises ValueError, one line, where it cannot be had.
    """
    path, of_weights = Path(what), False
    if path.is_dir():
        encoder = _of_checkpoint(*_newest(path), image_px)
    elif path.is_file():
        state = read_state_dict(path)
        of_weights = not ("method" in state and "draw_version" in state)
        encoder = (_of_state_dict(path, state, backbone, image_px or 224, weights_key) if of_weights
                   else _of_checkpoint(path, checkpoint.load(path), image_px))
    elif path.suffix in SUFFIXES or len(path.parts) > 1:
        raise ValueError(f"there is no run and no file {what}; give a run's folder, a checkpoint, a file of weights, or a name "
                         "of timm's")
    else:
        encoder = _of_name(what, image_px, pretrained)
    if not of_weights and (backbone is not None or weights_key is not None):
        raise ValueError(f"backbone= and weights_key= go with a file of weights, {what} says itself what it is; leave them out")
    if view is not None:
        encoder.view = _sized(named_recipe(view), encoder.image_px)
    encoder.keep_head(head_layers)
    return encoder.eval().requires_grad_(False)


def of_method(method: Method, recipe: Recipe, image_px: int, name: str, origin: Mapping[str, Any] | None = None) -> Encoder:
    """A method's encoder; recipe: the views that it trains on, which say how pictures end."""
    return Encoder(method, method.feature_dim, image_px, evaluation_recipe(recipe, image_px), name, origin)


def _newest(folder: Path) -> tuple[Path, dict[str, Any]]:
    found = checkpoint.find(folder, "auto")
    if found is None and checkpoint.written(folder):  # the folder of the checkpoints themselves
        found = checkpoint.find(folder.parent, "auto")
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


def _of_state_dict(path: Path, state: dict[str, Any], name: str | None, image_px: int, weights_key: str | None) -> Encoder:
    if name is None:
        raise ValueError(f"{path} is a file of weights: say of which network, for example backbone=resnet50")
    module, dim = untrained(name, image_px)
    part = fitted(module, state, path, weights_key)
    view = _sized(named_recipe(VIEW), image_px)
    return Encoder(module, dim, image_px, view, f"{name} of {path.name}{part}", {"backbone": name})


def weights_for(path: Path, state: dict[str, Any], backbone: str, image_px: int, weights_key: str | None) -> Encoder:
    """The encoder of a file's weights, already read, for the network that is named. Raises ValueError where they do not fit."""
    return _of_state_dict(path, state, backbone, image_px, weights_key)


def sized_view(name: str, side_px: int) -> Recipe:
    """A preset of one plain view, at this size. Raises ValueError for one of several views."""
    return _sized(named_recipe(name), side_px)


def _of_name(name: str, image_px: int | None, pretrained: bool) -> Encoder:
    if not pretrained:
        side = image_px or 224
        module, dim = untrained(name, side)
        return Encoder(module, dim, side, _sized(named_recipe(VIEW), side), f"{name}, untrained", {"backbone": name})
    module, dim, side, mean, std = published(name, image_px)
    view = _sized(named_recipe(VIEW), side).with_op("*", "normalize", mean=mean, std=std)
    return Encoder(module, dim, side, view, f"{name} by timm", {"backbone": name})


def _sized(view: Recipe, side_px: int) -> Recipe:
    """A preset of one plain view at another size: as the preset cuts it, with the same share of the short side; the whole
    picture where views are small."""
    if len(view.instances) != 1:
        raise ValueError(f"view={view} makes {len(view.instances)} views of a picture, an evaluation shows one; for example "
                         f"view={VIEW}")
    old = view.instances[0].size_hw[0]
    if side_px == old:
        return view
    small = evaluation_recipe(view, side_px)
    return replace(small, name=f"{view} at {side_px} px")
