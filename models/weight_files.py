"""Weights from local files, as other programs wrote them: state dicts and TorchScript archives, and the networks inside. Nothing
that they name is imported or run."""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DEEPEST = 32
"""Modules within modules; a network has about six."""

PREFERRED = ("teacher", "target_encoder", "student", "state_dict", "model", "model_state", "backbone", "encoder")
"""What files call the networks they hold; of several that will do, the first here is meant."""

FOLLOWS = ("momentum", "encoder_k.", "ema")
"""In what stands before the names of a network that follows another: its authors evaluate the other."""

COMMON = ("argparse.Namespace", "yacs.config.CfgNode", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
          "numpy.dtype", "numpy.ndarray", "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
"""What checkpoints name besides tensors: how a run was called, and numbers. For files of before torch 1.6, whose names cannot be
asked for without reading them."""

_STORAGES = {"FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
             "DoubleStorage": torch.float64, "LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16,
             "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool}


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


def read_weights(path: Path) -> dict[str, Any]:
    """What a file holds, on the CPU: of a .safetensors file or a state dict of torch.save as it lies there, of a TorchScript
    archive its parameters and buffers by their dotted names.

    Only tensors and plain data are read. Every other object, such as the arguments of the program that wrote the file, is an
    `Unread`; of an archive, whose program is neither compiled nor run, the tensors alone are taken. Raises ValueError, one line,
    where a file is missing, cut off, or no state dict.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if _is_archive(path):
            return _archived(path)
        stand_ins: Any = [(Unread, name) for name in _names(path)]
        with torch.serialization.safe_globals(stand_ins):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        text = " ".join(str(error).split())
        reason = (text[text.find("Trying to ") :] if "Trying to " in text else text)[:120]  # behind torch's advice
        raise ValueError(f"{path} cannot be read as weights ({type(error).__name__}: {reason}); give a file that holds tensors "
                         "and plain data alone, .pt or .safetensors, or a TorchScript archive") from error
    if not isinstance(state, Mapping) or isinstance(state, Unread):
        kind = "whole object" if isinstance(state, Unread) else type(state).__name__
        raise ValueError(f"{path} holds a {kind}, no state dict; save the network's state_dict() instead")
    return dict(state)


def groups(state: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """The flat groups of tensors in a file, up to two dictionaries deep, by name, "" for those at its top; those whose innermost
    name is PREFERRED come first."""
    found: dict[str, dict[str, Tensor]] = {}

    def look(name: str, value: Mapping[str, Any], depth: int) -> None:
        tensors = {str(key): each for key, each in value.items() if isinstance(each, Tensor)}
        if tensors:
            found[name] = tensors
        for below, inside in value.items() if depth else ():
            if isinstance(inside, Mapping):
                look(f"{name}.{below}" if name else str(below), inside, depth - 1)

    look("", state, 2)
    order = {name: number for number, name in enumerate(PREFERRED)}
    return dict(sorted(found.items(), key=lambda each: order.get(each[0].rpartition(".")[2], len(order))))


def _names(path: Path) -> list[str]:
    try:
        return list(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except ValueError:  # of before torch 1.6
        return list(COMMON)


def _is_archive(path: Path) -> bool:
    """Whether it is TorchScript's, which has constants and code beside the data."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return any(name.endswith("/constants.pkl") or "/code/" in name for name in file.namelist())


def _archived(path: Path) -> dict[str, Tensor]:
    with zipfile.ZipFile(path) as file:
        name = next(name for name in file.namelist() if name.count("/") == 1 and name.endswith("/data.pkl"))
        root = _Reader(file, name.removesuffix(".pkl")).load()
    tensors: dict[str, Tensor] = {}
    _collect(root, "", tensors, 0)
    return tensors


def _collect(value: Any, name: str, found: dict[str, Tensor], depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError(f"modules are nested more than {DEEPEST} deep")
    if isinstance(value, Tensor):
        found[name] = value
    elif isinstance(value, _Inert) and isinstance(value.state, dict):
        for key, inside in value.state.items():
            _collect(inside, f"{name}.{key}" if name else str(key), found, depth + 1)


class _Inert:
    """Stands for whatever an archive names, a module's class above all: it keeps the attributes and does nothing."""

    def __init__(self, *given: Any) -> None:
        self.state: Any = None

    def __new__(cls, *given: Any) -> _Inert:
        made = super().__new__(cls)
        made.state = None
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    """The data of an archive. Every name but those of tensors' own parts is an `_Inert`; nothing is imported."""

    def __init__(self, file: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(file.read(f"{folder}.pkl")))
        self._file, self._folder = file, folder
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch._utils" and name == "_rebuild_tensor_v2":
            return _tensor
        if module == "collections" and name == "OrderedDict":
            return dict
        return _Inert

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not str(key).isdigit():
            raise pickle.UnpicklingError(f"unknown reference {kind!r}")
        if key not in self._storages:
            data = self._file.read(f"{self._folder}/{key}")
            if len(data) < count * dtype.itemsize:
                raise pickle.UnpicklingError(f"{self._folder}/{key} is cut off")
            self._storages[key] = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self._storages[key]


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    if not math.prod(size):
        return storage.new_empty(size)
    return storage.as_strided(size, stride, offset).clone(memory_format=torch.contiguous_format)
