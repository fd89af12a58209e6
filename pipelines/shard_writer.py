"""Write one WebDataset shard: a plain tar, complete or not there at all."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path


def write_shard(path: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> int:
    """Write samples, (key, {extension: bytes}), in order; return how many. Equal samples give equal bytes.

    The tar has a temporary name until it is whole, so a killed writer leaves no shard behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    count = 0
    try:
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
            for key, files in samples:
                for extension, data in files.items():
                    member = tarfile.TarInfo(f"{key}.{extension}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                count += 1
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return count
