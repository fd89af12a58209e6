"""Checkpoints: written whole or not at all, found again, refused where they do not fit the run."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..rows import take_rows
from .pieces import take_moments, take_weights

FORMAT = 1
_NAME = re.compile(r"step-(\d{8,})\.pt")


class Stateful(Protocol):
    """What a checkpoint asks of the loader; and, where it is saved, of the method and the optimizer."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def save(folder: Path, state: Mapping[str, Any], keep: int) -> Path:
    """Write folder/step-XXXXXXXX.pt of state["step"], point folder/last at it, remove all but the `keep` newest.

    Under a temporary name, flushed to the disk, then renamed: whenever the machine stops, each file that bears the name of
    a checkpoint is whole. Older ones go only after the new one stands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{state['step']:08d}.pt"
    temporary = folder / f".{path.name}.{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            torch.save(dict(state, format=FORMAT), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    pointer = folder / f".last.{os.getpid()}"
    pointer.write_text(path.name + "\n")
    os.replace(pointer, folder / "last")
    _flush_folder(folder)
    for old in written(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def written(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def load(path: Path) -> dict[str, Any]:
    """Everything of one checkpoint, on the CPU. Only tensors and plain data are unpickled, never code.

    Raises ValueError where the file is not a checkpoint of this program, or is cut off.
    """
    if not path.is_file():
        raise ValueError(f"there is no checkpoint {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = type(error).__name__
        raise ValueError(f"{path} is not a whole checkpoint of viewmill ({reason}); give another, or remove it") from error
    if not isinstance(state, dict) or "method" not in state or "step" not in state:
        raise ValueError(f"{path} is not a checkpoint of viewmill: it has no method and step")
    if state.get("format") != FORMAT:
        raise ValueError(f"{path} has checkpoint format {state.get('format')}, this version reads {FORMAT}")
    return state


def find(out: Path, resume: str) -> tuple[Path, dict[str, Any]] | None:
    """What a run goes on from. resume: "auto" (the newest in out/checkpoints that is whole, or None), "never", or a path.

    Raises ValueError for "never" where the folder already holds a run: nothing of it is overwritten.
    """
    folder = out / "checkpoints"
    found = written(folder)
    if resume == "never":
        if found:
            raise ValueError(f"resume=never, but {out} holds a run ({found[-1].name}); "
                             "choose another out=, or remove that folder")
        return None
    if resume != "auto":
        path = Path(resume)
        return path, load(path)
    problem: ValueError | None = None
    for path in reversed(found):
        try:
            return path, load(path)
        except ValueError as error:
            problem = problem or error
    if problem is not None:
        raise problem
    return None


def refuse_unlike(path: Path, state: Mapping[str, Any], run: Mapping[str, Any], draw_version: int,
                  recipe: Mapping[str, Any]) -> None:
    """Raise ValueError, one line, where a checkpoint belongs to another run: another method, network, recipe, seed, batch
    size or optimizer, or draws of another version. Epochs, rates, kNN and the like may change on the way."""
    if state["method"] != run["method"]:
        raise ValueError(f"{path} is a checkpoint of {state['method']}, this run is {run['method']}; "
                         "choose another out= or resume=")
    old = state["config"]
    for name in ("seed", "batch_size", "model", "optimizer.name"):
        for key, before, now in _differences(name, _at(old, name), _at(run, name)):
            raise ValueError(f"{path} was made with {key}={before}, this run has {key}={now}; restore it, or choose another out=")
    if state["recipe"] != dict(recipe):
        raise ValueError(f"{path} was made with another recipe ({state['recipe'].get('name')}) than this run's "
                         f"({recipe.get('name')}, with its changes); restore it, or choose another out=")
    if state["draw_version"] != draw_version:
        raise ValueError(f"{path} drew its views by version {state['draw_version']}, this program draws by {draw_version}; "
                         "install the version of viewmill that made it, or choose another out=")


def snapshot(method: Stateful, optimizer: Stateful, loader: Stateful,
             random_states: list[Any], rows: Mapping[str, Tensor]) -> dict[str, Any]:
    """What moves while a run goes, to be saved with the facts of the run. random_states: one of each rank. rows: what ranks share
    out among them, put together (`models.rows.whole_rows`)."""
    return {"model": method.state_dict(), "optimizer": optimizer.state_dict(), "loader": loader.state_dict(),
            "random": random_states, "rows": dict(rows)}


def restore(state: Mapping[str, Any], method: nn.Module, optimizer: torch.optim.Optimizer, loader: Stateful,
            rank: int) -> tuple[int, int]:
    """Put a checkpoint's state into fresh objects of the same configuration; (its step, the step of its last kNN).

    A rank that the checkpoint does not know, after a change of world size, keeps the random state it began with.
    """
    # Whose rates are whose, and what decays, is this run's: rates may change on the way.
    own: list[dict[str, Any]] = [{name: group[name] for name in ("scale", "constant", "decays") if name in group}
                                 for group in optimizer.param_groups]
    try:
        take_weights(method, state["model"])
        take_moments(optimizer, state["optimizer"])
        for group, kept in zip(optimizer.param_groups, own, strict=True):
            group.update(kept)
        take_rows(method, state.get("rows", {}))  # checkpoints of old have none
    except (RuntimeError, KeyError) as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"the checkpoint of step {state['step']}, by viewmill {state['viewmill']}, does not fit this network: "
                         f"{first}; choose another out=") from error
    loader.load_state_dict(state["loader"])
    if rank < len(state["random"]):
        set_random_state(state["random"][rank])
    return state["step"], state["knn_step"]


def random_state() -> dict[str, Any]:
    """The state of every global generator of this process, as tensors and plain data."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        "python": random.getstate(),
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Undo everything that was drawn since random_state."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, words, following = state["python"]
    random.setstate((version, tuple(words), following))


def _flush_folder(folder: Path) -> None:
    # A rename is on the disk only once its folder is; not every file system can be asked.
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _at(tree: Mapping[str, Any], key: str) -> Any:
    value: Any = tree
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _differences(key: str, before: Any, now: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return [d for name in {**before, **now} for d in _differences(f"{key}.{name}", before.get(name), now.get(name))]
    return [] if before == now else [(key, before, now)]
