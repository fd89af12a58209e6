"""Ranks meet under a name of this start, whatever earlier starts left behind."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch.distributed as dist
from viewmill.models.training import meeting


def start(store: dist.Store, order: list[int], timeout_s: float = 20, pause_s: float = 0.1) -> list[str]:
    """The names that ranks come to, who start one after the other in that order."""
    with ThreadPoolExecutor(len(order)) as pool:
        futures = {}
        for rank in order:
            futures[rank] = pool.submit(meeting.meet, store, rank, len(order), timeout_s)
            time.sleep(pause_s)
        return [futures[rank].result() for rank in sorted(futures)]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
def test_all_come_to_one_name_and_to_another_at_each_start(order: list[int]) -> None:
    store = dist.HashStore()
    first, second, third = (start(store, order) for _ in range(3))
    assert len(set(first)) == len(set(second)) == len(set(third)) == 1
    assert len({first[0], second[0], third[0]}) == 3


def test_what_a_start_left_that_never_was_whole_misleads_nobody() -> None:
    store = dist.HashStore()
    with pytest.raises(RuntimeError, match=r"rank 2 did not start within 0.3 s"), ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(meeting.meet, store, rank, 3, 0.3) for rank in (0, 1)]
        futures[0].result()
    names = start(store, [2, 1, 0])
    assert len(set(names)) == 1


def test_without_rank_0_the_others_give_up() -> None:
    with pytest.raises(RuntimeError, match=r"rank 0 did not start within 0.2 s"):
        meeting.meet(dist.HashStore(), 1, 2, 0.2)


def test_where_torch_makes_a_store_for_each_start_it_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    assert meeting.store(0, 2) is None
