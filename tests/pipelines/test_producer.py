"""The producer: steps by hand, batches in order whatever the threads, stand-ins in place, errors where they belong."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from viewmill import Recipe, View, draw
from viewmill.augment.draw import take
from viewmill.augment.ops import Blur, Crop
from viewmill.pipelines.decode import decode
from viewmill.pipelines.engines import engine
from viewmill.pipelines.order import Order
from viewmill.pipelines.plan import Job, steps
from viewmill.pipelines.producer import FreeSlot, Made, Producer
from viewmill.pipelines.ring import Layout
from viewmill.pipelines.source import open_source

from .streams import SMALL, data, folder

Views = dict[str, np.ndarray]


def job(source: Any, **changes: Any) -> Job:
    opened = open_source(source)
    order = Order(opened.shard_sizes, 0, shuffle="full")
    fields: dict[str, Any] = {
        "source": opened, "order": order, "recipe": SMALL, "engine": "cpu", "dtype": "float32", "seed": 0, "batch_size": 4,
        "rank": 0, "world_size": 1, "length": len(opened), "last": "drop", "epoch": 0, "delivered": 0, "threads": 2,
        "max_bad": 1.0}
    return Job(**{**fields, **changes})


@contextmanager
def producing(job: Job, slots: int = 3) -> Iterator[Callable[[int], list[tuple[Made, Views]]]]:
    """take(n): the next n batches with copies of their pixels."""
    layout = Layout(tuple(job.recipe.groups.items()), job.batch_size, job.dtype)
    free: SimpleQueue[FreeSlot | None] = SimpleQueue()
    memory = [mmap.mmap(-1, layout.slot_bytes) for _ in range(slots)]
    ring = [FreeSlot(i, partial(layout.arrays, m)) for i, m in enumerate(memory)]
    for slot in ring:
        free.put(slot)
    producer = Producer(job, free.get)

    def batches() -> Iterator[tuple[Made, Views]]:
        for made in producer:
            yield made, {group: array.copy() for group, array in layout.arrays(memory[made.slot], len(made.index)).items()}
            free.put(ring[made.slot])

    stream = batches()
    try:
        yield lambda count: list(islice(stream, count))
    finally:
        free.put(None)
        producer.close()


def positions(job: Job, count: int) -> list[tuple[int, int, list[int]]]:
    return [(s.epoch, s.delivered, s.position.tolist()) for s in islice(steps(job), count)]


def test_a_rank_takes_every_world_size_th_position() -> None:
    two = job(data(16), batch_size=2, world_size=3, rank=1, length=12)
    assert positions(two, 3) == [(0, 6, [1, 4]), (0, 12, [7, 10]), (1, 6, [1, 4])]


def test_a_short_last_step_passes_over_ranks_without_a_sample() -> None:
    # Ten positions, steps of six: 6..9 are left, for ranks 0 (6, 9), 1 (7) and 2 (8); of seven, only rank 0 gets one.
    short = job(data(16), batch_size=2, world_size=3, length=10, last="short")
    assert [positions(replace(short, rank=r), 2)[1] for r in range(3)] == [(0, 10, [6, 9]), (0, 10, [7]), (0, 10, [8])]
    assert positions(replace(short, rank=1, length=7), 2) == [(0, 6, [1, 4]), (1, 6, [1, 4])]


def test_padding_starts_the_epoch_again_and_says_so() -> None:
    padded = list(islice(steps(job(data(16), batch_size=4, world_size=2, rank=1, length=11, last="pad")), 2))
    assert padded[1].position.tolist() == [9, 0, 2, 4] and padded[1].padding.tolist() == [False, True, True, True]
    assert padded[1].delivered == 11 and padded[1].ends_epoch and not padded[0].ends_epoch


def test_after_drop_a_rank_that_the_last_step_has_nothing_for_is_padded_with_one_sample() -> None:
    # Twelve positions walked in steps of five ranks: 10 and 11 are left, for ranks 0 and 1; the others wait with the first ones.
    five = job(data(16), batch_size=1, world_size=5, length=12)
    found = [next(islice(steps(replace(five, rank=rank)), 2, 3)) for rank in range(5)]
    assert [(step.delivered, step.position.tolist(), step.padding.tolist(), step.ends_epoch) for step in found] == [
        (12, [10], [False], True), (12, [11], [False], True), (12, [0], [True], True), (12, [1], [True], True),
        (12, [2], [True], True)]


def test_steps_begin_anywhere() -> None:
    found = positions(job(data(16), epoch=3, delivered=5, length=10), 3)
    assert found == [(3, 9, [5, 6, 7, 8]), (3, 10, [9]), (4, 4, [0, 1, 2, 3])]


def test_a_batch_is_order_then_draw_then_render() -> None:
    images, labels = data(12)
    stream = job((images, labels))
    with producing(stream) as take_batches:
        (_, _), (made, views) = take_batches(2)
    index = stream.order.index(0, np.arange(4, 8))
    size_hw = np.array([images[i].shape[:2] for i in index])
    params = draw(SMALL, 0, 0, index, size_hw, position=np.arange(4, 8), length=12)
    assert made.index.tolist() == index.tolist() and made.label.tolist() == (index % 10).tolist()
    assert made.position.tolist() == [4, 5, 6, 7] and (made.epoch, made.delivered) == (0, 8)
    for view, ops in params.items():
        for op, arrays in ops.items():
            for name, array in arrays.items():
                np.testing.assert_array_equal(made.params[view][op][name], array)
    cpu = engine("cpu", SMALL)
    expected = {group: np.zeros_like(array) for group, array in views.items()}
    for row, packed in enumerate(cpu.pack(params)):
        cpu.render_into(images[index[row]], packed, expected, row)
    for group in views:
        np.testing.assert_array_equal(views[group], expected[group])


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("slots", [1, 3])
def test_threads_and_slots_change_nothing(threads: int, slots: int) -> None:
    with producing(job(data(22), threads=1)) as take_batches:
        expected = take_batches(9)
    with producing(job(data(22), threads=threads), slots) as take_batches:
        found = take_batches(9)
    for (made, views), (other, others) in zip(expected, found, strict=True):
        assert (made.epoch, made.delivered, made.index.tolist()) == (other.epoch, other.delivered, other.index.tolist())
        for group in views:
            np.testing.assert_array_equal(views[group], others[group])


@pytest.mark.parametrize(("side", "batch_size", "threads", "together"), [
    (32, 256, 2, 16),  # 16,384 pixels of 1,024
    (32, 64, 4, 4),    # a sixteenth of the batch, so that four threads end together
    (500, 256, 2, 1),  # large ones alone
    (32, 2, 2, 1),
])
def test_small_pictures_are_made_several_at_a_time(side: int, batch_size: int, threads: int, together: int) -> None:
    pictures = np.zeros((batch_size, side, side, 3), np.uint8)
    several = job(pictures, batch_size=batch_size, threads=threads)
    handed: list[int] = []

    class Watched(Producer):
        def _make(self, batch: Any, begin: int, end: int) -> None:
            handed.append(end - begin)

    slot = FreeSlot(0, lambda rows: {"global": np.zeros((2, rows, 3, 8, 8), np.float32),
                                     "local": np.zeros((3, rows, 3, 6, 6), np.float32)})
    slots = iter([slot, None])
    producer = Watched(several, lambda: next(slots))
    next(producer)
    producer.close()
    assert set(handed) == {together} and sum(handed) == batch_size


def test_the_batch_size_changes_nothing() -> None:
    found = []
    for batch_size in (1, 3, 8):
        with producing(job(data(24), batch_size=batch_size)) as take_batches:
            batches = take_batches(24 // batch_size)
        found.append(np.concatenate([views["local"] for _, views in batches], 1))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_a_draw_shared_by_positions_does_not_follow_the_batch() -> None:
    shared = Recipe(block=6, views=(View(group="g", size_px=8, ops=(
        Crop(size_px=8), Blur(p=1.0, kind="gaussian", taps=5, border="reflect", sigma_scope="batch-view"))),))
    sigmas = []
    for batch_size in (4, 12):
        with producing(job(data(12), recipe=shared, batch_size=batch_size)) as take_batches:
            batches = take_batches(12 // batch_size)
        sigmas.append(np.concatenate([made.params["g/0"]["blur"]["sigma_px"] for made, _ in batches]))
    np.testing.assert_array_equal(sigmas[0], sigmas[1])
    assert len(set(sigmas[0][:6].tolist())) == 1 and len(set(sigmas[0][6:].tolist())) == 1 and sigmas[0][0] != sigmas[0][6]


def test_a_stand_in_takes_the_place_of_what_cannot_be_decoded(tmp_path: Path) -> None:
    bad = {2, 5, 11}
    stream = job(str(folder(tmp_path, 16, broken={2, 11}, headless={5})))
    with producing(stream) as take_batches:
        batches = take_batches(8)
    seen: dict[int, int] = {}
    for number, (made, views) in enumerate(batches):
        wanted = stream.order.index(made.epoch, made.position)
        assert made.position.tolist() == list(range(number % 4 * 4, number % 4 * 4 + 4))
        assert made.substitute.tolist() == [int(i) in bad for i in wanted]
        np.testing.assert_array_equal(made.index[~made.substitute], wanted[~made.substitute])
        assert not set(made.index.tolist()) & bad
        assert [b.row for b in made.bad] == np.flatnonzero(made.substitute).tolist()
        for each in made.bad:
            assert f"{int(wanted[each.row]):03}.jpg" in each.where and each.reason
        # What is said about a stand-in is its own: the same parameters, key and pixels as if it had been drawn itself.
        for row in np.flatnonzero(made.substitute).tolist():
            index, position = made.index[row:row + 1], made.position[row:row + 1]
            params = draw(SMALL, 0, made.epoch, index, stream.source.size_hw(index), position=position, length=16)
            for view, ops in take(made.params, np.array([row])).items():
                np.testing.assert_array_equal(ops["crop"]["box"], params[view]["crop"]["box"])
            cpu, out = engine("cpu", SMALL), {group: np.zeros_like(a) for group, a in views.items()}
            cpu.render_into(decode(stream.source.read(int(index[0]))), cpu.pack(params)[0], out, row)
            np.testing.assert_array_equal(views["global"][:, row], out["global"][:, row])
            assert made.key[row] == stream.source.key(int(index[0]))
            seen[int(wanted[row])] = seen.get(int(wanted[row]), 0) + 1
    assert seen == {2: 2, 5: 2, 11: 2}  # once an epoch


def test_stand_ins_are_the_same_for_any_threads_and_batch_size(tmp_path: Path) -> None:
    root = str(folder(tmp_path, 24, broken={0, 3, 4, 17}, headless={9}))
    found = []
    for batch_size, threads in ((4, 1), (4, 4), (12, 2), (24, 1)):  # the last makes five pictures at a time
        with producing(job(root, batch_size=batch_size, threads=threads)) as take_batches:
            found.append(np.concatenate([made.index for made, _ in take_batches(24 // batch_size)]).tolist())
    assert found[0] == found[1] == found[2] == found[3]


class Lying:
    """A source whose index tells another size than the picture of sample 3 has."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def size_hw(self, index: np.ndarray) -> np.ndarray:
        size = np.array(self.source.size_hw(index))
        size[np.asarray(index) == 3] += 1
        return size


