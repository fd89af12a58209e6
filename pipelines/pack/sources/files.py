"""Images that are files of their own: folders, and tables (CSV, TSV) of paths."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...faults import DataError
from ...index import EXTENSIONS
from ...sources.folder import classes_of, images_below
from ..listing import Listing, Rows, as_json
from ..members import length
from ..sample import Refused, Sample, UnsafeName, key_from_path
from ..settings import Settings
from .columns import IMAGES, KEYS, LABELS, column

_WHOLE = re.compile(r"\+?\d{1,18}", re.ASCII)


class _Files:
    """A row's text is JSON: "path" below `root`, "key", "label" (-1 for none), "about" (metadata)."""

    by_block: ClassVar[bool] = False
    in_order: ClassVar[bool] = True

    def root(self) -> Path:
        raise NotImplementedError

    def name(self) -> str:
        raise NotImplementedError

    def key(self, listing: Listing, row: int) -> str:
        return json.loads(listing.text(row))["key"]

    def blocks(self, listing: Listing) -> np.ndarray:
        full, rest = divmod(len(listing), 1024)
        return np.array([1024] * full + [rest] * (rest > 0), np.int64)

    def read(self, listing: Listing, rows: np.ndarray, settings: Settings) -> Iterator[tuple[int, Sample | Refused]]:
        root = self.root()
        for which, row in enumerate(rows.tolist()):
            about = json.loads(listing.text(row))
            try:
                data = (root / about["path"]).read_bytes()
            except OSError as error:
                yield which, Refused(self.name(), about["key"], f"cannot be read ({error.strerror})")
                continue
            others = []
            if about["label"] >= 0:
                others.append(("cls", str(about["label"]).encode()))
            if about.get("about"):
                others.append(("json", as_json(about["about"]).encode()))
            extension = about["path"].rpartition(".")[2].lower()
            yield which, Sample(about["key"], str(root / about["path"]), extension if extension in EXTENSIONS else "jpg", data,
                                tuple(others))


def _add(rows: Rows, shard: str, root: Path, path: str, key: str | None, label: int, about: dict[str, Any]) -> str:
    """A row, or its refusal; what the file's state is."""
    try:
        key = key_from_path(path if key is None else key, EXTENSIONS if key is None else frozenset())
    except UnsafeName as error:
        rows.refuse(shard, path, str(error))
        return f"{path}\0refused\n"
    try:
        bytes_there = (root / path).stat().st_size
    except (OSError, ValueError) as error:
        rows.refuse(shard, key, f"cannot be read ({getattr(error, 'strerror', None) or 'not a path'})")
        return f"{path}\0missing\n"
    text = {"path": path, "key": key, "label": label, **({"about": about} if about else {})}
    name_bytes = len(key.encode("utf-8", "surrogateescape")) + 5
    size = length(name_bytes, bytes_there) + (length(name_bytes, 1) if label >= 0 else 0)
    if about:
        size += length(name_bytes, len(as_json(about).encode("utf-8", "surrogateescape")))
    rows.add(0, 0, size, key, json.dumps(text))
    return f"{path}\0{bytes_there}\n"


@dataclass(frozen=True)
class FolderUnit(_Files):
    """All images below a folder, by name; its own folders are the classes."""

    kind: ClassVar[str] = "folder"
    folder: str

    def root(self) -> Path:
        return Path(self.folder)

    def name(self) -> str:
        return self.folder

    def class_names(self, settings: Settings) -> set[str]:
        return {_plain(name) for name in classes_of(self.root())}

    def state(self) -> str:
        digest = blake2b(digest_size=16)
        for path in sorted(images_below(self.root())):
            digest.update(f"{path}\0{_bytes_of(self.root() / path)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def listed(self, settings: Settings, classes: dict[str, int], folder: Path) -> Listing:
        rows, digest, own = Rows(), blake2b(digest_size=16), set(classes_of(self.root()))
        for path in sorted(images_below(self.root())):
            top = path.partition("/")[0] if "/" in path else ""
            label = classes[_plain(top)] if top in own else -1
            state = _add(rows, self.name(), self.root(), path, None, label, {})
            digest.update(state.encode("utf-8", "surrogateescape"))
        if not len(rows):
            raise DataError(f"{self.folder}: no images in this folder or below: images are files named .jpg (or "
                            f"{', '.join(sorted(EXTENSIONS - {'jpg'}))})")
        return rows.listing(digest.hexdigest())


@dataclass(frozen=True)
class TableUnit(_Files):
    """A CSV or TSV: paths relative to its folder, labels, and further columns as metadata. Its first line names the columns,
    unless a path stands there already."""

    kind: ClassVar[str] = "table"
    path: str

    def root(self) -> Path:
        return Path(self.path).absolute().parent

    def name(self) -> str:
        return self.path

    def state(self) -> str:
        return blake2b(Path(self.path).read_bytes(), digest_size=16).hexdigest()

    def class_names(self, settings: Settings) -> set[str]:
        labels = {label for _, _, label, _ in self._rows(settings) if label}
        return set() if all(map(_WHOLE.fullmatch, labels)) else labels

    def listed(self, settings: Settings, classes: dict[str, int], folder: Path) -> Listing:
        rows, names = Rows(), self.class_names(settings)
        for path, key, label, about in self._rows(settings):
            number = classes[label] if label in names else int(label) if label else -1
            _add(rows, self.name(), self.root(), path, key, number, about)
        return rows.listing(self.state())

    def _rows(self, settings: Settings) -> Iterator[tuple[str, str | None, str, dict[str, Any]]]:
        """(path, key or None, label or "", metadata)."""
        try:
            text = Path(self.path).read_text("utf-8-sig", errors="surrogateescape")
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror}): check the path") from error
        lines = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if self.path.lower().endswith(".tsv") else ",")
        try:
            head = next(lines, [])
            names, first = self._columns(head)
            image = column(self.path, "image", settings.image, names, IMAGES)
            label = column(self.path, "label", settings.label, names, LABELS, needed=False)
            key = column(self.path, "key", settings.key, names, KEYS if settings.key else (), needed=False)
            used = {image, label, key}
            for cells in ([head] if first else []) + list(lines):
                if not any(cells):
                    continue
                cells += [""] * (len(names) - len(cells))
                if len(cells) > len(names):
                    raise DataError(f"{self.path}: line {lines.line_num}: {len(cells)} cells in {len(names)} columns: quote "
                                    "cells that have the separator in them")
                row = dict(zip(names, cells, strict=True))
                about = {name: row[name] for name in names if name not in used and row[name] != ""}
                yield row[image or ""], row[key] if key else None, row[label].strip() if label else "", about
        except csv.Error as error:
            raise DataError(f"{self.path}: line {lines.line_num}: not a table ({error})") from error

    def _columns(self, head: list[str]) -> tuple[list[str], bool]:
        """(names, whether the first line is a row already)."""
        if any(os.path.splitext(cell)[1].lower().removeprefix(".") in EXTENSIONS for cell in head):
            return ["path", "label", *(f"column{i}" for i in range(3, len(head) + 1))][:len(head)], True
        if not head:
            raise DataError(f"{self.path}: an empty table: give a line of column names and one line for each image")
        if len(set(head)) < len(head):
            raise DataError(f"{self.path}: two columns of one name among {', '.join(head)}: rename one")
        return head, False


def _bytes_of(path: Path) -> str:
    try:
        return str(path.stat().st_size)
    except OSError:
        return "missing"


def _plain(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
