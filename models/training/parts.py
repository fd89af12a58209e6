"""A checkpoint as a folder, to which each rank writes what it holds, through torch.distributed.checkpoint.

manifest.json, written last, has size and CRC-32 of every file: a folder without it, or with other bytes, is no checkpoint.
facts.pt has all that is no large tensor. `.metadata`, which says where in the ranks' files each tensor lies, is a pickle: it is
read by an unpickler that knows the few classes it is made of, and no other.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint import (
    DefaultLoadPlanner,
    DefaultSavePlanner,
    FileSystemReader,
    FileSystemWriter,
    load,
    save,
)
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, StorageMeta, TensorStorageMetadata

from .errors import of_the_disk
from .staging import MARK, Piece, put_back, taken_apart, without

MANIFEST, FACTS, METADATA = "manifest.json", "facts.pt", ".metadata"
SHARED = ("model", "optimizer")
"""Of a state: what goes to the ranks' own files. Beside it the "rows" of which each rank has every so-manieth."""
BLOCK = 1 << 22

Like = Callable[[str, torch.Size], Tensor | None]
"""By a tensor's name ("model/head.weight") and whole shape, what to read it into; None: a whole tensor on the CPU."""


def write(folder: Path, state: Mapping[str, Any], group: dist.ProcessGroup | None) -> None:
    """Fill a folder that is not there yet. All ranks of the group (None: one process) call it together, each with the parts that
    it holds; what all hold is written by rank 0. Where it fails on one, it raises on all: OSError for what the disk said, else
    RuntimeError."""
    rank = 0 if group is None else dist.get_rank(group)
    ranks = 1 if group is None else dist.get_world_size(group)
    tensors = dict(taken_apart({name: state[name] for name in SHARED}))
    tensors |= {_of_rows(name, rank): rows for name, rows in state["rows"].items()}

    def parts() -> None:
        _together(group, lambda: folder.mkdir(parents=True) if rank == 0 else None)
        planner = _Planner(flatten_state_dict=False, flatten_sharded_tensors=False, dedup_save_to_lowest_rank=True)
        with _quietly():
            save(tensors, storage_writer=_Writer(folder), planner=planner, process_group=group, no_dist=group is None)

    try:
        parts()
    except CheckpointException as error:  # not an Exception
        raise next(iter(error.failures.values()))[0] from None
    own = _together(group, lambda: {path.name: _sum(path) for path in sorted(folder.glob(f"__{rank}_*"))})

    def seal() -> None:
        if rank:
            return
        for number, files in enumerate(own):
            for name, (size, _) in files.items():
                if not (folder / name).is_file() or (folder / name).stat().st_size != size:
                    raise RuntimeError(f"rank {number} wrote its part to another disk than rank 0's {folder}: "
                                       "checkpoint.form=parts needs one that all ranks share; use checkpoint.form=whole")
        facts = dict(state) | without({name: state[name] for name in SHARED})
        facts["rows"] = {name: [MARK + _of_rows(name, each) for each in range(ranks)] for name in state["rows"]}
        _flushed(folder / FACTS, lambda file: torch.save(facts, file))
        files = {name: sums for each in own for name, sums in each.items()}
        files |= {name: _sum(folder / name) for name in (FACTS, METADATA)}
        text = json.dumps({"format": state["format"], "step": state["step"], "ranks": len(own), "files": files}, indent=1)
        _flushed(folder / f"{MANIFEST}.half", lambda file: file.write(text.encode()))
        os.replace(folder / f"{MANIFEST}.half", folder / MANIFEST)

    _together(group, seal)


def read(folder: Path, like: Like | None = None, *, check: bool = True) -> dict[str, Any]:
    """What was given to `write`, with tensors as `like` has them. Raises ValueError, in some words, where the folder has other
    bytes than were written, or is of another program."""
    files = _manifest(folder)
    if check:
        for name, (size, crc) in files.items():
            if not (folder / name).is_file():
                raise ValueError(f"{name} is missing")
            found = _sum(folder / name)
            if found != [size, crc]:
                raise ValueError(f"the checksum of {name} does not match" if found[0] == size else f"{name} is cut off")
    try:
        facts = torch.load(folder / FACTS, map_location="cpu", weights_only=True)
        reader = _Reader(folder)
        about = reader.read_metadata()
        _refuse_foreign(about, files)
        tensors: dict[str, Any] = {}
        for name, each in about.state_dict_metadata.items():
            assert isinstance(each, TensorStorageMetadata)
            target = like(name, each.size) if like is not None else None
            tensors[name] = torch.empty(each.size, dtype=each.properties.dtype) if target is None else target
        planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        with _quietly():
            load(tensors, storage_reader=reader, planner=planner, no_dist=True)
        state: dict[str, Any] = facts | put_back({name: facts[name] for name in SHARED}, tensors)
        state["rows"] = {name: _interleaved([tensors[part.removeprefix(MARK)] for part in of])
                         for name, of in facts["rows"].items()}
        return state
    except CheckpointException as error:
        raise ValueError(_said(next(iter(error.failures.values()))[0])) from None
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(_said(error)) from error


