"""Batches of bytes, and with channels last: what every engine writes, what a loader hands out, and what that saves."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
import torch
import viewmill as vm
from viewmill.augment import Recipe, View
from viewmill.augment.levels import gains
from viewmill.augment.ops import Blur, Crop, Flip, Grayscale, Jitter, Normalize, Solarize
from viewmill.augment.recipe import GroupShape
from viewmill.pipelines.engines.dali.library import missing
from viewmill.pipelines.ring import Layout, Ring

from .streams import pictures

RECIPE = Recipe(name="colour", views=(
    View("global", (12, 10), (Crop(size_px=(12, 10)), Flip(), Jitter(p=0.8), Grayscale(p=0.3), Blur(p=0.5, sigma_px=(0.1, 2.0)),
                              Normalize(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))), count=2),
    View("local", 9, (Crop(size_px=9), Jitter(), Solarize(p=0.5)))))
ENGINES = ["cpu", "torch", pytest.param("dali", marks=pytest.mark.skipif(missing() != "", reason="DALI is not there"))]
DTYPES = ["float32", "float16", "bfloat16", "uint8"]


def rendered(engine: str, dtype: str, channels_last: bool = False) -> dict[str, torch.Tensor]:
    images = pictures(6)
    params = vm.draw(RECIPE, 1, 0, np.arange(6), np.array([each.shape[:2] for each in images]))
    return vm.render(images, RECIPE, params, engine=engine, dtype=dtype, channels_last=channels_last)


@pytest.mark.parametrize("engine", ENGINES)
def test_bytes_normalized_later_are_the_views_within_half_a_level(engine: str) -> None:
    levels, exact = rendered(engine, "uint8"), rendered(engine, "float32")
    views = vm.normalize(levels, RECIPE)
    for group, (gain, _) in gains(RECIPE).items():
        assert levels[group].dtype == torch.uint8 and levels[group].float().std() > 20
        apart = (views[group] - exact[group]).abs() / torch.tensor(gain)[:, None, :, None, None]
        assert 0.4 < apart.max() < 0.5 + 1e-3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("engine", ENGINES)
def test_channels_last_moves_values_and_changes_none(engine: str, dtype: str) -> None:
    first, last = rendered(engine, dtype), rendered(engine, dtype, channels_last=True)
    for group, views in first.items():
        assert last[group].dtype == views.dtype == getattr(torch, dtype) and torch.equal(last[group], views)
        for view in last[group]:
            assert view.is_contiguous(memory_format=torch.channels_last) and not view.is_contiguous()


@pytest.mark.parametrize("sidecar", [False, True])
@pytest.mark.parametrize("engine", ["cpu", "torch"])
def test_a_loader_streams_bytes_with_channels_last(engine: str, sidecar: bool) -> None:
    options = {"batch_size": 3, "threads": 1, "engine": engine}
    plain = list(vm.Loader(pictures(8), RECIPE, sidecar=False, last="short", **options))  # type: ignore[arg-type]
    made = list(vm.Loader(pictures(8), RECIPE, sidecar=sidecar, last="short", dtype="uint8", channels_last=True,
                          **options))  # type: ignore[arg-type]
    assert [len(batch) for batch in made] == [3, 3, 2]
    for batch, exact in zip(made, plain, strict=True):
        for group, views in vm.normalize(batch.views, RECIPE).items():
            assert batch.views[group].dtype == torch.uint8
            assert batch.views[group][0].is_contiguous(memory_format=torch.channels_last)
            assert views[0].is_contiguous(memory_format=torch.channels_last)
            gain = torch.tensor(gains(RECIPE)[group][0])[:, None, :, None, None]
            assert ((views - exact.views[group]).abs() / gain).max() < 0.5 + 1e-3


@pytest.mark.skipif(missing() != "", reason="DALI is not there")
def test_the_dali_engine_streams_them_too() -> None:
    with vm.Loader(pictures(6), RECIPE, 3, engine="dali", device="cpu", dtype="uint8", channels_last=True, threads=1) as loader:
        batch = next(iter(loader))
    assert batch.views["global"].dtype == torch.uint8 and batch.views["global"].shape == (2, 3, 3, 12, 10)
    assert batch.views["global"][1].is_contiguous(memory_format=torch.channels_last)


def test_a_batch_keeps_its_memory_format_on_another_device() -> None:
    with vm.Loader(pictures(6), RECIPE, 3, sidecar=False, threads=1, channels_last=True, device="meta") as loader:
        assert next(iter(loader)).views["local"][0].is_contiguous(memory_format=torch.channels_last)


def test_bytes_take_a_quarter_of_the_room() -> None:
    """256 rows of 2 x 3 x 224 x 224: 308,281,344 bytes as float32, 77,070,336 as bytes; both are multiples of 64."""
    groups = (("global", GroupShape(2, 3, 224, 224)),)
    assert Layout(groups, 256).slot_bytes == 308_281_344
    for last in (False, True):
        assert Layout(groups, 256, "uint8", last).slot_bytes == 77_070_336


def test_a_layout_with_channels_last_has_them_last() -> None:
    layout = Layout((("a", GroupShape(2, 3, 5, 7)),), 4, "bfloat16", channels_last=True)
    array = layout.arrays(mmap.mmap(-1, layout.slot_bytes), 3)["a"]
    assert array.shape == (2, 3, 5, 7, 3) and array.dtype == np.uint16 and array.flags.c_contiguous


class Borrower:
    def __init__(self) -> None:
        self.free: list[int] = []
        self.memory: dict[int, mmap.mmap] = {}

    def add(self, number: int, memory: mmap.mmap, fd: int | None) -> None:
        self.memory[number] = memory
        self.free.append(number)

    def give(self, number: int) -> None:
        self.free.append(number)

    def drop(self, number: int) -> None:
        del self.memory[number]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_slot_returns_when_the_last_piece_of_a_view_dies(dtype: str) -> None:
    borrower = Borrower()
    layout = Layout((("a", GroupShape(2, 3, 5, 7)),), 4, dtype, channels_last=True)
    ring = Ring(layout, 1, borrower, shared=False)
    number = borrower.free.pop(0)
    layout.arrays(borrower.memory[number])["a"][...] = 0
    views = ring.lend(number, 4)["a"]
    assert views.shape == (2, 4, 3, 5, 7) and views.dtype == getattr(torch, dtype)
    piece = views[1, :, 2].flatten(1, 2)[0]
    del views
    assert ring.held == 1 and number not in borrower.free
    del piece
    assert ring.held == 0 and number in borrower.free


@pytest.mark.parametrize("engine", ENGINES)
def test_a_recipe_that_bytes_cannot_hold_is_refused_by_every_engine(engine: str) -> None:
    with pytest.raises(ValueError, match=r"recipe jigsaw, view patch/0: uint8 holds .* use dtype='float32'"):
        vm.Loader(pictures(8), "jigsaw", 2, engine=engine, dtype="uint8")
    images = [np.zeros((300, 300, 3), np.uint8)]
    params = vm.draw(vm.recipe("jigsaw"), 0, 0, np.arange(1), np.array([[300, 300]]))
    with pytest.raises(ValueError, match="use dtype='float32'"):
        vm.render(images, vm.recipe("jigsaw"), params, engine=engine, dtype="uint8")


def test_channels_last_is_a_yes_or_a_no() -> None:
    with pytest.raises(ValueError, match="channels_last needs True or False, got 'yes'"):
        vm.Loader(pictures(8), RECIPE, 2, channels_last="yes")  # type: ignore[arg-type]
