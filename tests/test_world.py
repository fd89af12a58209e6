"""The ranks that serve distributed tests: who they are, and that a failure of one is told and hangs nobody."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist

from .world import RankFailed, World


@pytest.fixture(scope="module")
def own() -> Iterator[World]:
    """Apart from the session's, since these tests end processes."""
    opened = World()
    yield opened
    opened.close()


def introduce(word: str) -> dict[str, object]:
    summed = torch.tensor(10.0 ** dist.get_rank())
    dist.all_reduce(summed)
    return {"word": word, "rank": dist.get_rank(), "size": dist.get_world_size(), "environment": os.environ["RANK"],
            "sum": float(summed), "process": os.getpid(), "draw": float(torch.rand(())), "threads": torch.get_num_threads()}


def fail_on(rank: int) -> None:
    if dist.get_rank() == rank:
        raise KeyError("no such key")
    dist.barrier()


def die_on(rank: int) -> None:
    if dist.get_rank() == rank:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


def sleep_on(rank: int) -> int:
    if dist.get_rank() == rank:
        time.sleep(60)
    return dist.get_rank()


def no_answer() -> object:
    return lambda: None


def test_ranks_know_who_they_are(own: World) -> None:
    for ranks, total in ((2, 11), (3, 111), (1, 1), (2, 11)):
        told = own(ranks, introduce, "hello")
        assert [t["rank"] for t in told] == list(range(ranks)) and [t["environment"] for t in told] == [*"012"[:ranks]]
        assert all(t["size"] == ranks and t["sum"] == total and t["word"] == "hello" and t["threads"] == 1 for t in told)


def test_processes_serve_again_and_each_call_begins_alike(own: World) -> None:
    first, second = own(2, introduce, "a"), own(2, introduce, "b")
    assert [t["process"] for t in first] == [t["process"] for t in second] and first[0]["process"] != first[1]["process"]
    assert len({t["draw"] for t in first + second}) == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_what_a_rank_raises_comes_back_with_its_traceback_while_the_other_waits_for_it(own: World, rank: int) -> None:
    began = time.monotonic()
    with pytest.raises(RankFailed, match=f"rank {rank} of 2 raised KeyError: 'no such key'") as caught:
        own(2, fail_on, rank)
    assert "in fail_on" in str(caught.value) and time.monotonic() - began < 20
    assert len(own(2, introduce, "and go on")) == 2


def test_a_rank_that_dies_is_told_and_replaced(own: World) -> None:
    with pytest.raises(RankFailed, match="rank 1 of 2 died, exit status -9"):
        own(2, die_on, 1)
    assert [t["rank"] for t in own(3, introduce, "and go on")] == [0, 1, 2]


def test_a_rank_that_hangs_is_told_ended_and_replaced(own: World) -> None:
    own(2, introduce, "started")
    with pytest.raises(RankFailed, match=r"rank 1 of 2 did not answer within 3 s"):
        own(2, sleep_on, 1, timeout_s=3)
    assert [t["rank"] for t in own(2, introduce, "and go on")] == [0, 1]


def test_what_cannot_be_sent_is_refused(own: World) -> None:
    with pytest.raises(ValueError, match="a rank gets its function by name"):
        own(2, lambda: None)
    with pytest.raises(RankFailed, match=r"rank 0 of 1 raised .*pickle"):
        own(1, no_answer)