class _Planner(DefaultSavePlanner):
    """Knows a `Piece`."""

    def lookup_object(self, index: MetadataIndex) -> Any:
        value = self.state_dict[index.fqn]
        return value.local if isinstance(value, Piece) else super().lookup_object(index)


class _Writer(FileSystemWriter):
    """Says what the disk said, where torch says that a position was not the expected one."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)

    def write_data(self, plan: Any, planner: Any) -> Any:
        try:
            return super().write_data(plan, planner)
        except RuntimeError as error:
            if (found := of_the_disk(error)) is None:
                raise
            raise OSError(found.errno, found.strerror) from error

    def storage_meta(self) -> StorageMeta:
        return StorageMeta()  # which would name the folder


class _Reader(FileSystemReader):
    """Unpickles no code."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        metadata = _Unpickler(io.BytesIO(Path(self.path, METADATA).read_bytes())).load()
        if not isinstance(metadata, Metadata):
            raise ValueError(f"{METADATA} holds a {type(metadata).__name__}")
        metadata.storage_meta = StorageMeta(load_id=self.load_id)
        return metadata


class _Unpickler(pickle.Unpickler):
    """Of what torch.distributed.checkpoint's metadata are made of, and nothing else."""

    KNOWN = frozenset(
        [("torch.distributed.checkpoint.metadata", name) for name in (
            "Metadata", "TensorStorageMetadata", "ChunkStorageMetadata", "TensorProperties", "MetadataIndex", "StorageMeta",
            "_MEM_FORMAT_ENCODING")]
        + [("torch.distributed.checkpoint.filesystem", "_StorageInfo"), ("torch", "Size"), ("torch.serialization", "_get_layout")]
        + [("torch", str(kind).removeprefix("torch.")) for kind in vars(torch).values() if isinstance(kind, torch.dtype)])

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.KNOWN:
            raise ValueError(f"{METADATA} asks for {module}.{name}, which is none of its business")
        return super().find_class(module, name)


def _of_rows(name: str, rank: int) -> str:
    return f"rows/{name}/{rank}"


def _interleaved(parts: Sequence[Tensor]) -> Tensor:
    """Row i from part i mod W, where it is number i // W."""
    whole = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
    for number, part in enumerate(parts):
        whole[number :: len(parts)] = part
    return whole


def _manifest(folder: Path) -> dict[str, list[int]]:
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
        good = {str(name): [int(size), int(crc)] for name, (size, crc) in files.items()}
    except FileNotFoundError:
        raise ValueError(f"{MANIFEST} is missing: it was not written to its end") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{MANIFEST} is not readable: {_said(error)}") from None
    if not {FACTS, METADATA} <= good.keys() or any(Path(name).name != name for name in good):
        raise ValueError(f"{MANIFEST} names other files than this program's")
    return good


def _refuse_foreign(about: Metadata, files: Mapping[str, Any]) -> None:
    """Raise ValueError where there is more than tensors, or where some are said to lie outside of the folder's files."""
    others = [name for name, each in about.state_dict_metadata.items() if not isinstance(each, TensorStorageMetadata)]
    if others:
        raise ValueError(f"{METADATA} has {others[0]}, which is no tensor")
    outside = [info.relative_path for info in about.storage_data.values() if info.relative_path not in files]
    if outside:
        raise ValueError(f"{METADATA} points at {outside[0]}, which {MANIFEST} does not know")


def _together(group: dist.ProcessGroup | None, work: Callable[[], Any]) -> list[Any]:
    """What work returns on each rank; where it raises on one, that on all."""
    result, failure = None, None
    try:
        result = work()
    except Exception as error:
        failure = (error.errno, error.strerror) if isinstance(error, OSError) else _said(error)
    everybody = [(result, failure)]
    if group is not None:
        everybody = [(None, None)] * dist.get_world_size(group)
        dist.all_gather_object(everybody, (result, failure), group=group)
    for _, each in everybody:
        if each is not None:
            raise OSError(*each) if isinstance(each, tuple) else RuntimeError(each)
    return [each for each, _ in everybody]


def _flushed(path: Path, fill: Callable[[Any], Any]) -> None:
    with open(path, "wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())


def _sum(path: Path) -> list[int]:
    """[bytes, CRC-32] of a file."""
    size, crc = 0, 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return [size, crc]


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


class _quietly(warnings.catch_warnings):
    """Without torch's remark that one process is alone."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.filterwarnings("ignore", message="torch.distributed is")
        return entered
