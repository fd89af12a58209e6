"""Restored at every step into other worlds: all kinds of sources, orders, ends of epochs, recipes and damage."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewmill import Loader, Recipe, together
from viewmill.pipelines.sources.arrays import ArraySource

from .elastic import WORLDS, World, assert_restorable_at_every_step
from .shards import encoded, write_tar
from .streams import CIFAR, SMALL, data, folder, pictures
from .test_partners import PAIR, PUZZLE

ALONE = World()


@dataclass(frozen=True)
class Case:
    """A stream: where its samples lie, what is made of them, and in what order."""

    source: str
    recipe: Recipe = SMALL
    first: World = ALONE
    options: dict[str, Any] = field(default_factory=dict)


LANES = {"shuffle": "lanes", "window": 1}
CASES = {
    "arrays": Case("arrays"),
    "arrays, two epochs, short": Case("arrays", options={"epochs": 2, "last": "short"}),
    "arrays, two ranks, pad": Case("arrays", first=World(2, 3), options={"last": "pad"}),
    "arrays, uint8, colour": Case("arrays", CIFAR, options={"dtype": "uint8"}),
    "arrays, half floats": Case("arrays", options={"dtype": "bfloat16", "shuffle": "none"}),
    "folder, bad samples": Case("damaged folder", options={"last": "short"}),
    "folder, bad samples, two ranks, lanes": Case("damaged folder", first=World(2, 2), options={**LANES, "lanes": 6}),
    "tars, full": Case("tars", options={"last": "drop"}),
    "tars, 6 lanes, two epochs": Case("tars", options={**LANES, "lanes": 6, "epochs": 2}),
    "tars, 5 lanes, three ranks, pad": Case("tars", first=World(3, 2), options={**LANES, "lanes": 5, "last": "pad"}),
    "tars, 256 lanes, short": Case("tars", options={"shuffle": "lanes", "last": "short"}),
    "second images": Case("arrays", PAIR, options={"last": "short"}),
    "second images, bad ones": Case("damaged folder", PUZZLE, first=World(3, 2), options={"last": "pad"}),
    "repeats": Case("tars", replace(SMALL, repeats=2), options={**LANES, "lanes": 4}),
    "recipes together": Case("arrays", together({"a": SMALL, "b": SMALL.with_op("*", "flip", p=0.0)})),
}


def tars(root: Path, sizes: tuple[int, ...] = (9, 1, 7, 0, 6)) -> list[str]:
    """Shards of PNGs, one of a single sample and one without any image."""
    images, made, paths = pictures(sum(sizes)), 0, []
    for number, size in enumerate(sizes):
        files = [("note.txt", b"no image")]
        for i in range(made, made + size):
            files += [(f"{i:05d}.png", encoded(images[i], "PNG")), (f"{i:05d}.cls", str(i % 5).encode())]
        paths.append(str(write_tar(root / f"part-{number}.tar", files)))
        made += size
    return paths


def opened(kind: str, root: Path) -> Any:
    if kind == "arrays":
        return data(23)
    return tars(root) if kind == "tars" else folder(root, 23, broken={2, 11, 17}, headless={5})


def maker(case: Case, root: Path) -> partial[Loader]:
    options = {"sidecar": False, "threads": 2, "max_bad": 1.0, **case.options}
    return partial(Loader, opened(case.source, root), case.recipe, **options)


@pytest.mark.parametrize("name", CASES)
def test_restored_at_every_step_other_worlds_show_exactly_the_rest(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    make = maker(case, tmp_path)
    worlds = [world for world in WORLDS if world.exact or case.recipe in (SMALL, PAIR)]
    assert assert_restorable_at_every_step(make, case.first, worlds) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_state_goes_on_in_every_world_and_in_a_sidecar(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    worlds = [*WORLDS, World(2, 3, {"sidecar": True, "threads": 1})]
    assert assert_restorable_at_every_step(maker(case, tmp_path), case.first, worlds, every=True) >= 21


def test_a_sidecar_goes_on_where_threads_of_two_ranks_were(tmp_path: Path) -> None:
    case = CASES["tars, 6 lanes, two epochs"]
    make = maker(replace(case, options={**case.options, "epochs": 1}), tmp_path)
    assert assert_restorable_at_every_step(make, World(2, 6), [World(1, 5, {"sidecar": True, "threads": 2})]) == 1


def test_what_is_lost_is_found_out(tmp_path: Path) -> None:
    """The comparison itself: a loader that skips a sample, and one that changes a pixel."""
    images, labels = data(12)

    def skipping(batch_size: int, **options: Any) -> Loader:
        loader = Loader((images, labels), SMALL, batch_size, sidecar=False, last="short", **options)
        load = loader.load_state_dict
        loader.load_state_dict = lambda state: load({**state, "delivered": state["delivered"] + 1})  # type: ignore[method-assign]
        return loader

    def painting(batch_size: int, **options: Any) -> Loader:
        changed = [np.array(image) for image in images]
        changed[3][..., 0] ^= options.get("threads", 2) == 1
        source = ArraySource(changed, labels)
        source.fingerprint = "the same"
        return Loader(source, SMALL, batch_size, sidecar=False, last="short", **options)

    for make in (skipping, painting):
        with pytest.raises(AssertionError, match=r"state .* in World"):
            assert_restorable_at_every_step(make, worlds=WORLDS[:1])
