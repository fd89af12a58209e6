"""Commands make again what they stand beside: read back, they say the same."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from viewmill import train
from viewmill.evaluation import command
from viewmill.evaluation.report import commands
from viewmill.evaluation.report.runs import Run, read
from viewmill.models.training.overrides import plain

from .folders import write_result, write_run


def of(folder: Path, *more: str) -> Run:
    (run,) = read([write_run(folder, "a b.tar", *more)])
    return run


def test_a_training_is_told_by_the_keys_that_are_not_published_alone(tmp_path: Path) -> None:
    run = of(tmp_path / "a", "optimizer.lr=0.3", "recipe.global/1.grayscale.p=0.05", "recipe.decode=scaled", "knn.test_data=null")
    said = commands.training(run, train.read)
    words = shlex.split(said.line)
    assert words[:4] == ["viewmill", "train", "simclr", "data=a b.tar"] and said.refused == ()
    assert {word.split("=")[0] for word in words[3:]} == {
        "data", "out", "recipe", "epochs", "batch_size", "model.backbone", "optimizer.lr", "recipe.decode",
        "recipe.global/1.grayscale.p"}
    config, recipe = train.read(words[2:])
    assert plain(config) == run.config and recipe.to_dict() == run.about["recipe"]


def test_a_key_that_this_version_refuses_is_named_and_left_out(tmp_path: Path) -> None:
    run = of(tmp_path / "a", "optimizer.lr=0.3")
    run.config["sync_bn"] = None  # as versions before had it
    said = commands.training(run, train.read)
    assert said.refused == ("sync_bn",) and "sync_bn" not in said.line and "optimizer.lr=0.3" in said.line


def test_an_op_that_the_named_recipe_does_not_have_is_told_of(tmp_path: Path) -> None:
    run = of(tmp_path / "a")
    run.about["recipe"]["views"][0]["ops"].append({"op": "solarize", "p": 0.5})
    assert commands.training(run, train.read).refused == ("recipe.global.solarize.p",)


def test_a_method_that_is_not_there_has_all_its_keys_told(tmp_path: Path) -> None:
    run = of(tmp_path / "a")
    run.config["method"] = "gone"
    line = commands.training(run, train.read).line
    assert line.startswith("viewmill train gone 'data=a b.tar'") and "optimizer.lr=" in line and "null" not in line
    assert commands.published(run, train.read) is None


@pytest.mark.parametrize(("more", "own"), [({}, {"k", "max_images"}), ({"viewmill": "9"}, {"k", "max_images"})])
def test_an_evaluation_is_told_likewise(more: dict[str, str], own: set[str], tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    write_result(folder, **more)
    said = json.loads((folder / "eval" / "knn.json").read_text())
    words = shlex.split(commands.evaluating(said).line)
    assert words[:4] == ["viewmill", "eval", "knn", str(folder)]
    assert {word.split("=")[0] for word in words[4:]} == {"data", "test_data", *own}
    _, _, config, its = command.read(words[2:])
    assert {**plain(config), **plain(its)} == said["config"]


def test_published_numbers_are_those_of_the_method_with_that_recipe(tmp_path: Path) -> None:
    run = of(tmp_path / "a", "optimizer.lr=0.3")
    before = commands.published(run, train.read)
    assert before is not None and before["optimizer.lr"] != 0.3 and before["recipe.global/1.flip.p"] == 0.5
