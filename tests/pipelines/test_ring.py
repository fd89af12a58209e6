"""The ring: aligned slots, tensors without a copy, and a slot that returns only when nothing looks into it."""

from __future__ import annotations

import gc
import mmap
import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from viewmill.augment.recipe import GroupShape
from viewmill.pipelines import memory, ring
from viewmill.pipelines.ring import Layout, Ring

LAYOUT = Layout((("global", GroupShape(2, 3, 5, 7)), ("local", GroupShape(1, 3, 3, 3))), rows=4)


class Borrower:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.memory: dict[int, mmap.mmap] = {}
        self.fds: list[bool] = []
        self.free: list[int] = []

    def add(self, number: int, memory: mmap.mmap, fd: int | None) -> None:
        self.memory[number] = mmap.mmap(fd, LAYOUT.slot_bytes) if fd is not None else memory
        self.fds.append(fd is not None)
        self.free.append(number)

    def give(self, number: int) -> None:
        self.free.append(number)

    def drop(self, number: int) -> None:
        del self.memory[number]

    def fill(self, value: float) -> int:
        number = self.free.pop(0)
        for array in LAYOUT.arrays(self.memory[number]).values():
            array[:] = value
        return number


@pytest.fixture
def borrower() -> Iterator[Borrower]:
    yield Borrower()
    gc.collect()


def test_groups_begin_at_multiples_of_64_bytes() -> None:
    # 2 * 4 * 3 * 5 * 7 * 4 bytes = 3360, rounded up to 53 * 64; 1 * 4 * 3 * 3 * 3 * 4 = 432, up to 7 * 64.
    assert LAYOUT.offsets == (0, 3392, 3392 + 448)


def test_half_types_take_half_the_room_and_are_bits_in_numpy() -> None:
    half = Layout(LAYOUT.groups, 4, "bfloat16")
    assert half.offsets == (0, 1728, 1728 + 256)
    arrays = half.arrays(mmap.mmap(-1, half.slot_bytes))
    assert arrays["global"].dtype == np.uint16 and arrays["global"].shape == (2, 4, 3, 5, 7)


def test_tensors_are_the_memory_that_the_borrower_wrote(borrower: Borrower) -> None:
    for shared in (False, True):
        b = Borrower()
        r = Ring(LAYOUT, 1, b, shared=shared)
        assert b.fds == [shared, shared]
        number = b.fill(2.5)
        views = r.lend(number, 4)
        assert views["global"].shape == (2, 4, 3, 5, 7) and (views["global"] == 2.5).all()
        LAYOUT.arrays(b.memory[number])["local"][:] = 9
        assert (views["local"] == 9).all()
        assert views["local"].data_ptr() % 64 == 0


def test_half_types_come_back_as_what_they_are() -> None:
    layout, b = Layout(LAYOUT.groups, 4, "bfloat16"), Borrower()
    r = Ring(layout, 1, b, shared=False)
    layout.arrays(b.memory[0])["global"][:] = 0x3FC0  # sign 0, exponent 127, fraction 0.5: 1.5
    views = r.lend(0, 4)
    assert views["global"].dtype == torch.bfloat16 and (views["global"] == 1.5).all()


def test_a_short_batch_is_contiguous(borrower: Borrower) -> None:
    views = Ring(LAYOUT, 1, borrower, shared=False).lend(0, 3)
    assert views["global"].shape == (2, 3, 3, 5, 7) and views["global"].is_contiguous()


def test_a_slot_returns_when_the_last_tensor_dies_and_not_before(borrower: Borrower) -> None:
    r = Ring(LAYOUT, 2, borrower, shared=False)
    views = r.lend(borrower.fill(1), 4)
    assert borrower.free == [1, 2]
    piece = views["global"][0, 1].flatten()[3:5].numpy()  # a view of a view, seen by NumPy
    del views
    assert r.held == 1 and borrower.free == [1, 2]
    del piece
    assert r.held == 0 and borrower.free == [1, 2, 0]


