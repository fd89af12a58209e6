"""Keys of the command: read, checked, explained."""

from __future__ import annotations

from dataclasses import fields

import pytest
from viewmill.pipelines.pack import Settings, manual, settings_of
from viewmill.pipelines.pack.settings import FLAGS, bytes_of


@pytest.mark.parametrize(("text", "count"), [("1000", 1000), ("1k", 1000), ("256MiB", 256 << 20), ("1.5 GB", 1_500_000_000),
                                             ("2gi", 2 << 30)])
def test_bytes(text: str, count: int) -> None:
    assert bytes_of(text) == count


def test_values_are_read_by_the_type_of_their_default() -> None:
    found = settings_of({"shard_bytes": "1MiB", "shortest": "256", "quality": "80", "shuffle": "False", "duplicates": "drop"})
    assert found == Settings(shard_bytes=1 << 20, shortest=256, quality=80, shuffle=False, duplicates="drop")


@pytest.mark.parametrize(("words", "said"), [
    ({"shard_byte": "1"}, "did you mean 'shard_bytes'?"), ({"shortest": "x"}, "shortest needs a whole number"),
    ({"quality": "0", "shortest": "9"}, "quality needs 1 to 100, got 0"), ({"quality": "90"}, "alone changes nothing"),
    ({"shortest": "1", "longest": "1"}, "give one of them"), ({"verify": "decod"}, "did you mean 'decode'?"),
    ({"orient": "yes"}, "orient needs true or false"), ({"name": "../x"}, "name needs letters"),
    ({"shard_bytes": "big"}, "256MiB"),
    ({"workers": "-1"}, "workers needs"), ({"seed": str(2**64)}, "seed needs"), ({"duplicates": "x"}, "duplicates needs"),
])
def test_mistakes(words: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        settings_of(words)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_the_manual_has_every_key_and_flag() -> None:
    text = manual()
    assert all(f"  {each.name}=" in text for each in fields(Settings)) and all(flag in text for flag in FLAGS)
    assert max(map(len, text.splitlines())) <= 135
