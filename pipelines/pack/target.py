"""Where shards go: a local folder, or a URL of fsspec."""

from __future__ import annotations

from pathlib import Path

from .sources.opened import filesystem
from .sources.remote import patient


def upload(file: Path, target: str, name: str) -> None:
    """Put one local file beside the others, again where that fails. Raises DataError after the last try."""
    url = f"{target.rstrip('/')}/{name}"
    system, path = filesystem(url)

    def put() -> None:
        system.makedirs(system._parent(path), exist_ok=True)
        system.put_file(str(file), path)
        if system.size(path) != file.stat().st_size:
            raise OSError("its length is another after the upload")

    patient(url, put)


def there(target: str, name: str) -> int:
    """Its length in bytes, -1 where there is none."""
    system, path = filesystem(f"{target.rstrip('/')}/{name}")
    try:
        return int(system.size(path))
    except FileNotFoundError:
        return -1


def names_at(target: str) -> list[str]:
    """File names in it; none where it is not there."""
    system, path = filesystem(target)
    try:
        return sorted(each.rpartition("/")[2] for each in system.ls(path, detail=False))
    except FileNotFoundError:
        return []
