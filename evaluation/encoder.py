"""A frozen network that turns pictures into features, whoever trained it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn

from ..augment.recipe import Recipe
from ..models.heads import first_layers
from ..models.method import Method
from .pictures import evaluation_recipe


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


def of_method(method: Method, recipe: Recipe, image_px: int, name: str, origin: Mapping[str, Any] | None = None) -> Encoder:
    """A method's encoder; recipe: the views that it trains on, which say how pictures end."""
    return Encoder(method, method.feature_dim, image_px, evaluation_recipe(recipe, image_px), name, origin)
