"""From a study to runs that can be made: which are the same, which cannot be, and recipes of another shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from viewmill import train
from viewmill.augment.presets import recipe as named_recipe
from viewmill.evaluation.ablate.planning import Plan, fit, planned
from viewmill.evaluation.ablate.reading import parsed
from viewmill.evaluation.ablate.shaping import reshaped

DATA = ("data=a.tar", "test_data=b.tar")


def plan(tmp_path: Path, factors: dict[str, Any], *words: str, **more: Any) -> Plan:
    study = parsed("s", {"question": "What?", "method": "simclr", "factors": factors} | more)
    return planned(study, [*DATA, f"out={tmp_path}", *words], train.read, ("ablate", "s"))


def test_a_level_that_is_the_base_runs_own_value_is_the_base_run(tmp_path: Path) -> None:
    made = plan(tmp_path, {"model.temperature": [0.1, 0.2, 0.5]})  # the small run has 0.2
    assert list(made.trials) == ["base", "temperature-0.1", "temperature-0.5"]
    assert made.level("base", "temperature") == "0.2" and made.level("temperature-0.5", "temperature") == "0.5"
    grid = plan(tmp_path, {"model.temperature": [0.2, 0.5], "batch_size": [128, 256]}, design="full")
    assert list(grid.trials) == ["base", "temperature-0.2_batch_size-128", "temperature-0.5_batch_size-128",
                                 "temperature-0.5_batch_size-256"]
    assert {name: grid.level("base", name) for name in grid.factors} == {"temperature": "0.2", "batch_size": "256"}


def test_words_go_from_the_method_over_the_base_and_the_arm_to_the_command(tmp_path: Path) -> None:
    made = plan(tmp_path, {"model.temperature": [0.5]}, "train.epochs=3", "seeds=2", base={"epochs": 7, "model.temperature": 1})
    assert made.settings.arms[1].words[-4:] == ("epochs=7", "model.temperature=1", "model.temperature=0.5", "epochs=3")
    assert made.runs["temperature-0.5"].epochs == 3 and made.runs["base"].model.temperature == 1
    assert made.settings.config.seeds == 2 and made.settings.config.protocols == ("knn", "linear")
    published = plan(tmp_path, {"model.temperature": [0.5]}, small=False)
    assert published.runs["base"].batch_size == 4096 and published.runs["base"].recipe == "simclr"


def test_an_op_is_taken_out_and_a_group_gets_another_number_of_views(tmp_path: Path) -> None:
    made = plan(tmp_path, {"no-jitter": {"recipe.global.jitter": "none"}, "recipe.global.count": [2, 4]})
    assert list(made.trials) == ["base", "no-jitter", "count-4"]
    assert [op.name for op in made.recipes["no-jitter"].views[0].ops or ()] == ["crop", "flip", "grayscale", "normalize"]
    assert made.recipes["count-4"].groups["global"].count == 4
    word = next(word for word in reversed(made.settings.arms[1].words) if word.startswith("recipe="))
    assert json.loads(Path(word.removeprefix("recipe=")).read_text())["name"] == "s, no-jitter"
    assert made.runs["no-jitter"].model == made.runs["base"].model  # at 32 px the method has numbers of its own


def test_shapes_by_hand() -> None:
    dino = named_recipe("dino_cifar")
    without = reshaped(dino, "local.count", 0)
    assert without is not None and list(without.groups) == ["global"]
    one_view = reshaped(dino, "global/1.solarize", "none")
    assert one_view is not None and [[op.name for op in view.ops or ()] for view in one_view.views[:2]] == [
        ["crop", "flip", "jitter", "grayscale", "normalize"]] * 2
    everywhere = reshaped(dino, "*.jitter", "none")
    assert everywhere is not None and not any(op.name == "jitter" for view in everywhere.views for op in view.ops or ())
    assert reshaped(dino, "global.jitter.p", 0) is None and reshaped(dino, "global.normalize.kind", "none") is None


@pytest.mark.parametrize(("factors", "more", "message"), [
    ({"model.temprature": [1]}, {}, "arm temprature-1: unknown key 'model.temprature'; did you mean 'model.temperature'"),
    ({"model.temperature": ["warm"]}, {}, "arm temperature-warm: model.temperature needs a number"),
    ({"recipe.global.blurr.p": [0]}, {}, "arm blurr.p-0: .*has no op 'blurr'"),
    ({"recipe.local.count": [2]}, {}, "arm count-2: recipe.local.count: recipe simclr_cifar has no group 'local'"),
    ({"recipe.global.count": [2.5]}, {}, "needs a whole number of at least 0, got 2.5"),
    ({"recipe.global.count": [0]}, {}, "would leave recipe simclr_cifar without a view"),
    ({"no-crop": {"recipe.global.crop": "none"}}, {}, "arm no-crop: .*its ops end at"),
    ({"model.temperature": [0.1, 1e-1, 0.10]}, {}, "the level 0.1 is there twice"),
    ({"a": {"model.temperature": 1}, "b": {"model.temperature": 1.0}}, {}, "arms a and b are the same run"),
    ({"model.temperature": [0.2]}, {}, "all levels are the base run's own values"),
    ({"model.temperature": [1]}, {"base": {"recipe": "simklr"}}, "arm base: there is no recipe 'simklr'"),
    ({"model.temperature": [1]}, {"settings": {"sedes": 3}}, "unknown key 'sedes'; did you mean 'seeds'"),
    ({"model.temperature": [1]}, {"settings": {"protocols": ["kmn"]}}, "protocols has no 'kmn'"),
    ({"model.temperature": [1]}, {"settings": {"stop": "maybe"}}, "stop needs one of"),
    ({"model.temperature": [1]}, {"settings": {"budget_minutes": 0}}, "budget_minutes needs a number above 0, got 0"),
    ({"model.temperature": [1]}, {"settings": {"part": "4/4"}}, "part needs I/N"),
    ({"model.temperature": [1]}, {"settings": {"part": "0/4", "stop": "behind"}}, "stop and budget_minutes look at all cells"),
    ({"model.temperature": [1]}, {"settings": {"slurm": "a.py"}}, "a script of a shell"),
])
def test_what_cannot_be_made_is_refused_before_anything_is(tmp_path: Path, factors: dict[str, Any], more: dict[str, Any],
                                                           message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        plan(tmp_path, factors, **more)
    assert "\n" not in str(caught.value)


def test_a_study_without_pictures_says_so(tmp_path: Path) -> None:
    study = parsed("s", {"question": "What?", "method": "simclr", "factors": {"model.temperature": [1]}})
    with pytest.raises(ValueError, match="needs labelled pictures: data=PATTERN"):
        planned(study, [f"out={tmp_path}"], train.read)


@pytest.mark.parametrize(("factors", "message"), [
    ({"model.backbone": ["resnet19"]}, "arm backbone-resnet19: .*resnet19"),
    ({"batch_size": [512]}, "arm batch_size-512: batch_size=512 needs at least as many images"),
])
def test_a_network_or_a_batch_that_cannot_be_is_found_before_anything_runs(tmp_path: Path, factors: dict[str, Any],
                                                                         message: str) -> None:
    made = plan(tmp_path, factors)
    with pytest.raises(ValueError, match=message):
        fit(made, 300)


def test_a_recipe_of_its_own_stands_in_the_study(tmp_path: Path) -> None:
    own = {"views": [{"group": "global", "count": 2, "size_px": 32, "ops": [
        {"op": "crop", "size_px": 32}, {"op": "cutout", "size_px": 8, "p": 0.0}, {"op": "normalize", "kind": "none"}]}]}
    made = plan(tmp_path, {"recipe.global.cutout.p": [0, 1]}, recipe=own)
    assert list(made.trials) == ["base", "cutout.p-1"]
    assert [op.name for op in made.recipes["base"].views[0].ops or ()] == ["crop", "cutout", "normalize"]
