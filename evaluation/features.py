"""Features of pictures by a frozen encoder: made once, in pieces, by all ranks, kept on the disk if wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ..augment.recipe import Recipe
from .encoder import Encoder
from .pictures import Pictures

STORED = 32
"""Pieces of pictures in one file: what an interruption costs at most."""


@dataclass(frozen=True)
class Features:
    """x (N, D) float32, label (N,) int64, index (N,) int64 in the source, ascending; on the CPU."""

    x: Tensor
    label: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.label)


def extract(encoder: Encoder, pictures: Pictures, device: torch.device, *, folder: Path | None = None,
            autocast: Callable[[], AbstractContextManager[Any]] = nullcontext, see: Callable[[Tensor], Tensor] | None = None,
            kind: str = "features", say: Callable[[int, int], None] | None = None) -> Features:
    """The features of all pictures that can be read, the same on every rank.

    Under torch.distributed each rank makes its share. folder: where what is made is kept, a file for each STORED * CHUNK
    pictures, and found again by the same pictures, view and weights, after an interruption too. see, kind: another function of
    a batch of images than the encoder itself, (N, C, H, W) to (N, D), and its name. say: told (pictures done, of how many).
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)
    kept = None if folder is None else folder / key_of(encoder, pictures, kind)
    groups = [range(start, min(start + STORED, pictures.piece_count)) for start in range(0, pictures.piece_count, STORED)]
    own = {number: groups[number] for number in range(rank, len(groups), world)}
    parts: dict[int, dict[str, Tensor]] = {}
    done = 0
    with evaluating(encoder), torch.no_grad(), autocast():
        for number, pieces in own.items():
            path = None if kept is None else kept / f"{number:06d}.safetensors"
            part = None if path is None else _read(path)
            if part is None:
                part = _made(encoder if see is None else see, encoder.view, pictures, pieces, device)
                if path is not None:
                    _write(path, part)
            parts[number] = part
            done += len(part["label"])
            if say is not None:
                say(min(done * world, len(pictures)), len(pictures))
    if world > 1:
        everyone: list[Any] = [None] * world
        dist.all_gather_object(everyone, parts)
        parts = {number: part for each in everyone for number, part in each.items()}
    read = [parts[number] for number in sorted(parts) if len(parts[number]["label"])]
    if not read:
        raise ValueError(f"{pictures.name}: not one of its {len(pictures)} images can be read; viewmill check says why")
    return Features(**{name: torch.cat([part[name] for part in read]) for name in ("x", "label", "index")})


def key_of(encoder: Encoder, pictures: Pictures, kind: str) -> str:
    """The name under which features are kept: of the weights, of the view, and of the pictures."""
    digest = blake2b(f"{encoder.fingerprint} {kind} {pictures.source.fingerprint}".encode(), digest_size=12)
    digest.update(pictures.index.tobytes())
    return digest.hexdigest()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """While inside, every module is in evaluation mode; afterwards each in its own again."""
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, mode in modes:  # each as it was: a part may be kept in evaluation mode throughout
            each.training = mode


def _made(see: Callable[[Tensor], Tensor], view: Recipe, pictures: Pictures, pieces: range,
          device: torch.device) -> dict[str, Tensor]:
    made: dict[str, list[Tensor]] = {"x": [torch.empty(0)], "label": [torch.empty(0, dtype=torch.int64)]}
    made["index"] = list(made["label"])
    for piece in pictures.pieces(view, pieces):
        if len(piece.label):  # torch takes an empty (0,) beside (n, D)
            made["x"].append(see(piece.images.to(device, non_blocking=True)).float().cpu())
            made["label"].append(piece.label)
            made["index"].append(piece.index)
    return {name: torch.cat(values).contiguous() for name, values in made.items()}


def _read(path: Path) -> dict[str, Tensor] | None:
    if not path.is_file():
        return None
    try:
        return load_file(path)
    except (SafetensorError, OSError):  # cut off by a full disk or a dying machine: it is made again
        return None


def _write(path: Path, part: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(save(part))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
