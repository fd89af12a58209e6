"""Checkpoints as their authors' programs left them: tensors are read, and of all else that they hold nothing is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

COMMON = ("argparse.Namespace", "yacs.config.CfgNode", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
          "numpy.dtype", "numpy.ndarray", "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
"""What checkpoints name besides tensors: how a run was called, and numbers. For files of before torch 1.6, whose names cannot be
asked for without reading them."""


class Unread(dict[str, Any]):
    """Stands for an object of any class that a file names: none is imported, what it is made of is dropped."""

    def __new__(cls, *given: Any, **named: Any) -> Unread:
        return super().__new__(cls)

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: str, value: Any) -> None:
        pass


def read_published(path: Path) -> dict[str, Any]:
    """What a file holds, on the CPU: tensors and plain data; every other object, such as the arguments of the program that wrote
    it, is an `Unread`. Nothing that the file names is imported or run. Raises ValueError, one line, where it is no state dict.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        stand_ins: Any = [(Unread, name) for name in _names(path)]
        with torch.serialization.safe_globals(stand_ins):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        text = " ".join(str(error).split())
        reason = (text[text.find("Trying to ") :] if "Trying to " in text else text)[:120]  # behind torch's advice
        raise ValueError(f"{path} cannot be read as weights ({type(error).__name__}: {reason}); give a file that holds tensors "
                         "and plain data, .pt or .safetensors") from error
    if not isinstance(state, Mapping) or isinstance(state, Unread):
        kind = "whole object" if isinstance(state, Unread) else type(state).__name__
        raise ValueError(f"{path} holds a {kind}, no state dict; save the network's state_dict() instead")
    return dict(state)


def _names(path: Path) -> list[str]:
    try:
        return list(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except ValueError:  # of before torch 1.6
        return list(COMMON)