def test_a_picture_of_another_size_than_its_index_says_is_bad() -> None:
    stream = job(data(8))
    with producing(replace(stream, source=Lying(stream.source))) as take_batches:
        bad = [each for made, _ in take_batches(2) for each in made.bad]
    assert [each.reason for each in bad] == ["size differs from index"]


def test_nothing_usable_ends_with_the_name_of_the_sample(tmp_path: Path) -> None:
    root = folder(tmp_path, 5, broken=range(5))
    with producing(job(str(root))) as take_batches, pytest.raises(RuntimeError, match=r"\.jpg: .*none of its stand-ins"):
        take_batches(1)


def test_far_too_many_bad_samples_stop_the_run_after_a_hundred(tmp_path: Path) -> None:
    # Every fourth is bad: at most 5 % are allowed, and before 100 samples nothing is judged.
    root = folder(tmp_path, 200, broken=range(0, 200, 4))
    with producing(job(str(root), batch_size=10, max_bad=0.05)) as take_batches:
        assert len(take_batches(9)) == 9
        with pytest.raises(RuntimeError, match=r"of 100 samples could not be used .* more than max_bad=0.05; .*\.jpg: check"):
            take_batches(1)
    with producing(job(str(root), batch_size=10, max_bad=0.5)) as take_batches:
        assert len(take_batches(20)) == 20


