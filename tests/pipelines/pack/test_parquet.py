"""Parquet: columns found or given, read by row groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from viewmill.pipelines.faults import DataError

from ..shards import encoded, picture
from .packed import members, packed, sums

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def parquet(path: Path, columns: dict[str, Any], rows_per_group: int = 4, metadata: dict[str, str] | None = None) -> Path:
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=rows_per_group)
    return path


def images(count: int) -> list[bytes]:
    return [encoded(picture(4 + i % 3, 5, i)) for i in range(count)]


def test_bytes_labels_and_further_columns(tmp_path: Path) -> None:
    data = images(10)
    data[3] = encoded(picture(4, 4), "PNG")
    packed(parquet(tmp_path / "x.parquet", {"img": data, "label": list(range(10)), "text": [f"ü{i}" for i in range(10)],
                                            "score": [0.5, None, float("nan")] + [1.0] * 7}), tmp_path / "out")
    found = members(tmp_path / "out")
    for i in range(10):
        assert found[f"x-{i:06d}.{'png' if i == 3 else 'jpg'}"] == data[i] and found[f"x-{i:06d}.cls"] == str(i).encode()
    assert json.loads(found["x-000000.json"]) == {"text": "ü0", "score": 0.5}
    assert json.loads(found["x-000001.json"]) == {"text": "ü1"}
    assert json.loads(found["x-000002.json"]) == {"text": "ü2", "score": None}


def test_as_hugging_face_writes_it(tmp_path: Path) -> None:
    data = images(4)
    paths = ["a.jpg", "/home/x/b.v1.png", None, "a.jpg"]
    column = [{"bytes": each, "path": path} for each, path in zip(data, paths, strict=True)]
    features = {"info": {"features": {"image": {"_type": "Image"}, "fine": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    column[1]["bytes"] = None
    summary = packed(parquet(tmp_path / "x.parquet", {"image": column, "fine": [1, 0, 1, None]}, metadata={
        "huggingface": json.dumps(features)}), tmp_path / "out", label="fine")
    assert members(tmp_path / "out") == {"a.jpg": data[0], "a.cls": b"1", "x-000002.jpg": data[2], "x-000002.cls": b"1",
                                         "a_2.jpg": data[3]}
    assert json.loads((tmp_path / "out" / "classes.json").read_text()) == ["cat", "dog"]
    assert list(summary.refused) == ["no image bytes in its row"]


def test_named_labels_and_keys(tmp_path: Path) -> None:
    packed(parquet(tmp_path / "x.parquet", {"content": images(3), "kind": ["b", "a", "b"], "id": ["r/1", "../2", "r/3.x"]}),
           tmp_path / "out", label="kind", key="id")
    assert {name: data for name, data in members(tmp_path / "out").items() if name.endswith("cls")} == {
        "r/1.cls": b"1", "r/3_x.cls": b"1"}


def test_shuffled_within_row_groups_it_is_complete_and_the_same_for_all_workers(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", {"image": images(60), "label": list(range(60))}, 5)
    for name, options in (("a", {}), ("b", {"workers": 2}), ("c", {"duplicates": "drop"}), ("d", {"shuffle": False})):
        packed(path, tmp_path / name, shard_samples=7, **options)
    assert sums(tmp_path / "a") == sums(tmp_path / "b") == sums(tmp_path / "c") != sums(tmp_path / "d")
    found = members(tmp_path / "a")
    assert found == members(tmp_path / "d") and len(found) == 120
    order = [int(name[2:8]) for name in found if name.endswith("jpg")]
    assert order != sorted(order)


@pytest.mark.parametrize(("columns", "options", "said"), [
    ({"label": [1]}, {}, "no column has bytes"), ({"a": [b"x"], "b": [b"y"]}, {}, "which column has the images"),
    ({"image": [b"x"], "n": [1]}, {"image": "n"}, "not bytes of images"),
    ({"image": [b"x"]}, {"label": "nope"}, "no column 'nope'"),
    ({"image": [b"x"], "label": [0.5]}, {}, "not whole numbers or names"),
])
def test_mistakes(tmp_path: Path, columns: dict[str, Any], options: dict[str, str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        packed(parquet(tmp_path / "x.parquet", columns), tmp_path / "out", **options)


def test_what_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match=r"x.parquet: cannot be read as Parquet"):
        packed(tmp_path / "x.parquet", tmp_path / "out")
