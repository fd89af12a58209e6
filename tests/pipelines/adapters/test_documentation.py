"""docs/plug-in.md: its snippets run, and its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import viewmill as vm
from viewmill.pipelines.adapters import RECEIVERS
from viewmill.pipelines.bench.plug_in.trainers import TRAINERS

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "plug-in.md").read_text()


def test_its_snippets_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 1
    place: dict[str, object] = {}
    exec(blocks[0], place)
    recipe = place["recipe"]
    assert isinstance(recipe, vm.Recipe) and recipe.groups["global"].count == 2


def test_every_receiver_and_every_trainer_is_in_it() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", TEXT, re.MULTILINE)
    assert rows == list(RECEIVERS) and all(f"`{name}`" in TEXT for name in TRAINERS)
