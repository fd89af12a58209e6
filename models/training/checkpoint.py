"""Checkpoints: written whole or not at all, checked when they are read, refused where they do not fit the run."""

from __future__ import annotations

import os
import random
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..rows import take_rows
from .pieces import take_moments, take_weights

FORMAT = 1
WAY_OUT = "; give another, or remove it"
_NAME = re.compile(r"step-(\d{8,})\.(pt|parts)")


class Stateful(Protocol):
    """What a checkpoint asks of the loader; and, where it is saved, of the method and the optimizer."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def save(folder: Path, state: Mapping[str, Any], keep: int) -> Path:
    """Write folder/step-XXXXXXXX.pt of state["step"], point folder/last at it, remove older ones but for the `keep` newest.

    Under a temporary name, flushed to the disk, then renamed: whenever the machine stops, each file that bears the name of
    a checkpoint is whole. Older ones go only after the new one stands; newer ones, which a run that went back left, stay.
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
    stand(path, keep)
    return path


def save_parts(folder: Path, state: Mapping[str, Any], keep: int, group: dist.ProcessGroup | None) -> Path:
    """As `save`, but a folder step-XXXXXXXX.parts to which each rank of the group (None: one process) writes what it holds, see
    `parts`. All ranks call it together, and it raises on all of them."""
    from . import parts  # what most who read checkpoints need not load

    path = folder / f"step-{state['step']:08d}.parts"
    temporary = folder / f".{path.name}"
    leader = group is None or dist.get_rank(group) == 0
    try:
        if leader:
            shutil.rmtree(temporary, ignore_errors=True)
        parts.write(temporary, dict(state, format=FORMAT), group)
        if leader:
            flush_folder(temporary)
            _remove(path)  # of this step, damaged
            os.replace(temporary, path)
    finally:
        if leader:
            shutil.rmtree(temporary, ignore_errors=True)
    if leader:
        stand(path, keep)
    return path