def test_somewhat_too_many_bad_samples_stop_the_run_at_the_epochs_end(tmp_path: Path) -> None:
    # 14 of 200, where 12 are allowed: no hundred of them is beyond chance.
    root = folder(tmp_path, 200, broken=range(0, 140, 10))
    with producing(job(str(root), batch_size=10, max_bad=0.06)) as take_batches:
        assert len(take_batches(19)) == 19
        with pytest.raises(RuntimeError, match=r"14 of 200 samples could not be used"):
            take_batches(1)


def test_a_small_epoch_is_judged_at_its_end(tmp_path: Path) -> None:
    root = folder(tmp_path, 12, broken={1})
    with producing(job(str(root))) as take_batches:
        assert len(take_batches(6)) == 6
    with producing(job(str(root), max_bad=0.01)) as take_batches:
        assert len(take_batches(2)) == 2
        with pytest.raises(RuntimeError, match="1 of 12 samples"):
            take_batches(1)


def test_an_epoch_that_was_joined_near_its_end_is_not_judged_by_the_little_that_was_left(tmp_path: Path) -> None:
    """One bad sample of 120 is under 0.9 %; from position 112 on it is one of eight. The next epoch counts again."""
    source = open_source(str(folder(tmp_path, 120, broken={int(job(list(data(120)[0])).order.index(0, np.array([117]))[0])})))
    with producing(job(source, max_bad=0.01, delivered=112)) as take_batches:
        assert [each.position.tolist()[0] for each, _ in take_batches(4)] == [112, 116, 0, 4]
    with producing(job(source, max_bad=0.009, delivered=112)) as take_batches:
        assert len(take_batches(40)) == 40
    with producing(job(source, max_bad=0.008, delivered=112)) as take_batches, pytest.raises(RuntimeError, match=r"^1 of 120 "):
        take_batches(32)


