"""The torch engine against views that Pillow and torchvision rendered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from viewmill.augment.render import render

from . import oracle


@pytest.fixture(scope="module")
def cases(shared: Path) -> list[oracle.Case]:
    return oracle.cases(shared)


def test_every_view_is_within_the_tolerance_of_the_contract(cases: list[oracle.Case]) -> None:
    views = {case.name: render([case.image], case.recipe, case.params)["global"][case.copy, 0].numpy() for case in cases}
    assert [c for case in cases if (c := oracle.complaint(views[case.name], case))] == []
    assert len(cases) >= 86


def test_crops_equal_pillow_byte_for_byte(cases: list[oracle.Case]) -> None:
    crops = [case for case in cases if len(case.recipe.views[0].ops or ()) == 1 and case.name.startswith("crop")]
    assert len(crops) >= 20
    for case in crops:
        view = render([case.image], case.recipe, case.params)["global"][case.copy, 0].numpy()
        assert np.abs(oracle.difference(view, case)).max() < 1e-3, case.name


def test_what_rounds_to_levels_equals_pillow_byte_for_byte(cases: list[oracle.Case]) -> None:
    for name in ("cutout", "posterize_3", "equalize"):
        case = next(case for case in cases if case.name == name)
        view = render([case.image], case.recipe, case.params)["global"][case.copy, 0].numpy()
        assert np.abs(oracle.difference(view, case)).max() < 1e-3, case.name


def test_a_wrong_convention_is_caught(cases: list[oracle.Case]) -> None:
    case = next(case for case in cases if case.name == "jitter_bcsh")
    params = {"global/0": {k: dict(v) for k, v in case.params["global/0"].items()}}
    params["global/0"]["jitter"]["order"] = params["global/0"]["jitter"]["order"][:, ::-1].copy()
    assert oracle.complaint(render([case.image], case.recipe, params)["global"][case.copy, 0].numpy(), case)
