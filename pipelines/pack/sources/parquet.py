"""Parquet files with encoded images: a column of bytes, or of {"bytes", "path"} as Hugging Face writes them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ...faults import DataError
from ...index import EXTENSIONS
from ..listing import Listing, Rows, as_json, rows_of
from ..members import length
from ..reencode import extension_of
from ..sample import Refused, Sample, UnsafeName, key_from_path
from ..settings import Settings
from .columns import IMAGES, KEYS, LABELS, column
from .opened import file_state, open_file

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_AT_ONCE = 128
"""Rows that are decoded at a time."""


class _Columns(NamedTuple):
    image: str
    struct: bool
    label: str | None
    key: str | None
    about: list[str]
    class_names: list[str]


def _library() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise DataError("Parquet is read by pyarrow, which is not installed: pip install 'viewmill[parquet]'") from None
    return pyarrow.parquet


@dataclass(frozen=True)
class ParquetUnit:
    """path: local, or a URL. A row's text is JSON, [key, label]."""

    kind: ClassVar[str] = "parquet"
    by_block: ClassVar[bool] = True
    in_order: ClassVar[bool] = False
    path: str

    def name(self) -> str:
        return self.path

    def state(self) -> str:
        return file_state(self.path)

    def class_names(self, settings: Settings) -> set[str]:
        pq = _library()
        with open_file(self.path) as raw, self._open(pq, raw) as file:
            names = self._columns(file, settings)
            if names.label is None or names.class_names or not self._by_name(file, names.label):
                return set()
            found: set[str] = set()
            for batch in file.iter_batches(1 << 16, columns=[names.label]):
                found |= set(batch.column(0).unique().to_pylist())
        return {str(name) for name in found if name is not None}

    def numbered(self, settings: Settings) -> list[str]:
        """The names of classes that the file numbers itself (Hugging Face's ClassLabel)."""
        pq = _library()
        with open_file(self.path) as raw, self._open(pq, raw) as file:
            return self._columns(file, settings).class_names

    def listed(self, settings: Settings, classes: dict[str, int], folder: Path) -> Listing:
        pq, rows, stem = _library(), Rows(), Path(self.path).stem
        with open_file(self.path) as raw, self._open(pq, raw) as file:
            names = self._columns(file, settings)
            by_name = names.label is not None and self._by_name(file, names.label)
            image = file.schema_arrow.get_field_index(names.image)
            at = 0
            for group in range(file.num_row_groups):
                count, mean = file.metadata.row_group(group).num_rows, _mean_bytes(file.metadata.row_group(group), names.image)
                wanted = [name for name in (names.label, names.key) if name]
                wanted += [f"{names.image}.path"] * (names.struct and "path" in _children(file.schema_arrow.field(image).type))
                table = file.read_row_group(group, columns=wanted) if wanted else None
                keys = table[names.key].to_pylist() if table is not None and names.key else None
                labels = table[names.label].to_pylist() if table is not None and names.label else None
                paths = [(each or {}).get("path") for each in table[names.image].to_pylist()] if (
                    table is not None and names.image in table.column_names) else None
                for i in range(count):
                    place = at + i
                    name = str(keys[i]) if keys and keys[i] is not None else None
                    if name is None:
                        name = (paths[i] or "").replace("\\", "/").rpartition("/")[2] if paths else ""
                    try:
                        key = key_from_path(name or f"{stem}-{place:06d}", frozenset() if keys else EXTENSIONS)
                    except UnsafeName as error:
                        rows.refuse(self.path, name, str(error))
                        continue
                    label = -1 if labels is None else _label(labels[i], classes if by_name else None)
                    rows.add(place, group, length(len(key) + 5, mean) + length(len(key) + 5, 1), key, json.dumps([key, label]))
                at += count
        return rows.listing(self.state())

    def key(self, listing: Listing, row: int) -> str:
        return json.loads(listing.text(row))[0]

    def blocks(self, listing: Listing) -> np.ndarray:
        return np.unique(listing.table["span"], return_counts=True)[1].astype(np.int64)

    def read(self, listing: Listing, rows: np.ndarray, settings: Settings) -> Iterator[tuple[int, Sample | Refused]]:
        if listing.state != self.state():
            raise DataError(f"{self.path}: has changed since it was listed: let nothing write to the source, and give "
                            "overwrite=true to begin anew")
        pq = _library()
        by_group: dict[int, dict[int, tuple[int, int]]] = {}
        for which, (row, place, group) in enumerate(rows_of(listing, rows)):
            by_group.setdefault(group, {})[place] = (which, row)
        with open_file(self.path) as raw, self._open(pq, raw) as file:
            names = self._columns(file, settings)
            starts = np.cumsum([0, *(file.metadata.row_group(g).num_rows for g in range(file.num_row_groups))]).tolist()
            for group, wanted in by_group.items():
                at = starts[group]
                for batch in file.iter_batches(_AT_ONCE, row_groups=[group], columns=[names.image, *names.about]):
                    chosen = [place for place in range(at, at + batch.num_rows) if place in wanted]
                    at += batch.num_rows
                    if chosen:
                        picked = batch.take([place - (at - batch.num_rows) for place in chosen])
                        for place, row in zip(chosen, picked.to_pylist(), strict=True):
                            which, listed = wanted[place]
                            key, label = json.loads(listing.text(listed))
                            yield which, self._sample(key, label, place, row, names)

    def _sample(self, key: str, label: int, place: int, row: dict[str, Any], names: _Columns) -> Sample | Refused:
        image = row[names.image]
        data = (image or {}).get("bytes") if names.struct else image
        if data is None:
            return Refused(self.path, key, "no image bytes in its row")
        others = [("cls", str(label).encode())] if label >= 0 else []
        about = {name: plain(row[name]) for name in names.about if row[name] is not None}
        if about:
            others.append(("json", as_json(about).encode("utf-8", "replace")))
        return Sample(key, f"{self.path}: row {place}", extension_of(data), data, tuple(others))

    def _open(self, pq: Any, raw: Any) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(raw)
        except Exception as error:  # pyarrow raises several kinds of its own
            raise DataError(f"{self.path}: cannot be read as Parquet ({' '.join(str(error).split())}): make it again") from error

    def _columns(self, file: pq.ParquetFile, settings: Settings) -> _Columns:
        schema = file.schema_arrow
        images = [field.name for field in schema if _holds_images(field.type)]
        if settings.image and settings.image in schema.names and settings.image not in images:
            raise DataError(f"{self.path}: column {settings.image!r} has {schema.field(settings.image).type}, not bytes of "
                            f"images (or a struct with bytes); {', '.join(images) or 'no column'} does")
        usual = IMAGES if len(images) != 1 else (images[0].lower(),)
        if not images:
            raise DataError(f"{self.path}: no column has bytes (or a struct with bytes) among {', '.join(schema.names)}")
        image = column(self.path, "image", settings.image, images if not settings.image else schema.names, usual)
        assert image is not None
        rest = [name for name in schema.names if name not in images]
        label = column(self.path, "label", settings.label, rest, LABELS, needed=False)
        key = column(self.path, "key", settings.key, rest, ("key", "__key__") if not settings.key else KEYS, needed=False)
        about = [name for name in rest if name not in (label, key) and not _has_bytes(schema.field(name).type)]
        return _Columns(image, bool(_children(schema.field(image).type)), label, key, about,
                        _class_names(schema.metadata or {}, label))

    def _by_name(self, file: pq.ParquetFile, label: str) -> bool:
        import pyarrow.types as types

        kind = file.schema_arrow.field(label).type
        if types.is_dictionary(kind):
            kind = kind.value_type
        if types.is_integer(kind):
            return False
        if types.is_string(kind) or types.is_large_string(kind):
            return True
        raise DataError(f"{self.path}: column {label!r} has {kind}, not whole numbers or names: give label=COLUMN")


