"""Cores are split by a stated rule, signals leave a note, seeds set every generator."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from viewmill.models.training import process


@pytest.mark.parametrize(("cores", "ranks", "on_cuda", "expected"), [
    (1, 1, False, (1, 1)), (2, 1, False, (2, 1)), (2, 2, False, (1, 1)), (4, 1, False, (3, 1)), (8, 1, False, (6, 2)),
    (16, 2, False, (6, 2)), (2, 4, False, (1, 1)), (16, 2, True, (4, 8)),
])
def test_the_cores_of_a_rank_are_split(cores: int, ranks: int, on_cuda: bool, expected: tuple[int, int]) -> None:
    assert process.split_cores(cores, ranks, on_cuda, None, None) == expected


def test_numbers_that_are_given_stand() -> None:
    assert process.split_cores(8, 1, False, 5, 3) == (5, 3)
    assert process.split_cores(8, 1, False, None, 5) == (3, 5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_note_and_the_old_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with process.stop_signals() as stop:
        assert stop.signal == 0
        os.kill(os.getpid(), number)
        begun = time.monotonic()
        while not stop.signal and time.monotonic() - begun < 30:  # another thread may take it
            time.sleep(0.01)
        assert stop.signal == number
    assert signal.getsignal(number) == before


@pytest.fixture
def ctrl_c_ends() -> Iterator[None]:
    """As in a terminal: what starts in the background may have been told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_ends")
def test_the_second_ctrl_c_is_not_swallowed() -> None:
    with process.stop_signals() as stop, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        while not stop.signal:  # two signals at once are one, where another thread takes them
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(30)


def test_a_folder_has_one_run_at_a_time(tmp_path: Path) -> None:
    message = r"another run is writing to .*run; wait for its end, or choose another out="
    with process.alone_in(tmp_path / "run"), process.alone_in(tmp_path / "other"), pytest.raises(ValueError, match=message):
        process.alone_in(tmp_path / "run").__enter__()
    with process.alone_in(tmp_path / "run"):
        pass


def test_seeds_set_every_generator_alike_for_all_ranks_or_apart() -> None:
    def drawn(rank: int | None) -> tuple[float, float, float]:
        process.seed_all(3, rank)
        return torch.rand(1).item(), np.random.rand(), random.random()

    assert drawn(None) == drawn(None) and drawn(1) == drawn(1)
    assert len({drawn(None), drawn(0), drawn(1)}) == 3


def test_alone_there_is_nothing_to_agree_on() -> None:
    world = process.start("cpu")
    assert (world.rank, world.size, world.device.type) == (0, 1, "cpu")
    assert process.agree(world, 0, 3) == (0, 3) and process.gather(world, "x") == ["x"]
    assert process.mean_over_ranks(world, {"loss": 2.0}) == {"loss": 2.0}


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_cuda_where_there_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="device=cuda, but torch finds no CUDA device"):
        process.start("cuda")
