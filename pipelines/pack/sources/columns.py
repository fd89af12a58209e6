"""Which column of a table is meant."""

from __future__ import annotations

from collections.abc import Sequence

from ....augment.op import nearest
from ...faults import DataError

IMAGES = ("image", "img", "path", "image_path", "img_path", "file", "filename", "file_name", "filepath", "file_path", "jpg",
          "image_bytes", "bytes", "content", "data")
LABELS = ("label", "labels", "class", "class_id", "class_name", "cls", "target", "category", "fine_label")
KEYS = ("key", "__key__", "id", "image_id", "name", "uid", "uuid")


def column(where: str, role: str, given: str, names: Sequence[str], usual: Sequence[str], *, needed: bool = True) -> str | None:
    """The column given, else the first of the usual names, in any case. Raises DataError."""
    if given:
        if given not in names:
            raise DataError(f"{where}: there is no column {given!r} for {role}=; {nearest(given, list(names))}")
        return given
    lower = {name.lower(): name for name in reversed(names)}
    found = next((lower[name] for name in usual if name in lower), None)
    if found is None and needed:
        raise DataError(f"{where}: which column has the images? Give {role}=COLUMN, one of {', '.join(names)}")
    return found
