"""The loader: what it yields and when it ends, what it refuses and how it says so, and that it leaves nothing behind."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from viewmill import Loader, Recipe, View
from viewmill.augment.masks import CenterHole
from viewmill.augment.ops import CenterCrop, Crop, Inpaint, Normalize
from viewmill.augment.recipe import UnsupportedRecipe
from viewmill.pipelines import placement
from viewmill.pipelines.feed import ThreadFeed
from viewmill.pipelines.source import open_source

from .streams import CIFAR, SMALL, data, flat, local, run, shown


def indices(loader: Loader) -> list[list[int]]:
    with loader:
        return [batch.index.tolist() for batch in loader]


def test_a_batch_has_every_shape_that_is_promised() -> None:
    with local(10, 4) as loader:
        batch = next(iter(loader))
    assert batch.views["global"].shape == (2, 4, 3, 8, 8) and batch.views["local"].shape == (3, 4, 3, 6, 6)
    assert batch.views["global"].dtype == torch.float32
    assert batch.label.dtype == batch.index.dtype == batch.position.dtype == torch.int64
    assert batch.substitute.dtype == batch.padding.dtype == torch.bool
    assert batch.label.tolist() == [i % 10 for i in batch.index.tolist()] and len(batch.key) == len(batch) == 4
    assert batch.params["local/2"]["crop"]["box"].shape == (4, 4)


def test_images_without_labels_have_label_minus_one() -> None:
    with Loader(data(8)[0], SMALL, 4, sidecar=False) as loader:
        assert next(iter(loader)).label.tolist() == [-1] * 4


def test_an_epoch_shows_every_sample_once_and_another_order_each_time() -> None:
    batches = indices(local(24, 4, seed=5, epochs=2))
    first, second = flat(batches[:6]), flat(batches[6:])
    assert sorted(first) == sorted(second) == list(range(24)) and first != second


@pytest.mark.parametrize(("last", "sizes"), [("drop", [4, 4]), ("short", [4, 4, 3]), ("pad", [4, 4, 4])])
def test_the_end_of_an_epoch(last: str, sizes: list[int]) -> None:
    loader = local(11, 4, last=last, epochs=2)
    assert len(loader) == 2 * len(sizes)
    batches = [(len(b), b.position.tolist(), b.padding.tolist()) for b in loader]
    assert [size for size, _, _ in batches] == sizes * 2
    if last == "pad":
        assert batches[2] == (4, [8, 9, 10, 0], [False, False, False, True])
    loader.close()


def test_a_padded_sample_is_the_one_from_the_epochs_start() -> None:
    with local(11, 4, last="pad") as loader:
        first, _, third = (shown(batch) for batch in loader)
    assert third[3] == first[0]


@pytest.mark.parametrize("last", ["drop", "short", "pad"])
@pytest.mark.parametrize("count", [12, 13, 15, 17])
def test_length_is_what_each_rank_yields(last: str, count: int) -> None:
    for rank in range(3):
        loader = local(count, 2, rank=rank, world_size=3, last=last, epochs=2)
        assert len(loader) == len(run(loader))


def test_a_pass_covers_its_epochs_and_the_next_goes_on() -> None:
    with local(8, 4, epochs=2) as loader:
        passes = [[(b.epoch, b.position.tolist()[0]) for b in loader] for _ in range(2)]
    assert passes == [[(0, 0), (0, 4), (1, 0), (1, 4)], [(2, 0), (2, 4), (3, 0), (3, 4)]]


def test_a_loader_without_an_end_has_no_length() -> None:
    with local(8, 4, epochs=None) as loader:
        assert [batch.epoch for batch, _ in zip(loader, range(6), strict=False)] == [0, 0, 1, 1, 2, 2]
        with pytest.raises(TypeError, match="never ends"):
            len(loader)


def test_a_broken_loop_goes_on_in_the_next() -> None:
    expected = run(local(16, 4))
    with local(16, 4) as loader:
        seen = [shown(next(iter(loader))) for _ in range(2)]
        seen += [shown(batch) for batch in loader]
    assert seen == expected


def test_ranks_together_are_one_process() -> None:
    alone = run(local(24, 6))
    ranks = [run(local(24, 2, rank=rank, world_size=3)) for rank in range(3)]
    for step, batch in enumerate(alone):
        assert sorted(batch) == sorted(flat(rank[step] for rank in ranks))


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 4}, {"prefetch": 1}, {"prefetch": 5}])
def test_threads_and_prefetch_change_nothing(options: dict[str, Any]) -> None:
    assert run(local(26, 4, recipe=CIFAR, **options)) == run(local(26, 4, recipe=CIFAR))


def test_the_batch_size_changes_nothing() -> None:
    assert flat(run(local(24, 3))) == flat(run(local(24, 8)))


def test_seed_changes_order_and_pixels() -> None:
    zero, one = (flat(run(local(24, 8, seed=seed))) for seed in (0, 1))
    assert [s[2] for s in zero] != [s[2] for s in one]
    assert len({s[3] for s in zero + one}) == 48


def test_every_batch_of_a_list_stays_intact() -> None:
    with local(64, 4) as loader:
        assert [shown(batch) for batch in list(loader)] == run(local(64, 4))


def test_batches_outlive_their_loader() -> None:
    expected = run(local(8, 4))
    for sidecar in (False, True):
        batches = list(local(8, 4, sidecar=sidecar))
        gc.collect()
        assert [shown(batch) for batch in batches] == expected


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_are_the_views_rounded(dtype: str) -> None:
    with local(8, 4) as full, local(8, 4, dtype=dtype) as half:
        a, b = next(iter(full)).views["global"], next(iter(half)).views["global"]
    assert b.dtype == getattr(torch, dtype)
    assert torch.equal(a.to(b.dtype), b)


@pytest.mark.parametrize("sidecar", [True, False])
@pytest.mark.parametrize(("dtype", "channels_last"), [
    ("float32", False), ("float16", False), ("bfloat16", True), ("uint8", False), ("uint8", True)])
def test_views_that_are_kept_are_never_written_again(dtype: str, channels_last: bool, sidecar: bool) -> None:
    """Only a tensor of the first batch is kept, not the batch; many later ones then pass through the ring."""
    with local(64, 4, dtype=dtype, channels_last=channels_last, sidecar=sidecar) as loader:
        stream = iter(loader)
        kept = next(stream).views["global"]
        then = kept.clone()
        for _ in range(12):
            next(stream)
    assert torch.equal(kept, then)


def test_a_torch_dtype_is_a_dtype() -> None:
    with local(8, 4, dtype=torch.bfloat16) as loader:
        assert next(iter(loader)).views["global"].dtype == torch.bfloat16


def test_the_torch_engine_shows_the_same_within_two_levels() -> None:
    with local(8, 4, recipe=CIFAR) as cpu, local(8, 4, recipe=CIFAR, engine="torch") as reference:
        a, b = next(iter(cpu)), next(iter(reference))
    assert a.index.tolist() == b.index.tolist()
    assert (a.views["global"] - b.views["global"]).abs().max() <= 2 / 255


def test_device_is_where_batches_are() -> None:
    with local(8, 4, device="meta") as loader:
        batch = next(iter(loader))
    assert batch.views["global"].device.type == batch.label.device.type == "meta"


def test_stats_count_what_was_delivered() -> None:
    with local(12, 4) as loader:
        assert loader.stats()["delivered"] == 0
        list(loader)
        stats = loader.stats()
    assert (stats["delivered"], stats["samples"], stats["substituted"]) == (3, 12, {})
    assert 0 < stats["wait_seconds"] <= stats["total_seconds"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": 0}, r"^batch_size needs a whole number >= 1, got 0$"),
    ({"batch_size": 9}, r"^a batch of 9 samples is larger than the data, which have 8: .* smaller batch_size"),
    ({"batch_size": 3, "rank": 0, "world_size": 3}, r"^a batch of 3 ranks x 3 samples is larger than the data, which have 8"),
    ({"rank": 2, "world_size": 2}, r"^rank needs 0 <= rank < world_size=2, got 2$"),
    ({"rank": 0, "world_size": 9, "batch_size": 1, "last": "short"}, r"^8 samples cannot be split among 9 ranks"),
    ({"engine": "cqu"}, r"^there is no engine 'cqu'; did you mean 'cpu'\?"),
    ({"dtype": "float64"}, r"^dtype needs one of float32, .* did you mean 'float32'\?|float16"),
    ({"last": "padd"}, r"^last needs one of drop, short, pad, got 'padd'; did you mean 'pad'\?"),
    ({"shuffle": "lane"}, r"^shuffle needs one of .* got 'lane'; did you mean 'lanes'\?"),
    ({"epochs": 0}, r"^epochs needs a whole number >= 1, got 0$"),
    ({"threads": 0}, r"^threads needs a whole number >= 1, got 0$"),
    ({"prefetch": 0}, r"^prefetch needs a whole number >= 1, got 0$"),
    ({"max_bad": 2}, r"^max_bad needs a fraction between 0 and 1, got 2$"),
    ({"seed": -1}, r"^seed needs 0 <= seed < 2\*\*64, got -1$"),
    ({"lanes": 0, "shuffle": "lanes"}, r"^lanes needs .* >= 1, got 0"),
    ({"recipe": "simcrl"}, r"^there is no recipe 'simcrl'; did you mean 'simclr'\?$"),
    ({"recipe": 3}, r"^recipe needs a preset's name or a Recipe, got int$"),
]


@pytest.mark.parametrize(("batch_size", "prefetch"), [(94_000, 2), (95_000, 1)])
def test_large_batches_are_made_one_ahead(batch_size: int, prefetch: int) -> None:
    """Five views of 2 x 3 x 8 x 8 and 3 x 3 x 6 x 6 floats take 2832 bytes a sample; 256 MiB hold 94,787."""
    assert local(8, batch_size, last="short").prefetch == prefetch
    assert local(8, batch_size, last="short", prefetch=3).prefetch == 3


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[", ".join(options) for options, _ in REFUSED])
def test_what_cannot_work_is_refused_at_construction(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as told:
        Loader(data(8), **{"recipe": SMALL, "batch_size": 4, **options})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("engine", ["cpu", "torch"])
def test_a_recipe_that_no_engine_renders_is_refused_at_construction(engine: str) -> None:
    with pytest.raises(UnsupportedRecipe, match="autoencode needs the method's inpainter"):
        Loader(data(8), "lci", 4, engine=engine)


@pytest.mark.parametrize("sidecar", [True, False])
def test_what_is_left_to_the_method_comes_as_it_was_before(sidecar: bool) -> None:
    """Of a hole in the middle of 8 px: the picture in it, and `finished` with and without the hole, from -1 to 1."""
    hole = CenterHole(hole_px=4, blank_px=4, ring_px=0, fill=(255.0,), fill_scale="uint8")
    recipe = Recipe((View("a", 8, (CenterCrop(size_px=8), Normalize(kind="range", range=(-1.0, 1.0)), hole), labels=(3,)),))
    with Loader(data(8), recipe, 4, left=("masks",), shuffle="none", sidecar=sidecar) as loader:
        batch = next(iter(loader))
    with Loader(data(8), recipe, 4, shuffle="none", sidecar=False) as loader:
        whole = next(iter(loader))
    assert batch.views["a"].shape == (1, 4, 3, 8, 8) and float(batch.views["a"].min()) >= 0
    torch.testing.assert_close(batch.finished("a"), whole.views["a"], rtol=0, atol=1e-5)
    shown = batch.finished("a", {"masks": lambda levels, drawn: levels})
    torch.testing.assert_close(shown, 2 * batch.views["a"] - 1)
    assert bool((batch.finished("a")[..., 2:6, 2:6] == 1).all()) and not bool((shown[..., 2:6, 2:6] == 1).all())
    (waits,) = batch.left("a")
    assert waits is not None and waits[0] == hole and torch.equal(waits[1]["mask"], batch.masks("a")[0])
    assert batch.view_labels("a") == whole.view_labels("a") == (3,)
    assert whole.left("a") == [None] and whole.finished("a") is whole.views["a"]
    with pytest.raises(ValueError, match="states no labels for the views of group 'a'"):
        replace(whole, handover=None).view_labels("a")


def test_a_state_fits_whatever_is_left_to_the_method() -> None:
    recipe = Recipe((View("a", 8, (CenterCrop(size_px=8), Inpaint(crop_px=4, hole_px=2, border_px=1, noise_std=0.1))),))
    with Loader(data(8), recipe, 4, left=("inpaint",)) as loader:
        next(iter(loader))
        state = loader.state_dict()
    other = Loader(data(8), recipe, 4, left=("inpaint",))
    other.load_state_dict(state)
    assert other.state_dict() == state
    assert [op.type for op in pickle.loads(pickle.dumps(loader)).handover.rendered.views[0].ops] == ["center_crop"]


def test_an_open_field_is_refused_at_construction() -> None:
    with pytest.raises(UnsupportedRecipe, match=r"crop\.scale is not stated"):
        Loader(data(8), Recipe(views=(View(group="g", size_px=8, ops=(Crop(size_px=8, scale=None),)),)), 4)


def test_a_loader_pickles_as_configuration_and_state() -> None:
    expected = run(local(24, 4))
    with local(24, 4) as loader:
        batches = iter(loader)
        for _ in range(2):
            next(batches)
        copy = pickle.loads(pickle.dumps(loader))
    assert run(copy) == expected[2:]


class Unpicklable:
    """A source that holds something no other process can have."""

    def __init__(self, source: Any) -> None:
        self.source, self.lock = source, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def __len__(self) -> int:
        return len(self.source)


def test_a_source_that_does_not_pickle_renders_in_process_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "viewmill"), Loader(Unpicklable(open_source(data(8))), SMALL, 4) as loader:
        assert [shown(batch) for _ in range(2) for batch in loader] == run(local(8, 4, epochs=2))
        loader.close()
        next(iter(loader))
        assert isinstance(loader._feed, ThreadFeed)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("rendering in threads of the trainer") and "Unpicklable does not pickle" in line


class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """A loader inside a torch DataLoader's worker."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __iter__(self) -> Any:
        for batch in self.loader:
            feed = self.loader._feed
            assert isinstance(feed, ThreadFeed) and feed.threads == 1
            yield batch.index.clone(), batch.views["global"].clone()


