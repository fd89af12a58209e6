"""The folder that shards go into: what an earlier pack left there, and whether this one may go on with it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..cache import cache_folder
from ..catalogue import CATALOGUE
from ..faults import DataError
from ..index_file import INDEX_SUFFIX
from .plan import PLAN, PLAN_VERSION
from .settings import Settings
from .sources.opened import filesystem, is_url
from .sources.unit import to_dict
from .target import names_at

REFUSED, CLASSES = "refused.jsonl", "classes.json"
_FOLDER = ".pack"
_TEMPORARY = re.compile(r"\.(.+\.partial|.+\.tar\.index\..+|" + re.escape(CATALOGUE) + r"\..+)")


def plan_folder(target: str) -> Path:
    """Beside the shards; of shards behind a URL, in the user's cache."""
    if is_url(target):
        return cache_folder() / "pack" / blake2b(target.rstrip("/").encode(), digest_size=16).hexdigest()
    return Path(target) / _FOLDER


@contextmanager
def locked(folder: Path, target: str) -> Iterator[None]:
    """One pack at a time. Raises DataError while another is at work, or where the folder cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror}): choose another folder") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{target}: another pack is at work there: wait for it, or choose another folder") from None
        yield
    finally:
        os.close(handle)


def plan_there(folder: Path) -> dict[str, Any] | None:
    """The plan that an earlier pack left; None where there is none, or of another version."""
    try:
        about = json.loads((folder / PLAN).read_text())
        return about if about["version"] == PLAN_VERSION else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_target(target: str, units: Sequence[Any], settings: Settings) -> None:
    """Raises DataError where the target is a file, or the source lies in it, or shards that no pack of ours left there."""
    if is_url(target):
        filesystem(target)
        return
    place = Path(target)
    if place.exists() and not place.is_dir():
        raise DataError(f"{target}: a file; DST is the folder for the shards")
    real = os.path.realpath(target)
    for unit in units:
        path = getattr(unit, "path", None) or getattr(unit, "folder", None)
        if path and unit.kind not in ("pipe", "table") and not is_url(path):
            inside = os.path.realpath(path)
            if inside == real or (unit.kind != "folder" and os.path.dirname(inside) == real):
                raise DataError(f"{target}: the source lies there ({path}): choose another folder for the shards")


def check_foreign(target: str, name: str) -> None:
    """Raises DataError where there are such shards that nothing is known of."""
    names = names_at(target) if is_url(target) else sorted(os.listdir(target)) if os.path.isdir(target) else []
    found = [each for each in names if _of(name).fullmatch(each) or each == CATALOGUE]
    if found:
        raise DataError(f"{target}: has {found[0]} already, which is not of this pack: choose another folder or name=, or give "
                        "overwrite=true to remove it")


def same(about: dict[str, Any], settings: Settings, units: Sequence[Any]) -> str:
    """In what a plan differs from what is asked now, "" in nothing."""
    before, now = Settings(**about["settings"]).of_result(), settings.of_result()
    changed = [f"{key}={before[key]} before, {now[key]} now" for key in now if before[key] != now[key]]
    if changed:
        return ", ".join(changed)
    if about["units"] != [to_dict(unit) for unit in units]:
        return f"another source: {len(about['units'])} files or folders before, {len(units)} now"
    return ""


def clear(target: str, folder: Path, names: set[str]) -> None:
    """Remove what packs left: first the catalogue, then shards of these names and their indexes, then the plan."""
    if is_url(target):
        system, inside = filesystem(target)
        there = names_at(target)
        for each in sorted(there, key=lambda each: each != CATALOGUE):
            if each in (CATALOGUE, REFUSED, CLASSES) or any(_of(name).fullmatch(each) for name in names):
                system.rm_file(f"{inside.rstrip('/')}/{each}")
    elif os.path.isdir(target):
        for each in sorted(os.listdir(target), key=lambda each: each != CATALOGUE):
            if each in (CATALOGUE, REFUSED, CLASSES) or any(_of(name).fullmatch(each) for name in names):
                (Path(target) / each).unlink()
    tidy(folder, everything=True)


def tidy(folder: Path, everything: bool = False) -> None:
    """Remove what only a pack under way needs; the lock stays, and the plan unless everything is to go."""
    for each in list(folder.iterdir()):
        if each.is_dir():
            shutil.rmtree(each, ignore_errors=True)
        elif each.name != "lock" and (everything or each.name != PLAN):
            each.unlink(missing_ok=True)


def remove_temporary(*folders: Path) -> None:
    """Files that a killed pack left under their temporary names."""
    for folder in folders:
        if folder.is_dir():
            for name in os.listdir(folder):
                if _TEMPORARY.fullmatch(name):
                    (folder / name).unlink(missing_ok=True)


def _of(name: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(name)}-\d{{6,}}\.tar({re.escape(INDEX_SUFFIX)})?")
