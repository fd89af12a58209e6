"""A run's state as of now, in memory of its own: what is written can take its time while the run goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType
from torch.distributed.tensor import DTensor


@dataclass(frozen=True)
class Piece:
    """This rank's part of a tensor: what lies from `offsets` on of `size`, on the CPU. torch.distributed.checkpoint asks it what
    there is to write."""

    local: Tensor
    size: torch.Size
    offsets: torch.Size

    def __create_write_items__(self, name: str, value: Any) -> list[WriteItem]:
        if not self.local.numel():  # more ranks than rows
            return []
        chunk = ChunkStorageMetadata(offsets=self.offsets, sizes=self.local.size())
        about = TensorWriteData(chunk=chunk, properties=TensorProperties.create_from_tensor(self.local), size=self.size)
        return [WriteItem(index=MetadataIndex(name, self.offsets), type=WriteItemType.SHARD, tensor_data=about)]


def copied(tree: Any, *, whole: bool = True) -> Any:
    """Mappings, lists and tuples with a copy of each tensor on the CPU; of one that is shared out, this rank's `Piece`. Tensors
    that share their memory do so afterwards, too. whole: also of tensors that are on every rank, in whose place there is None
    otherwise."""
    return _copied(tree, {} if whole else None)


def _copied(tree: Any, known: dict[Any, Tensor] | None) -> Any:
    if isinstance(tree, DTensor):
        (chunk,) = tree.__create_chunk_list__()
        return Piece(_host(tree.to_local(), {} if known is None else known), tree.size(), chunk.offsets)
    if isinstance(tree, Tensor):
        return None if known is None else _host(tree, known)
    if isinstance(tree, Mapping):
        return {key: _copied(value, known) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_copied(value, known) for value in tree)
    return tree


def _host(value: Tensor, known: dict[Any, Tensor]) -> Tensor:
    alike = (value.data_ptr(), value.dtype, value.shape, value.stride(), value.device) if value.numel() else None
    if alike is None or alike not in known:
        value = value.detach()
        copy = value.cpu() if value.device.type != "cpu" else value.clone()
        if alike is None:
            return copy
        known[alike] = copy
    return known[alike]


def taken_apart(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(name, tensor or `Piece`) of all that are below mappings with text or numbers for keys."""
    for key, value in tree.items():
        below = f"{name}/{key}" if name else str(key)
        if isinstance(value, Mapping):
            yield from taken_apart(value, below)
        elif isinstance(value, Tensor | Piece):
            yield below, value


def without(tree: Any, name: str = "") -> Any:
    """The same tree with a `MARK` and its name in the place of each tensor and each `Piece`."""
    out = {}
    for key, value in tree.items():
        below = f"{name}/{key}" if name else str(key)
        if isinstance(value, Mapping):
            out[key] = without(value, below)
        else:
            out[key] = MARK + below if isinstance(value, Tensor | Piece) else value
    return out


def put_back(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `without` left, with its tensors again. Raises KeyError where one is missing."""
    if isinstance(tree, Mapping):
        return {key: put_back(value, tensors) for key, value in tree.items()}
    return tensors[tree.removeprefix(MARK)] if isinstance(tree, str) and tree.startswith(MARK) else tree


MARK = "\0tensor:"
