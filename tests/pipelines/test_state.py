"""The saved position of a stream: small JSON, strict when read, and the steps that follow from it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from viewmill.pipelines.state import StateError, StreamState, step_positions

STATE = StreamState(epoch=3, delivered=512, length=49_920, seed=2**64 - 1, shuffle="lanes", lanes=256, window=16,
                    recipe="a" * 32, draw_version=1, fingerprint="b" * 32)


def test_survives_json_and_is_small() -> None:
    text = json.dumps(STATE.to_dict())
    assert len(text) < 1000
    assert StreamState.from_dict(json.loads(text)) == STATE
    assert json.loads(text)["version"] == 2


@pytest.mark.parametrize(("change", "message"), [
    ({"version": 1}, "version 1 is not known, this viewmill reads 2: load it with the viewmill that saved it"),
    ({"version": None}, "version None is not known"),
    ({"epoch": "3"}, "epoch needs a whole number, got '3'"),
    ({"epoch": 3.0}, "epoch needs a whole number, got 3.0"),
    ({"delivered": True}, "delivered needs a whole number, got True"),
    ({"shuffle": 1}, "shuffle needs text, got 1"),
    ({"epoch": -1}, "epoch needs 0..4294967295, got -1"),
    ({"delivered": 49_921}, "delivered needs 0..49920, got 49921"),
    ({"delivered": -1}, "delivered needs 0..49920, got -1"),
    ({"length": 0, "delivered": 0}, "length needs 1.."),
    ({"seed": 2**64}, "seed needs 0..18446744073709551615"),
    ({"more": 1}, "has unknown more: it was changed, or is not a loader's"),
])
def test_what_to_dict_does_not_make_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(StateError) as error:
        StreamState.from_dict({**STATE.to_dict(), **change})
    assert message in str(error.value) and str(error.value).startswith("state: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("state", [None, [1], "state", 3])
def test_only_a_dict_is_a_state(state: Any) -> None:
    with pytest.raises(StateError, match=r"state: needs the dict that state_dict\(\) gave, got "):
        StreamState.from_dict(state)


def test_a_missing_field_is_named() -> None:
    for name in ("delivered", "fingerprint"):
        state = STATE.to_dict()
        del state[name]
        with pytest.raises(StateError, match=f"state: lacks {name}"):
            StreamState.from_dict(state)
    with pytest.raises(StateError, match="version None"):
        StreamState.from_dict({})


@pytest.mark.parametrize(("change", "meaning"), [
    ({"fingerprint": "c"}, "other data"), ({"seed": 1}, "another seed"), ({"shuffle": "full"}, "another shuffle"),
    ({"lanes": 8}, "another number of lanes"),
    ({"window": 8}, "another window"), ({"recipe": "c"}, "another recipe"),
    ({"draw_version": 2}, "draws of another version of viewmill"),
])
def test_a_state_of_another_stream_is_refused_naming_both(change: dict[str, Any], meaning: str) -> None:
    (name, value), = change.items()
    with pytest.raises(StateError) as error:
        STATE.check(replace(STATE, **change))
    text = str(error.value)
    assert f"was saved with {meaning}" in text and f"{name} {getattr(STATE, name)!r}, here {value!r}" in text and "\n" not in text


def test_another_place_in_the_same_stream_is_fine() -> None:
    STATE.check(replace(STATE, epoch=0, delivered=0, length=49_984))


class TestStepPositions:
    def test_by_hand(self) -> None:
        """Ten positions in an epoch, four a step, two ranks; the second step begins at 4, the third is cut by the end."""
        assert step_positions(4, 4, 0, 2, 10).tolist() == [4, 6] and step_positions(4, 4, 1, 2, 10).tolist() == [5, 7]
        assert step_positions(8, 4, 0, 2, 10).tolist() == [8] and step_positions(8, 4, 1, 2, 10).tolist() == [9]
        assert step_positions(9, 4, 1, 2, 10).tolist() == []
        assert step_positions(0, 1, 0, 1, 10).dtype == np.int64

    @given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 7), st.integers(0, 60))
    def test_ranks_together_cover_an_epoch_once(self, length: int, world: int, batch: int, start: int) -> None:
        seen = [p for delivered in range(min(start, length), length, world * batch) for rank in range(world)
                for p in step_positions(delivered, world * batch, rank, world, length).tolist()]
        assert sorted(seen) == list(range(min(start, length), length))

    @pytest.mark.parametrize(("rank", "world", "batch"), [(2, 2, 4), (-1, 2, 4), (0, 0, 4), (0, 1, 0)])
    def test_impossible_ranks(self, rank: int, world: int, batch: int) -> None:
        with pytest.raises(ValueError, match="0 <= rank < world_size and global_batch >= 1"):
            step_positions(0, batch, rank, world, 10)