def test_in_a_dataloader_worker_it_is_one_thread_and_no_process() -> None:
    with local(16, 4) as loader:
        expected = [(batch.index.clone(), batch.views["global"].clone()) for batch in loader]
    worker = torch.utils.data.DataLoader(Stream(Loader(data(16), SMALL, 4)), batch_size=None, num_workers=1)
    for (index, views), (expected_index, expected_views) in zip(worker, expected, strict=True):
        assert torch.equal(index, expected_index) and torch.equal(views, expected_views)


def test_a_daemonic_process_counts_as_a_worker() -> None:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=lambda: answers.put(placement.is_worker()), daemon=True)
    process.start()
    assert answers.get() is True and placement.is_worker() is False
    process.join()


def test_threads_default_to_the_cores_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system has no affinity mask")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert placement.cores() == 12
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert placement.cores() == 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert placement.cores() == 3


def test_rank_and_world_size_come_from_an_initialized_group_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert (local(8, 4).rank, local(8, 4).world_size) == (0, 1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    try:
        assert (local(8, 4).rank, local(8, 4).world_size) == (1, 2)
    finally:
        monkeypatch.undo()
        torch.distributed.destroy_process_group()


def resources() -> tuple[int, int, int]:
    """Open files, threads, child processes."""
    gc.collect()
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    return (len(os.listdir("/dev/fd")), threading.active_count(), len(children.read_text().split()) if children.exists() else 0)


@pytest.mark.parametrize("make", [
    pytest.param(lambda: (local(64, 4) for _ in range(30)), id="30 loaders, threads"),
    pytest.param(lambda: (Loader(data(64), SMALL, 4) for _ in range(3)), id="3 loaders, sidecar"),
    pytest.param(lambda: [Loader(data(64), SMALL, 4)] * 30, id="one loader, sidecar, 30 times"),
])
def test_leaving_a_loop_early_leaves_nothing_behind(make: Callable[[], Any]) -> None:
    before = resources()
    for loader in make():
        for _batch in loader:
            break
    del loader, _batch
    assert resources() == before
