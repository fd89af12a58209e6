"""What a network knows layer by layer: its maps, for probes on each of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

STEMS = frozenset({"act1", "bn1", "stem", "features.norm0"})
"""What timm calls the first map where it is not yet a stage's: in ResNets, MobileNets, RegNets and others, DenseNets."""


def maps(module: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """images (N, C, H, W) to maps (N, channels, rows, columns), the first layer first, in whatever mode the network is.

    Our own networks: conv1, conv2, ..., after the ReLU, before a pool. timm's convolutional and pyramid networks: stage1,
    stage2, ..., before them stem where it has a map of its own (ResNets: after its ReLU, before its pool). Networks whose
    blocks all work at one resolution, such as vision transformers: every third block, counted back from the last (of twelve:
    block3, block6, block9, block12), without class token and registers, before the last norm.

    Raises ValueError, one line, where a network shows no maps.
    """
    own = getattr(module, "maps", None)
    if own is not None:
        found: dict[str, Tensor] = own(images)
        return found
    known: Any = getattr(module, "feature_info", None)
    intermediates: Any = getattr(module, "forward_intermediates", None)
    if intermediates is None or not known or not isinstance(known[0], dict):
        raise ValueError(f"{type(module).__name__} shows no maps of its layers; use a network of timm's that does, for example a "
                         "ResNet or a ViT, or judge its features as a whole")
    names = _names([str(layer["module"]) for layer in known], [int(layer["reduction"]) for layer in known])
    outputs: list[Tensor] = intermediates(images, indices=list(names), output_fmt="NCHW", intermediates_only=True)
    return dict(zip(names.values(), outputs, strict=True))


def _names(modules: list[str], reductions: list[int]) -> dict[int, str]:
    """By index among a network's layers, those that are shown. reductions: pixels of the image a place of each map stands for."""
    last = len(modules) - 1
    if len(set(reductions)) == 1:
        return {i: f"block{i + 1}" for i in range(last % 3, last + 1, 3)}
    stems = int(modules[0] in STEMS)
    return {i: f"stage{i + 1 - stems}" if i >= stems else "stem" for i in range(last + 1)}
