"""Tables of Hugging Face's `datasets`: the image column's encoded bytes, or files, and a column of labels."""

from __future__ import annotations

from typing import Any

from ...faults import BadSample, DataError
from .items import LABELS, whole
from .listed import Listed


def one_split(data: Any) -> Any:
    """Raises DataError for several splits, and for a table that is streamed."""
    if hasattr(data, "keys") and not hasattr(data, "features"):
        raise DataError(f"data: splits {', '.join(data.keys())}: give one of them, as in data['{next(iter(data.keys()))}']")
    if not hasattr(data, "__len__"):
        from . import PACK

        raise DataError("data: a streamed table can only be gone through from its beginning: load it with streaming=False, or "
                        + PACK)
    return data


class TableSource(Listed):
    """Rows of a datasets.Dataset, whose images are not decoded by it. Read by many threads; pickles as its files do.
    Raises DataError for a table without an image column, with several, or with a transform of its own."""

    what = "table"

    def __init__(self, table: Any) -> None:
        from datasets import Image

        if table.format["type"] == "custom":
            raise DataError("data: this table has a transform of its own, and the recipe makes the views: table.reset_format()")
        table = table.with_format(None)
        images = [name for name, kind in table.features.items() if isinstance(kind, Image)]
        if len(images) != 1:
            found = ", ".join(f"{name} ({type(kind).__name__})" for name, kind in table.features.items())
            raise DataError(f"data: needs one column of images, found {len(images)} among {found}: "
                            "table.cast_column(NAME, datasets.Image()), or table.select_columns([...])")
        if not len(table):
            raise DataError("data: a table without a row")
        label = next((name for name in LABELS if name in table.features), None)
        said = [None] * len(table) if label is None else map(whole, table[label])
        self._column = images[0]
        self._rows = table.select_columns(images).cast_column(images[0], Image(decode=False))
        self._settle([-1 if each is None else each for each in said])

    def read(self, index: int) -> bytes:
        row = self._rows[index][self._column]
        if row is None or (row.get("bytes") is None and not row.get("path")):
            raise BadSample("its row has no image")
        if row.get("bytes") is not None:
            return row["bytes"]
        try:
            with open(row["path"], "rb") as file:
                return file.read()
        except OSError as error:
            raise BadSample(f"cannot be read ({error.strerror})") from error