class Failing(Lying):
    """A source whose reading of sample 6 fails as storage does."""

    def size_hw(self, index: np.ndarray) -> np.ndarray:
        return np.array(self.source.size_hw(index))

    def read(self, index: int) -> Any:
        if index == 6:
            raise OSError("the disk is gone")
        return self.source.read(index)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_after_all_batches_before_it(threads: int) -> None:
    stream = job(data(32), threads=threads)
    before = int(np.flatnonzero(stream.order.index(0, np.arange(32)) == 6)[0]) // 4
    with producing(replace(stream, source=Failing(stream.source))) as take_batches:
        assert len(take_batches(before)) == before
        with pytest.raises(OSError, match="the disk is gone"):
            take_batches(1)


def test_a_draw_that_fails_comes_after_all_batches_before_it() -> None:
    square = Recipe(views=(View(group="g", size_px=8, ops=(Crop(size_px=8, scale=(1, 1), ratio=(1, 1), fallback="none"),)),))
    images = [np.zeros((9, 18 if i == 6 else 9, 3), np.uint8) for i in range(32)]
    stream = job(images, recipe=square)
    before = int(np.flatnonzero(stream.order.index(0, np.arange(32)) == 6)[0]) // 4
    assert before > 1
    with producing(stream) as take_batches:
        assert len(take_batches(before)) == before
        with pytest.raises(ValueError, match=r"no box .* fits an image of \("):
            take_batches(1)


def test_closing_ends_all_threads() -> None:
    before = threading.active_count()
    with producing(job(data(64), threads=4)) as take_batches:
        take_batches(1)
        assert threading.active_count() == before + 6
    assert threading.active_count() == before
