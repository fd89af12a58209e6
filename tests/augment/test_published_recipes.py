"""Every published recipe can be held by the schema, and has a preset that says what the published one says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import viewmill as vm
import yaml
from viewmill.augment import Recipe
from viewmill.augment.presets import PRESETS, names

PROSE = {"note", "reported", "rows", "documents", "method", "variant", "form", "verified", "use", "source", "id"}

OURS = {"simclr_pil", "simclr_v2_cifar", "mae_cifar", "mae_cifar_blocks", "mae_cifar_cells", "simmim_cifar", "maskfeat_cifar",
        "data2vec_cifar", "ijepa_p16", "ijepa_cifar", "dino_cifar", "dino_2x32", "swav_cifar", "cmc_cifar", "pirl_cifar",
        "decoupling_cifar", "moco_cifar", "moco_v3_cifar", "nnclr_cifar", "barlow_cifar", "vicreg_cifar", "byol_cifar",
        "simsiam_cifar", "esvit_cifar", "context_cifar", "jigsaw_cifar", "jigsaw_plus_cifar", "pseudo_labels",
        "pseudo_labels_cifar", "colorization_cifar", "splitbrain_cifar", "damaged_jigsaw_lab", "damaged_jigsaw_cifar",
        "context_encoder_random_64", "context_encoder_cifar", "context_encoder_center_cifar", "lci_cifar", "probe_rotnet",
        "deepcluster_cifar", "counting_cifar", "rotnet_0_90_cifar", "rotnet_0_180_cifar", "rotnet_90_270_cifar", "finetune",
        "beit_cifar", "beit_tokenizer_cifar", "igpt_ar_cifar", "igpt_bert_cifar", "cae_cifar",
        "milan_cifar", "eva_cifar", "ibot_cifar", "ibot_2x32", "dinov2_cifar", "dinov2_2x32"}
"""Presets that the collection has not: SimCLR in torchvision's ops on Pillow, views at 32 px of methods that were published
without or, MoCo, in a notebook alone, two turns for four, and views that pseudo-labels, RotNet's probes and fine-tuning train
on."""

ADDED = {
    "cpc_v2": 2, "jigsaw_pytorch": 2, "jigsaw_revisiting": 2, "damaged_jigsaw": 2, "lci": 1, "context_encoder_alexnet": 4,
    "deepcluster": {"cluster": 1},
}
"""How many ops of ours come before the published ones, where those begin in the middle of the chain."""


@pytest.fixture(scope="module")
def entries(shared: Path) -> dict[str, dict[str, Any]]:
    return {e["id"]: e for e in yaml.safe_load((shared / "oracles" / "recipes.yaml").read_text())["recipes"]}


@pytest.fixture(scope="module")
def published(entries: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: _data(entry) for name, entry in entries.items()}


def _data(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _data(v) for k, v in value.items() if k not in PROSE}
    return [_data(v) for v in value] if isinstance(value, list) else value


def _stated(value: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in value.items() if v is not None}


def _copies(recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """One entry for each copy of each view, with its own role and label; a count that is not a number stays."""
    copies = []
    for view in recipe["views"]:
        count = view["count"] if isinstance(view["count"], int) else 1
        for i in range(count):
            own = {"role": view.get("roles", [None] * count)[i], "label": view.get("labels", [None] * count)[i],
                   "image": view.get("image", "self"), "count": None if isinstance(view["count"], int) else view["count"]}
            copies.append({**own, "group": view["group"], "size_px": view["size_px"], "ops": view["ops"]})
    return copies


def test_every_entry_is_built_and_kept(published: dict[str, dict[str, Any]]) -> None:
    assert len(published) == 86
    for name, entry in published.items():
        recipe = Recipe.from_dict(entry)
        kept = recipe.to_dict()
        for view, ours in zip(entry["views"], kept["views"], strict=True):
            for op, our_op in zip(view["ops"] or [], ours["ops"] or [], strict=True):
                assert {k: our_op[k] for k in op} == op, name
        assert Recipe.from_dict(kept) == recipe, name


def test_every_entry_has_a_preset_and_ours_are_listed(published: dict[str, dict[str, Any]]) -> None:
    assert set(names()) == set(published) | OURS and not OURS & set(published)


@pytest.mark.parametrize("name", [n for n in names() if n not in OURS])
def test_a_preset_equals_its_published_entry_wherever_that_speaks(name: str, published: dict[str, dict[str, Any]]) -> None:
    ours, theirs = _copies(vm.recipe(name).to_dict()), _copies(published[name])
    if name == "cpc_v2":  # how many patches there are is not stated
        theirs *= len(ours)
    assert len(ours) == len(theirs)
    for copy, their_copy in zip(ours, theirs, strict=True):
        view = {k: v for k, v in their_copy.items() if k in ("role", "label", "image", "group", "count") or v is not None}
        assert {k: copy[k] for k in view if k != "ops"} == {k: v for k, v in view.items() if k != "ops"}
        if their_copy["ops"] is None:
            continue
        added = ADDED.get(name, 0)
        first = added.get(copy["group"], 0) if isinstance(added, dict) else added
        ops = copy["ops"][first:]
        assert [op["op"] for op in ops] == [op["op"] for op in their_copy["ops"]]
        for op, their_op in zip(ops, their_copy["ops"], strict=True):
            stated = _stated(their_op)
            assert {k: op[k] for k in stated} == stated


@pytest.mark.parametrize("name", [n for n in names() if n not in OURS])
def test_a_preset_cites_its_source_and_says_what_was_decided(name: str, entries: dict[str, dict[str, Any]]) -> None:
    entry, preset = entries[name], PRESETS[name]
    for cited in re.findall(r"arXiv \d+\.\d+|\b[\w-]+/[\w.-]+ @ [0-9a-f]+", entry["source"]):
        assert cited in preset.source
    open_fields = [
        field for view in entry["views"] for op in view["ops"] or [{"ops": None}] for field, value in op.items()
        if value is None and not (op["op" if "op" in op else "ops"] == "solarize" and op.get("p") == 0)]
    assert preset.note or not open_fields


def test_reported_values_are_taken_where_nothing_better_is_known(entries: dict[str, dict[str, Any]]) -> None:
    for name, entry in entries.items():
        if name in ADDED:
            continue
        ours = vm.recipe(name).to_dict()["views"]
        for view, our_view in zip(entry["views"], ours, strict=False):
            for op, our_op in zip(view["ops"] or [], our_view["ops"], strict=False):
                for field, value in op.get("reported", {}).items():
                    if isinstance(value, list) and field == "ratio":
                        value = pytest.approx(value)
                    assert our_op[field] == value, (name, op["op"], field)
