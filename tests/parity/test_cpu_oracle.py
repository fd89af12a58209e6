"""The cpu engine against views that Pillow and torchvision rendered, and against the torch engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from viewmill.pipelines.engines.cpu import render

from . import oracle


@pytest.fixture(scope="module")
def cases(shared: Path) -> list[oracle.Case]:
    return oracle.cases(shared)


def test_every_view_is_within_the_tolerance_of_the_contract(cases: list[oracle.Case]) -> None:
    """As an engine that turns hue in Pillow's steps, which is ours; the wider one of an exact turn holds as well."""
    views = {case.name: render([case.image], case.recipe, case.params)["global"][case.copy, 0] for case in cases}
    for kind in ("hue_steps", "contract"):
        assert [c for case in cases if (c := oracle.complaint(views[case.name], case, (kind,)))] == []
    assert len(cases) == 87


def test_antialiased_crops_equal_pillow_byte_for_byte(cases: list[oracle.Case]) -> None:
    crops = [case for case in cases if len(case.recipe.views[0].ops or ()) == 1 and case.name.startswith("crop")]
    assert len(crops) >= 20
    for case in crops:
        view = render([case.image], case.recipe, case.params)["global"][case.copy, 0]
        assert np.abs(oracle.difference(view, case)).max() < 1e-3, case.name
