"""Kinds of features of a frozen encoder, by name: what a linear head may stand on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from ..encoder import Encoder

_KIND = re.compile(r"cls([1-9]\d*)(\+mean)?|mean")


class Seen(Protocol):
    """What an encoder's heads stand on: features of several kinds, beside each other."""

    @property
    def dims(self) -> Mapping[str, int]:
        """D of each kind."""

    @property
    def name(self) -> str:
        """For what is kept of them."""

    def __call__(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, sum of dims)."""

    def apart(self, features: Tensor) -> dict[str, Tensor]:
        """What a call gave, by kind."""


class Kinds:
    """Images (N, C, H, W) to the features of several kinds, beside each other: (N, sum of `dims`).

    "features": the encoder's own. For vision transformers: "cls4", the class tokens of the last 4 blocks, each after the last
    norm, as DINO has them; "cls4+mean": these, and the mean patch token of the last block; "mean": that alone.
    Raises ValueError for another name, or a kind that the encoder does not have.
    """

    def __init__(self, encoder: Encoder, names: Sequence[str]) -> None:
        self.encoder, self.names = encoder, tuple(dict.fromkeys(names))
        self.depths = {name: int(match[1] or 0) for name in self.names if (match := _KIND.fullmatch(name))}
        strange = [name for name in self.names if name not in self.depths and name != "features"]
        if strange or not self.names:
            raise ValueError(f"kinds needs names like features, cls1, cls4, cls4+mean or mean, got {strange or list(names)}")
        if self.depths:
            self._check(encoder.module)
        module = encoder.module
        width = int(getattr(module, "embed_dim", 0)) if self.depths else 0
        self.dims = {name: encoder.dim if name == "features" else width * (self.depths[name] + ("mean" in name))
                     for name in self.names}

    def _check(self, module: nn.Module) -> None:
        if self.encoder.head_layers:
            raise ValueError(f"kinds={','.join(self.depths)} are tokens of the backbone; with "
                             f"head_layers={self.encoder.head_layers} use kinds=[features]")
        blocks = getattr(module, "blocks", None)
        has_tokens = hasattr(module, "forward_intermediates") and isinstance(blocks, nn.Sequential | nn.ModuleList)
        if not has_tokens or getattr(module, "cls_token", None) is None:
            raise ValueError(f"kinds={','.join(self.depths)} needs a vision transformer with a class token, which "
                             f"{self.encoder.name} is not; use kinds=[features]")
        assert blocks is not None
        deepest = max(self.depths, key=lambda name: self.depths[name])
        if self.depths[deepest] > len(blocks):
            raise ValueError(f"kinds={deepest} needs {self.depths[deepest]} blocks, {self.encoder.name} has {len(blocks)}")

    @property
    def name(self) -> str:
        return "+".join(f"[{name}]" for name in self.names) if self.depths else "features"

    def __call__(self, images: Tensor) -> Tensor:
        parts = {"features": self.encoder(images)} if "features" in self.names else {}
        if self.depths:
            # Registers, too, are prefix tokens; the class token is the first.
            last = self.encoder.module.forward_intermediates(  # type: ignore[operator]
                images, indices=max(*self.depths.values(), 1), return_prefix_tokens=True, norm=True, output_fmt="NLC",
                intermediates_only=True)
            mean = last[-1][0].mean(1)
            for name, depth in self.depths.items():
                tokens = [prefix[:, 0] for _, prefix in last[len(last) - depth :]]
                parts[name] = torch.cat([*tokens, *([mean] if "mean" in name else [])], 1)
        return torch.cat([parts[name].flatten(1) for name in self.names], 1)

    def apart(self, features: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.names, features.split(list(self.dims.values()), 1), strict=True))
