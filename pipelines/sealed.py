"""Files of arrays that say what they are and whether they are whole: a JSON header, then arrays, under a checksum.

Read without a copy, also from a memory map; nothing in them is ever executed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from mmap import mmap
from typing import Any, TypeAlias

import numpy as np

Buffer: TypeAlias = bytes | memoryview | mmap

_MAGIC = b"viewmill/"
_LINE = 64
"""Bytes: of the first line, and what arrays are aligned to."""


def seal(kind: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """kind: a short word. header: JSON. arrays: one-dimensional, of any data type without objects."""
    places, body, at = {}, [], 0
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).tobytes()
        kept = array.dtype.descr if array.dtype.names else array.dtype.str
        places[name] = {"at": at, "count": len(array), "dtype": kept}
        padding = -len(data) % _LINE
        body += [data, bytes(padding)]
        at += len(data) + padding
    text = json.dumps({"header": dict(header), "arrays": places}, ensure_ascii=True).encode()
    text += b" " * (-len(text) % _LINE)
    whole = b"".join([text, *body])
    first = _MAGIC + f"{kind} {len(text)} {len(whole)} ".encode()
    return (first + b"%08x" % zlib.crc32(whole, zlib.crc32(first))).ljust(_LINE - 1) + b"\n" + whole


def unseal(kind: str, buffer: Buffer, trusted: bool = False) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header, and the arrays as read-only views of buffer. Raises ValueError, saying why, for anything that `seal` did not
    make of this kind, and for a single changed byte; trusted: where that has been looked at before."""
    view = memoryview(buffer)
    first = bytes(view[:_LINE])
    words = first.removeprefix(_MAGIC).decode("ascii", "replace").split()
    if not first.startswith(_MAGIC) or len(words) != 4:
        raise ValueError(f"not a viewmill {kind}")
    if words[0] != kind:
        raise ValueError(f"a viewmill {words[0]}, not a {kind}")
    try:
        text_bytes, whole_bytes, checksum = int(words[1]), int(words[2]), int(words[3], 16)
    except ValueError:
        raise ValueError(f"not a viewmill {kind}") from None
    whole = view[_LINE:]
    if len(whole) != whole_bytes or not 0 <= text_bytes <= whole_bytes:
        raise ValueError(f"cut short or overlong: {len(view)} bytes, not {_LINE + whole_bytes}")
    sizes = _MAGIC + f"{kind} {text_bytes} {whole_bytes} ".encode()
    if not trusted and zlib.crc32(whole, zlib.crc32(sizes)) != checksum:
        raise ValueError("damaged: its checksum does not fit")
    try:
        about = json.loads(bytes(whole[:text_bytes]))
        arrays = {name: _array(whole[text_bytes:], **place) for name, place in about["arrays"].items()}
        return dict(about["header"]), arrays
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"damaged: its header cannot be read ({type(error).__name__})") from None


def _array(body: memoryview, at: int, count: int, dtype: Any) -> np.ndarray:
    kind = np.dtype([tuple(field) for field in dtype] if isinstance(dtype, list) else dtype)
    if kind.hasobject:
        raise ValueError("objects")
    array = np.frombuffer(body, kind, count, at) if count else np.zeros(0, kind)
    array.flags.writeable = False
    return array
