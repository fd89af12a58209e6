"""Members of a tar as bytes: equal samples give equal bytes, on any machine."""

from __future__ import annotations

import tarfile

from .sample import Sample

BLOCK = 512
END = bytes(2 * BLOCK)
RECORD = 20 * BLOCK
"""A tar is a multiple of it, with its end mark."""


def packed(sample: Sample) -> bytes:
    """The image, then the other members, each with its header and padding. Names over 100 bytes have GNU's long headers."""
    parts = [member(f"{sample.key}.{sample.extension}", sample.image)]
    parts += [member(f"{sample.key}.{extension}", data) for extension, data in sample.others]
    return b"".join(parts)


def member(name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), 0o644, 0
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + data + bytes(-len(data) % BLOCK)


def length(name_bytes: int, data_bytes: int) -> int:
    """How long `member` is for a name and data of such lengths."""
    long = BLOCK + -(-(name_bytes + 1) // BLOCK) * BLOCK if name_bytes > tarfile.LENGTH_NAME else 0
    return long + BLOCK + -(-data_bytes // BLOCK) * BLOCK
