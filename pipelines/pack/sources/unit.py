"""The face of all sources: units that are listed and read by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from ..listing import Listing
from ..sample import Refused, Sample
from ..settings import Settings


class Unit(Protocol):
    """A frozen dataclass of JSON-able fields: workers make it anew from them.

    by_block: samples are read in blocks, so that one alone costs as much as its block. in_order: `read` gives samples in the
    order asked for, one after another, without holding others meanwhile.
    """

    kind: ClassVar[str]
    by_block: ClassVar[bool]
    in_order: ClassVar[bool]

    def name(self) -> str:
        """As reports name it."""
        ...

    def state(self) -> str:
        """Changes where the unit's content does, as far as that shows without reading it all. Raises DataError, OSError."""
        ...

    def class_names(self, settings: Settings) -> set[str]:
        """Labels that are names, not numbers."""
        ...

    def listed(self, settings: Settings, classes: dict[str, int], folder: Path) -> Listing:
        """All samples. classes: a number for each name; folder: for files that the unit needs later. Raises DataError."""
        ...

    def read(self, listing: Listing, rows: np.ndarray, settings: Settings) -> Iterator[tuple[int, Sample | Refused]]:
        """(which of rows, its sample), each once, with keys as they are in the source. Raises DataError."""
        ...

    def key(self, listing: Listing, row: int) -> str:
        """As it is in the source."""
        ...

    def blocks(self, listing: Listing) -> np.ndarray:
        """Samples of its blocks, in the order of rows."""
        ...


def to_dict(unit: Any) -> dict[str, Any]:
    return {"kind": unit.kind, **asdict(unit)}
