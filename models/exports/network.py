"""What is to be known of a network before its weights can go out in another library's layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

Pooling = Literal["own", "cls", "mean"]
Features = Callable[[Tensor], Tensor]
"""images (N, C, H, W) to features (N, D)."""


@dataclass(frozen=True)
class Shown:
    """How pictures reach a network: v = level / 255, (v - mean) / std of each channel, sides of image_px.

    crop: the side of the central square that is cut out, over the short side; None: the whole picture is squeezed into a square.
    """

    image_px: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Literal["bilinear", "bicubic"]
    crop: float | None


@dataclass(frozen=True)
class Network:
    """module: in evaluation mode. name: of its kind, as timm's. pooling: what its features are, "own": what it returns; "cls":
    its class token; "mean": the mean of its patch tokens; both after the last norm."""

    module: nn.Module
    name: str
    pooling: Pooling
    shown: Shown


@dataclass(frozen=True)
class Layout:
    """A network as another library keeps it.

    tensors: by that library's names, as model.safetensors has them. files: further ones, JSON-able, by name. opening: Python that
    makes `model` of it, in whose place FOLDER stands for the folder, in quotes. features: Python, of `model` and `images`.
    opened: the same, here, given the folder; None where the library is not installed. needs: what the code above imports.
    """

    tensors: dict[str, Tensor]
    files: dict[str, Any]
    opening: str
    features: str
    needs: str
    opened: Callable[[Path], Features] | None = field(repr=False)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """A state dict each of whose tensors has memory of its own, in order, as safetensors asks."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}
