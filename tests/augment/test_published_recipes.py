"""Every published recipe can be held by the schema; the presets say what the published ones say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import viewmill as vm
import yaml
from viewmill.augment import Recipe
from viewmill.augment.presets import names

PROSE = {"note", "reported", "rows", "documents", "method", "variant", "form", "verified", "use", "source", "id"}
ORACLE_OF = {"simmim": "simmim_vit", "simclr_pil": None, "mae_cifar": None}


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, dict[str, Any]]:
    entries = yaml.safe_load((shared / "oracles" / "recipes.yaml").read_text())["recipes"]
    return {entry["id"]: _data(entry) for entry in entries}


def _data(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _data(v) for k, v in value.items() if k not in PROSE}
    return [_data(v) for v in value] if isinstance(value, list) else value


def test_every_entry_is_built_and_kept(published: dict[str, dict[str, Any]]) -> None:
    assert len(published) == 86
    for name, entry in published.items():
        recipe = Recipe.from_dict(entry)
        kept = recipe.to_dict()
        for view, ours in zip(entry["views"], kept["views"], strict=True):
            for op, our_op in zip(view["ops"] or [], ours["ops"] or [], strict=True):
                assert {k: our_op[k] for k in op} == op, name
        assert Recipe.from_dict(kept) == recipe, name


@pytest.mark.parametrize("name", [n for n in names() if ORACLE_OF.get(n, n)])
def test_a_preset_equals_its_published_entry_wherever_that_speaks(name: str, published: dict[str, dict[str, Any]]) -> None:
    ours, theirs = vm.recipe(name).to_dict(), published[ORACLE_OF.get(name) or name]
    assert len(ours["views"]) == len(theirs["views"])
    for view, their_view in zip(ours["views"], theirs["views"], strict=True):
        assert {k: view.get(k) for k in their_view if k != "ops"} == {k: v for k, v in their_view.items() if k != "ops"}
        assert [op["op"] for op in view["ops"]] == [op["op"] for op in their_view["ops"]]
        for op, their_op in zip(view["ops"], their_view["ops"], strict=True):
            stated = {k: v for k, v in their_op.items() if v is not None}
            assert {k: op[k] for k in stated} == stated