def test_the_ring_grows_while_batches_are_kept_and_shrinks_after(borrower: Borrower) -> None:
    r = Ring(LAYOUT, 1, borrower, shared=False)
    kept = []
    for value in range(10):
        r.make_room()
        kept.append(r.lend(borrower.fill(value), 4))
    assert len(r) == 10 and r.held == 10
    assert [float(views["global"].mean()) for views in kept] == list(range(10))
    kept.clear()
    assert len(r) == 2 and len(borrower.memory) == 2 and r.held == 0


def test_a_loop_that_lets_go_of_each_batch_for_the_next_costs_no_further_slot(borrower: Borrower) -> None:
    r = Ring(LAYOUT, 1, borrower, shared=False)
    for value in range(6):
        r.make_room()
        views = r.lend(borrower.fill(value), 4)  # only now does the name let go of the one before
        assert len(r) == 2 and (views["global"] == value).all()


def test_tensors_outlive_a_closed_ring(borrower: Borrower) -> None:
    r = Ring(LAYOUT, 1, borrower, shared=True)
    views = r.lend(borrower.fill(3), 4)
    r.close()
    free = list(borrower.free)
    assert (views["global"] == 3).all()
    del views
    assert borrower.free == free


def test_shared_slots_leave_no_file_descriptor_behind() -> None:
    before = len(os.listdir("/dev/fd"))
    b = Borrower()
    r = Ring(LAYOUT, 3, b, shared=True)
    r.close()
    b.memory.clear()
    del r
    gc.collect()
    assert len(os.listdir("/dev/fd")) == before


def test_a_fork_does_not_return_its_copy_of_a_slot(borrower: Borrower) -> None:
    r = Ring(LAYOUT, 1, borrower, shared=False)
    views = r.lend(borrower.fill(1), 4)
    child = os.fork()
    if child == 0:
        before = len(borrower.free)
        del views
        os._exit(0 if len(borrower.free) == before else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_fork_keeps_what_it_saw_while_the_parent_goes_on(borrower: Borrower) -> None:
    r = Ring(LAYOUT, 1, borrower, shared=False)
    views = r.lend(borrower.fill(1), 4)
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(ready, 1)
        os._exit(0 if (views["global"] == 1).all() else 1)
    del views
    while borrower.free:
        borrower.fill(2)
    os.write(go, b"x")
    os.close(ready)
    os.close(go)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_ring_larger_than_memory_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch, borrower: Borrower) -> None:
    monkeypatch.setattr(ring, "available_bytes", lambda: 2**30)
    with pytest.raises(ValueError, match=r"^3 batches of 1000000 samples need .* GiB .* 1.0 GiB available: use"):
        Ring(Layout(LAYOUT.groups, 1_000_000), 2, borrower, shared=False)


def test_keeping_batches_until_memory_ends_is_told(monkeypatch: pytest.MonkeyPatch, borrower: Borrower) -> None:
    r = Ring(LAYOUT, 1, borrower, shared=False)
    kept = [r.lend(borrower.fill(1), 4), r.lend(borrower.fill(1), 4)]
    monkeypatch.setattr(ring, "available_bytes", lambda: 1000)
    with pytest.raises(RuntimeError, match="the trainer holds 2 batches"):
        r.make_room()
    assert len(kept) == 2


def test_available_memory_is_the_smaller_of_machine_and_container(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    group = Path(str(tmp_path))
    (group / "memory.max").write_text("5000\n")
    (group / "memory.current").write_text("4000\n")
    (group / "memory.stat").write_text("anon 3000\ninactive_file 700\n")
    monkeypatch.setattr(memory, "groups", lambda controller: [group])
    assert memory.available_bytes() == 5000 - 4000 + 700
    (group / "memory.max").write_text("max\n")
    assert 2**20 < memory.available_bytes() < 2**63