def stand(path: Path, keep: int) -> None:
    """A checkpoint bears its name: point at it, have the disk know, and let those go that are older than the `keep` newest."""
    folder = path.parent
    pointer = folder / f".last.{os.getpid()}"
    try:
        pointer.write_text(path.name + "\n")
        os.replace(pointer, folder / "last")
    finally:
        pointer.unlink(missing_ok=True)
    flush_folder(folder)
    upto = [each for each in written(folder) if step_of(each) < step_of(path) or each == path]
    twice = [each for each in written(folder) if step_of(each) == step_of(path) and each != path]  # in the other form
    for old in upto[:-keep] + twice:
        _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        going = path.with_name(f".{path.name}.going")
        shutil.rmtree(going, ignore_errors=True)
        os.replace(path, going)  # at once: half of it is no checkpoint
        shutil.rmtree(going, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left half-written. No other process may be writing to the folder."""
    for left in folder.glob(".*") if folder.is_dir() else ():
        if left.name.startswith((".step-", ".last.")):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def written(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), key=step_of)


def step_of(path: Path) -> int:
    """The step that a checkpoint's name says."""
    return int(path.name.removeprefix("step-").split(".")[0])


def load(path: Path, like: Callable[[str, torch.Size], Tensor | None] | None = None, *, check: bool = True) -> dict[str, Any]:
    """Everything of one checkpoint, on the CPU. Only tensors and plain data are unpickled, never code.

    like: of a checkpoint in parts, what to read a tensor into, see `parts.read`. check: compare what is read with its checksums,
    which costs reading it once more. Raises ValueError where it is not of this program, is cut off, or has other bytes than were
    written.
    """
    reason = ""
    if path.is_dir() and _NAME.fullmatch(path.name):
        from . import parts

        try:
            state = parts.read(path, like, check=check)
        except ValueError as error:
            reason = str(error)
    elif path.is_file():
        reason = _damage(path) if check else ""
        if not reason:
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:
                reason = type(error).__name__
    else:
        raise ValueError(f"there is no checkpoint {path}")
    if reason:
        raise ValueError(f"{path} is not a whole checkpoint of viewmill ({reason}){WAY_OUT}")
    if not isinstance(state, dict) or "method" not in state or "step" not in state:
        raise ValueError(f"{path} is not a checkpoint of viewmill: it has no method and step")
    if state.get("format") != FORMAT:
        raise ValueError(f"{path} has checkpoint format {state.get('format')}, this version reads {FORMAT}")
    return state


def _damage(path: Path) -> str:
    """Why a file is not what torch.save wrote: the zip archive that it is has a CRC-32 of each of its records; "" where it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            spoiled = archive.testzip()
    except Exception as error:  # a flipped bit may ask for any feature of archives
        return "cut off, or of another program" if str(error) == "File is not a zip file" else f"{type(error).__name__}: {error}"
    return f"the checksum of {spoiled} does not match" if spoiled else ""


def tell(line: str) -> None:
    """To whoever started the process."""
    print(f"viewmill: {line}", file=sys.stderr, flush=True)


def at(place: Path) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint at a place: the newest whole one of a run's folder or of the folder of its checkpoints, or the place itself;
    None where a folder holds none."""
    if not place.is_dir() or _NAME.fullmatch(place.name):
        return place, load(place)
    return find(place, "auto") or (find(place.parent, "auto") if written(place) else None)


def find(out: Path, resume: str, say: Callable[[str], None] = tell,
         like: Callable[[str, torch.Size], Tensor | None] | None = None) -> tuple[Path, dict[str, Any]] | None:
    """What a run goes on from. resume: "auto" (the newest in out/checkpoints that is whole, or None), "never", or a path.

    say: is given a line, with the reason, for each newer one that is passed over. like: see `load`. Raises ValueError where there
    are some and none is whole, and for "never" where the folder already holds a run: nothing of it is overwritten.
    """
    candidates = to_try(out, resume)
    problems: list[ValueError] = []
    for path in candidates:
        try:
            state = load(path, like)
        except ValueError as error:
            problems.append(error)
            continue
        for problem in problems:
            say(passed_over(problem, path))
        return path, state
    if problems:
        raise none_whole(problems)
    return None


def to_try(out: Path, resume: str) -> list[Path]:
    """The checkpoints that `find` looks at, in that order. Raises ValueError as it does for "never"."""
    found = written(out / "checkpoints")
    if resume == "never" and found:
        raise ValueError(f"resume=never, but {out} holds a run ({found[-1].name}); "
                         "choose another out=, or remove that folder")
    return [] if resume == "never" else found[::-1] if resume == "auto" else [Path(resume)]


def passed_over(problem: Exception, instead: Path) -> str:
    """That a newer checkpoint is not used, why, and which is."""
    return f"{str(problem).removesuffix(WAY_OUT)}; the last good one, {instead.name}, is used"


def none_whole(problems: Sequence[Exception]) -> ValueError:
    """What to raise where each checkpoint, the newest first, has its problem."""
    more = len(problems) - 1
    return ValueError(f"{problems[0]}" + (f"; none of the {more} before it is whole either" if more else ""))


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
        take_moments(optimizer, by_name(state["optimizer"], state.get("parameters"), method, optimizer))
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


def parameters_of(method: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """The names of an optimizer's parameters, in the order in which its state numbers them."""
    names = {parameter: name for name, parameter in method.named_parameters()}
    return [names.get(parameter, "") for group in optimizer.param_groups for parameter in group["params"]]


def by_name(state: dict[str, Any], names: Sequence[str] | None, method: nn.Module, optimizer: torch.optim.Optimizer
            ) -> dict[str, Any]:
    """An optimizer's state, whose parameters were `names` (None: as here), with the numbers that they have in this optimizer,
    and its groups where they are others. Raises RuntimeError where the parameters are not the same."""
    own = parameters_of(method, optimizer)
    if names is None or list(names) == own:
        return state
    if sorted(names) != sorted(own) or len(set(own)) < len(own):
        first = sorted(set(names) ^ set(own))[0]
        raise RuntimeError(f"only one of checkpoint and network trains {first!r}")
    number = {name: place for place, name in enumerate(own)}
    moved = {number[names[old]]: of for old, of in state["state"].items()}
    return {"state": moved, "param_groups": optimizer.state_dict()["param_groups"]}


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


def flush_folder(folder: Path) -> None:
    """Have what was renamed in a folder on the disk, where its file system can be asked."""
    # A rename is on the disk only once its folder is.
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
