"""A study's file: what it says, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from viewmill.evaluation.ablate.reading import load, names, parsed
from viewmill.evaluation.ablate.study import Level

WHOLE = {"question": "What?", "method": "simclr", "factors": {"model.temperature": [0.1, 0.5]}}


def test_a_factor_is_said_in_four_ways() -> None:
    study = parsed("s", WHOLE | {"factors": {
        "model.temperature": [0.1, 0.5],
        "gray": {"key": "recipe.global.grayscale.p", "levels": [0, 0.5]},
        "crop": {"levels": {"small": {"recipe.global.crop.scale": [0.08, 1.0]}, "as-is": None}},
        "no-jitter": {"recipe.global.jitter": "none", "epochs": 2}}})
    temperature, gray, crop, jitter = study.factors
    assert temperature.name == "temperature"
    assert temperature.levels == (Level("0.1", (("model.temperature", 0.1),)), Level("0.5", (("model.temperature", 0.5),)))
    assert (gray.name, [level.name for level in gray.levels]) == ("gray", ["0", "0.5"])
    assert crop.levels == (Level("small", (("recipe.global.crop.scale", [0.08, 1.0]),)), Level("as-is", ()))
    assert jitter.levels == (Level("no-jitter", (("recipe.global.jitter", "none"), ("epochs", 2))),)


def test_a_key_of_a_recipe_gives_a_name_that_a_file_can_have() -> None:
    study = parsed("s", WHOLE | {"factors": {"recipe.global/0.crop.scale": [[0.08, 1.0], [0.5, 1.0]]}})
    assert study.factors[0].name == "crop.scale"
    assert [level.name for level in study.factors[0].levels] == ["0.08-1.0", "0.5-1.0"]


def test_arms_can_be_listed_with_methods_of_their_own() -> None:
    study = parsed("s", {"question": "What?", "method": "moco", "arms": {
        "queue": {"model.queue": 256}, "bank": {"method": "instdisc", "model.negatives": 256}}})
    assert [(trial.name, trial.method, trial.changes) for trial in study.listed] == [
        ("queue", None, (("model.queue", 256),)), ("bank", "instdisc", (("model.negatives", 256),))]


def test_settings_become_words_as_a_command_has_them() -> None:
    study = parsed("s", WHOLE | {"settings": {"seeds": 2, "protocols": ["knn"], "max_images": None, "stop": "halving"}})
    assert study.settings == ("seeds=2", 'protocols=["knn"]', "max_images=null", "stop=halving")


@pytest.mark.parametrize(("changes", "message"), [
    ({"question": None}, "question needs a text, got None"),
    ({"question": ...}, "a study needs question"),
    ({"method": "simklr"}, "unknown method 'simklr'; did you mean 'simclr'"),
    ({"methods": "simclr"}, "unknown key 'methods'; did you mean 'method'"),
    ({"factors": {}}, "factors needs at least one"),
    ({"factors": {"model.temperature": []}}, "factors.model.temperature needs at least one level, got none"),
    ({"factors": {"t": {"key": "model.temperature", "levels": []}}}, "factors.t needs at least one level, got none"),
    ({"factors": {"t": {"key": "model.temperature"}}}, "factors.t: there are no levels"),
    ({"factors": {"t": {"levels": [1]}}}, "factors.t: a list of levels needs key"),
    ({"factors": {"t": {"levels": {}}}}, "factors.t.levels needs at least one level"),
    ({"factors": {"t": {"key": "epochs", "levels": {"a": {"epochs": 1}}}}}, "named levels have keys of their own; leave key="),
    ({"factors": {"t": 3}}, "factors.t needs a list of levels, or key and levels, got 3"),
    ({"factors": {"model.temperature": [0.1, 0.1]}}, "the level 0.1 is there twice"),
    ({"factors": {"model.temperature": [{"a": 1}]}}, "needs a value, got a mapping of a; nested keys are written as one"),
    ({"factors": {"a/b": {"epochs": 1}}}, "a name becomes part of a file's.*'a/b'"),
    ({"factors": {"model.epochs": [1], "x.epochs": [2]}}, "two factors would be called 'epochs'"),
    ({"design": "pairwse"}, "unknown design 'pairwse'; did you mean 'pairwise'"),
    ({"design": "pairwise"}, "design pairwise needs at least two factors, got temperature alone"),
    ({"design": "leave-one-out"}, "leave-one-out needs one level a factor, what it is to be left out by, got 2"),
    ({"design": "full", "factors": {"a": {"epochs": 1}, "b": {"epochs": 2}}}, "epochs is changed by two factors"),
    ({"arms": {"a": {}, "b": {"epochs": 1}}}, "either factors, whose levels a design puts together, or arms"),
    ({"factors": ..., "arms": {"a": {}}}, "arms needs at least two"),
    ({"factors": ..., "arms": {"a": {}, "b": {}}, "design": "full"}, "design is for factors; this study lists its arms"),
    ({"factors": ..., "arms": {"a": {}, "b": {"method": "mea"}}}, "unknown method 'mea'"),
    ({"base": {"data": "a.tar"}}, "base: data is not a key that a study can set"),
    ({"base": {"seed": 3}}, "base: seed is not a key that a study can set"),
    ({"base": {"model": {"temperature": 1}}}, "base.model needs a value, got a mapping of temperature"),
    ({"base": [1]}, "base needs KEY: value"),
    ({"small": "yes"}, "small needs true"),
    ({"settings": ["seeds=1"]}, "settings needs KEY: value"),
    ({"recipe": {"view": []}}, "recipe needs views"),
    ({"recipe": {"views": [{"group": "a", "size_px": 32, "ops": [{"op": "blurr"}]}]}}, "recipe: .*blurr.*blur"),
])
def test_what_makes_no_study_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    said = {key: value for key, value in (WHOLE | changes).items() if value is not ...}
    with pytest.raises(ValueError, match=message) as caught:
        parsed("s", said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [
    ("question: [", "not YAML that makes sense"), ("", "a study is a mapping"), ("- 1", "a study is a mapping"),
    ("question: a\nquestion: b", "not YAML that makes sense.*question"),
    ("question: What?\n", "study.yaml: a study needs method"),
])
def test_a_file_that_makes_no_sense_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load(str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_study_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.yaml: this study cannot be read: No such file"):
        load(str(tmp_path / "absent.yaml"))
    with pytest.raises(ValueError, match=r"unknown study 'nothing-like-it'.*or give a file, STUDY\.yaml"):
        load("nothing-like-it")


def test_the_studies_that_come_with_it_can_be_read() -> None:
    for name in names():
        assert load(name).question.endswith("?"), name
