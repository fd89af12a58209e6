"""What a user may say about shards behind URLs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .patience import Patience


@dataclass(frozen=True)
class Remote:
    """How remote shards are had.

    cache: the folder that holds what was fetched, for all processes of this host and for the next run; default: "shards" in the
    user's cache folder. cache_bytes: how much it may hold; default: half of what is free there. connections: transfers ahead of
    need at one time, of each rank. storage_options: for fsspec's file system, as pandas and dask have them; credentials are
    better left to the environment, since a run writes down its configuration. catalogue: a local folder that has the catalogue
    and the indexes, where they do not lie beside the shards. attempts: tries in a row that bring nothing, before it is an
    error. timeout_s: seconds without a byte. Raises ValueError for numbers out of range.
    """

    cache: str | Path | None = None
    cache_bytes: int | None = None
    connections: int = 8
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    catalogue: str | Path | None = None
    attempts: int = Patience.attempts
    timeout_s: float = Patience.timeout_s

    def __post_init__(self) -> None:
        for name in ("cache_bytes", "connections", "attempts"):
            value = getattr(self, name)
            if value is None and name == "cache_bytes":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"remote.{name} needs a whole number >= 1, got {value!r}")
        if not self.timeout_s > 0:
            raise ValueError(f"remote.timeout_s needs a number above 0, got {self.timeout_s!r}")
        if not isinstance(self.storage_options, Mapping):
            raise ValueError(f"remote.storage_options needs names and values, got {self.storage_options!r}")

    @property
    def patience(self) -> Patience:
        return Patience(attempts=self.attempts, timeout_s=self.timeout_s, connect_s=min(Patience.connect_s, self.timeout_s))