def plain(value: Any) -> Any:
    """As JSON can hold it."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool) or value is None else str(value)


def _label(value: Any, classes: dict[str, int] | None) -> int:
    if value is None:
        return -1
    return classes[str(value)] if classes is not None else max(-1, int(value))


def _children(kind: pa.DataType) -> list[str]:
    import pyarrow.types as types

    return [kind.field(i).name for i in range(kind.num_fields)] if types.is_struct(kind) else []


def _has_bytes(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return True
    return any(_has_bytes(kind.field(i).type) for i in range(kind.num_fields)) if kind.num_fields else False


def _holds_images(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    if "bytes" in _children(kind):
        kind = kind.field("bytes").type
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _class_names(metadata: dict[bytes, bytes], label: str | None) -> list[str]:
    try:
        feature = json.loads(metadata[b"huggingface"])["info"]["features"][label]
        return [str(name) for name in feature["names"]] if feature.get("_type") == "ClassLabel" else []
    except (KeyError, ValueError, TypeError, AttributeError):
        return []


def _mean_bytes(group: Any, image: str) -> int:
    """Of an image, uncompressed."""
    total = sum(group.column(i).total_uncompressed_size for i in range(group.num_columns)
                if group.column(i).path_in_schema.split(".")[0] == image)
    return -(-total // max(1, group.num_rows))
