"""Sealed files: what goes in comes out, and no changed byte goes unseen."""

from __future__ import annotations

import mmap
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from viewmill.pipelines.sealed import seal, unseal

TABLE = np.array([(1, 2.5), (3, -4.0)], [("a", "<i8"), ("b", "<f4")])


def test_header_and_arrays_come_back() -> None:
    header, arrays = unseal("thing", seal("thing", {"n": 1, "ä": [None, "x"]}, {"t": TABLE, "e": np.zeros(0, np.uint8)}))
    assert header == {"n": 1, "ä": [None, "x"]} and list(arrays) == ["t", "e"]
    assert arrays["t"].dtype == TABLE.dtype and arrays["t"].tolist() == [(1, 2.5), (3, -4.0)] and len(arrays["e"]) == 0


def test_arrays_are_views_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(seal("thing", {}, {"t": np.arange(1000)}))
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    array = unseal("thing", mapped)[1]["t"]
    assert array.tolist() == list(range(1000)) and array.base is not None and array.ctypes.data % 64 == 0
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_any_flipped_bit_is_seen(at: int, bit: int) -> None:
    data = bytearray(seal("thing", {"n": 1}, {"t": TABLE}))
    data[at % len(data)] ^= 1 << bit
    try:
        header, arrays = unseal("thing", bytes(data))
    except ValueError:
        return
    assert at % len(data) < 64 and header == {"n": 1} and arrays["t"].tolist() == TABLE.tolist()  # a blank of the first line


@pytest.mark.parametrize(("data", "message"), [
    (b"", "not a viewmill thing"), (b"x" * 200, "not a viewmill thing"), (pickle.dumps({"a": 1}), "not a viewmill thing"),
    (seal("other", {}, {}), "a viewmill other, not a thing"), (seal("thing", {}, {"t": TABLE})[:-1], "cut short or overlong"),
    (seal("thing", {}, {"t": TABLE}) + b"x", "cut short or overlong"),
])
def test_anything_else_is_refused_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unseal("thing", data)


def test_objects_are_neither_kept_nor_made() -> None:
    data = seal("thing", {}, {"t": np.arange(4)}).replace(b'"<i8"', b'"|O" ')
    with pytest.raises(ValueError, match="damaged"):
        unseal("thing", data)
    with pytest.raises(ValueError, match="header cannot be read"):
        unseal("thing", data, trusted=True)
