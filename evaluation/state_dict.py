"""Weights from other people's files: found inside them, matched by name, and refused where one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..models.weight_files import FOLLOWS, groups


def fitted(module: nn.Module, state: Mapping[str, Any], path: Path, key: str | None = None) -> str:
    """Load the part of a file that belongs to a network; in words, which part that was.

    The networks of the file are tried (key: only that one), each with whatever stands before its names ("module.",
    "backbone.", "base_encoder."); the one that fits most weights is loaded. Raises ValueError unless every weight of the
    network is there, at its shape; what the file has besides, such as heads, is left alone.
    """
    wanted = {name: value for name, value in module.state_dict().items() if not name.endswith("num_batches_tracked")}
    parts = groups(state)
    if key is not None:
        if key not in parts:
            there = ", ".join(name or "only one" for name in parts)
            raise ValueError(f"weights_key={key}: {path} has no such part; it has {there}")
        parts = {key: parts[key]}
    found: list[tuple[int, str, str, dict[str, Tensor]]] = []
    for part, tensors in parts.items():
        for prefix in _prefixes(tensors, wanted):
            named = {name: tensors[prefix + name] for name in wanted if prefix + name in tensors}
            found.append((len(named), part, prefix, named))
    if not found:
        example = next(iter(wanted))
        raise ValueError(f"{path} has no weights of this network, none of its names ends in {example!r}; is backbone= the "
                         "network that they were trained in?")
    count, part, prefix, named = max(found, key=lambda each: each[0])
    missing = [name for name in wanted if name not in named]
    if missing:
        raise ValueError(f"{path} has {count} of the network's {len(wanted)} weights; {prefix + missing[0]!r} is not there; is "
                         "backbone= the network that they were trained in?")
    for name, value in named.items():
        if value.shape != wanted[name].shape:
            raise ValueError(f"{path}: {prefix + name} has shape {tuple(value.shape)}, the network needs "
                             f"{tuple(wanted[name].shape)}; give the backbone= and the image_px= that it was trained with")
    module.load_state_dict(named, strict=False)
    return f" ({part})" if part else ""


def _prefixes(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What may stand before the network's names in a file's, the shortest first, momentum encoders last."""
    found = {name[: -len(each)] for each in list(wanted)[:3] for name in tensors if name.endswith(each)}
    return sorted((prefix for prefix in found if not prefix or prefix.endswith(".")),
                  key=lambda prefix: (any(word in prefix for word in FOLLOWS), len(prefix), prefix))
