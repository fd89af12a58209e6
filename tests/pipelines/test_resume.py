"""Resume: restored anywhere, at any world size, after a kill, the stream shows what an unbroken run would have shown."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from viewmill import Loader

from .streams import SMALL, data, flat, local, run, shown

Sample = tuple[int, int, int, str]


def test_restored_at_every_step_the_rest_is_the_same() -> None:
    expected = run(local(20, 4, epochs=2, last="short"))
    with local(20, 4, epochs=2, last="short") as loader:
        states = [loader.state_dict()] + [loader.state_dict() for _ in loader]
    assert len(states) == len(expected) + 1 == 11
    for step, state in enumerate(states[:-1]):
        restored = local(20, 4, epochs=2, last="short", threads=1 + step % 3, prefetch=1 + step % 2)
        restored.load_state_dict(json.loads(json.dumps(state)))
        assert run(restored) == expected[step:]


def test_a_state_at_the_end_of_a_pass_begins_the_next() -> None:
    with local(8, 4) as loader:
        list(loader)
        state = loader.state_dict()
    restored = local(8, 4)
    restored.load_state_dict(state)
    assert [batch[0][:2] for batch in run(restored)] == [(1, 0), (1, 4)]


def test_a_loader_can_be_sent_back_while_it_runs() -> None:
    with local(24, 4) as loader:
        batches = iter(loader)
        first = shown(next(batches))
        state = loader.state_dict()
        second = shown(next(batches))
        loader.load_state_dict(state)
        assert shown(next(batches)) == second != first


def test_the_state_counts_what_was_handed_out_not_what_was_made() -> None:
    with local(40, 4, prefetch=5) as loader:
        batches = iter(loader)
        next(batches)
        time.sleep(0.2)
        assert loader.state_dict()["delivered"] == 4


def test_the_state_is_small_json_and_the_same_on_every_rank() -> None:
    states = []
    for rank in range(3):
        with local(24, 2, rank=rank, world_size=3, threads=1 + rank) as loader:
            batches = iter(loader)
            next(batches), next(batches)
            states.append(json.dumps(loader.state_dict()))
    assert len(set(states)) == 1 and len(states[0]) < 1024


def test_after_drop_a_new_global_batch_ends_with_a_short_step_and_loses_nothing() -> None:
    # 26 samples in steps of 4: an epoch has 24. In steps of 5 from 8 on: 16 are left, so 5, 5, 5 and 1.
    with local(26, 4) as loader:
        batches = iter(loader)
        seen = shown(next(batches)) + shown(next(batches))
        state = loader.state_dict()
    restored = local(26, 5)
    restored.load_state_dict(state)
    assert len(restored) == 5  # of a whole pass: 24 = 4 * 5 + 4
    rest = run(restored)
    assert [len(batch) for batch in rest] == [5, 5, 5, 1]
    assert seen + flat(rest) == flat(run(local(26, 4)))


def test_after_drop_all_ranks_of_another_world_take_as_many_steps_and_stand_at_one_state() -> None:
    """What waits for all ranks in each step would else wait for ever. 12 of 13 samples, from 4 on by five ranks: 5 and 3."""
    with local(13, 4) as loader:
        next(iter(loader))
        state = loader.state_dict()
    ranks, states = [], []
    for rank in range(5):
        with local(13, 1, rank=rank, world_size=5, epochs=2) as loader:
            loader.load_state_dict(state)
            batches = [(batch.epoch, shown(batch), batch.padding.tolist(), loader.state_dict()) for batch in loader]
            assert len(loader) == 6  # of a whole pass: twice 5, 5 and 2
        ranks.append(batches)
        states.append([batch[3] for batch in batches])
    assert [len(batches) for batches in ranks] == [5] * 5 and all(each == states[0] for each in states)
    real = [s for batches in ranks for _, seen, padding, _ in batches for s, no in zip(seen, padding, strict=True) if not no]
    expected = flat(run(local(13, 4, epochs=2)))
    assert sorted(real) == sorted(expected[4:])
    assert [batches[1][2] for batches in ranks] == [[False]] * 3 + [[True]] * 2


def advance(state: dict[str, Any] | None, world_size: int, count: int, last: str, steps: int, **options: Any) -> tuple[
        list[Sample], dict[str, Any], bool]:
    """What all ranks of one world see in up to `steps` steps from a state, the state after, and whether the pass ended."""
    seen: list[Sample] = []
    states, ended = [], False
    for rank in range(world_size):
        with local(count, 2, rank=rank, world_size=world_size, last=last, **options) as loader:
            if state is not None:
                loader.load_state_dict(state)
            batches = iter(loader)
            for _ in range(steps):
                batch = next(batches, None)
                if batch is None:
                    ended = True
                    break
                seen += [s for s, padding in zip(shown(batch), batch.padding.tolist(), strict=True) if not padding]
            states.append(loader.state_dict())
    return seen, max(states, key=lambda s: (s["epoch"], s["delivered"])), ended


@settings(max_examples=12, deadline=None)
@given(worlds=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), min_size=2, max_size=5), count=st.integers(13, 40),
       last=st.sampled_from(["drop", "pad"]), shuffle=st.sampled_from(["full", "lanes", "none"]))
def test_any_sequence_of_worlds_sees_each_sample_once(worlds: list[tuple[int, int]], count: int, last: str, shuffle: str) -> None:
    seen, state, ended = advance(None, worlds[0][0], count, last, worlds[0][1], shuffle=shuffle)
    for world_size, steps in worlds[1:]:
        if ended or state["epoch"] > 0:
            break
        more, state, ended = advance(state, world_size, count, last, steps, shuffle=shuffle)
        seen += more
    if not ended and state["epoch"] == 0:
        more, state, _ = advance(state, 1, count, last, 1000, shuffle=shuffle)
        seen += more
    length = count // (2 * worlds[0][0]) * 2 * worlds[0][0] if last == "drop" else count
    unbroken = flat(run(local(count, 1, shuffle=shuffle)))[:length]
    assert sorted(seen) == sorted(unbroken)


@pytest.mark.parametrize(("change", "message"), [
    ({"seed": 1}, "seed"),
    ({"shuffle": "none"}, "shuffle"),
    ({"lanes": 8, "shuffle": "lanes"}, "lanes|shuffle"),
    ({"count": 21}, "data|fingerprint|source"),
])
def test_the_state_of_another_stream_is_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with local(20, 4) as loader:
        state = loader.state_dict()
    options = dict(change)
    other = local(options.pop("count", 20), 4, **options)
    with pytest.raises(ValueError, match=message) as told:
        other.load_state_dict(state)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("damaged", [{}, {"epoch": "x"}, [], None])
def test_what_is_no_state_is_refused(damaged: Any) -> None:
    with pytest.raises(ValueError):
        local(8, 4).load_state_dict(damaged)


def test_a_sidecar_resumes_like_threads() -> None:
    expected = run(local(24, 4))
    with local(24, 4) as loader:
        batches = iter(loader)
        next(batches), next(batches)
        state = loader.state_dict()
    restored = Loader(data(24), SMALL, 4, threads=2)
    restored.load_state_dict(state)
    assert run(restored) == expected[2:]
