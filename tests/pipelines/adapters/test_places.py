"""Loaders that are made before their trainer starts a group of ranks, and ranks under accelerate."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import viewmill as vm
from viewmill.pipelines import placement

from ...world import World
from ..streams import flat, local


def seen(batches: Any) -> list[list[int]]:
    with batches:
        return [index.tolist() for index, _, _ in batches]


@pytest.mark.parametrize("last", ["drop", "short", "pad"])
def test_a_loader_made_before_the_group_serves_its_rank_of_it(last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    early = vm.adapt(local(22, 4, last=last), to="solo-learn")
    monkeypatch.setattr(placement, "rank_and_world_size", lambda: (1, 2))
    wanted = seen(vm.adapt(local(22, 4, last=last, rank=1, world_size=2), to="solo-learn"))
    assert len(early) == len(wanted) and seen(early) == wanted


def test_a_rank_that_was_given_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    given = vm.adapt(local(22, 4, rank=0, world_size=1), to="solo-learn")
    wanted = seen(vm.adapt(local(22, 4), to="solo-learn"))
    monkeypatch.setattr(placement, "rank_and_world_size", lambda: (1, 2))
    assert seen(given) == wanted


def test_a_stream_that_has_begun_goes_on_among_the_ranks_with_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    early = vm.adapt(local(22, 4), to="solo-learn")
    first = next(iter(early))[0].tolist()
    state = early.state_dict()
    shares = []
    for rank in range(2):
        monkeypatch.setattr(placement, "rank_and_world_size", lambda: (0, 1))
        loader = vm.adapt(local(22, 4), to="solo-learn")
        loader.load_state_dict(state)
        monkeypatch.setattr(placement, "rank_and_world_size", lambda rank=rank: (rank, 2))
        shares += flat(seen(loader))
    whole = flat(seen(vm.adapt(local(22, 4, rank=0, world_size=1), to="solo-learn")))
    early.close()
    assert state["length"] == 20 and len(shares) == 16 and {*first, *shares} == {*whole}


def under_accelerate() -> dict[str, Any]:
    from accelerate import Accelerator

    logging.disable(logging.WARNING)
    accelerator = Accelerator(cpu=True)
    batches = vm.adapt(local(24, 4), to="solo-learn")
    prepared = accelerator.prepare(batches)
    return {"same": prepared is batches, "processes": accelerator.num_processes, "length": len(prepared), "index": seen(prepared)}


def test_accelerate_leaves_it_as_it_is() -> None:
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed: pip install 'viewmill[peers]'")
    batches = vm.adapt(local(8, 4), to="transformers")
    assert accelerate.Accelerator(cpu=True).prepare(batches) is batches


@pytest.mark.slow
def test_accelerate_neither_hands_out_from_rank_0_nor_shards_a_second_time(world: World) -> None:
    pytest.importorskip("accelerate", reason="accelerate is not installed: pip install 'viewmill[peers]'")
    told = world(2, under_accelerate)
    assert [t["processes"] for t in told] == [2, 2] and all(t["same"] and t["length"] == 3 for t in told)
    shown = sorted(i for t in told for batch in t["index"] for i in batch)
    assert shown == list(range(24))
