"""Other trainers' data loading before and after: both sides make the same batches, are measured, and told in one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from viewmill.augment.imports import import_recipe
from viewmill.pipelines.bench import plug_in
from viewmill.pipelines.bench.files import Files, Folder
from viewmill.pipelines.bench.messages import Spec
from viewmill.pipelines.bench.plug_in import Gain, Settings, trainers
from viewmill.pipelines.bench.plug_in.trainers import TRAINERS, Trainer, opened, place_of, write_pictures

from ..streams import folder


def quiet(line: str) -> None:
    """Nothing."""


def test_gains_are_paired_round_by_round_and_told_in_images_a_second() -> None:
    gain = Gain("timm", 100, [2.0, 4.0, 1.0], [0.5, 0.5, 0.5])
    assert gain.rates(gain.before).median == 50 and (gain.faster.median, gain.faster.low, gain.faster.high) == (4, 2, 8)
    assert gain.line().split() == ["timm", "50", "(25", "to", "100)", "200", "(200", "to", "200)", "4.00", "(2.00", "to", "8.00)"]
    assert Gain("timm", 0, [], [], "no such thing").line().endswith("left out: no such thing")


@pytest.mark.slow
def test_a_small_run_measures_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(trainers, "LINKS", 64)
    monkeypatch.setattr(plug_in, "COUNTED", 1)
    monkeypatch.setitem(TRAINERS, "timm", Trainer("timm", "absent", ("no_such_module",), "pip install absent", ()))
    words = [f"data={folder(tmp_path, 6)}", "trainers=dino-script,timm", "rounds=1", "threads=1", "batch_size=2", "images=4"]
    assert plug_in.main([*words, f"out={tmp_path / 'gains.json'}"], quiet) == 0
    script, timm = json.loads((tmp_path / "gains.json").read_text())["gains"]
    assert script["why"] == "" and script["images"] == 2 and len(script["before"]) == len(script["after"]) == 1
    assert min(*script["before"], *script["after"]) > 0
    assert timm["why"] == "not installed: pip install absent"
    told = capsys.readouterr().out
    assert all(each in told for each in ("dino-script", "left out: not installed: pip install absent", "2 images a batch, 1 r"))


QUICK = ("dino-script", "timm")


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TRAINERS])
def test_both_sides_of_a_trainer_make_batches_of_one_shape(name: str, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    if TRAINERS[name].missing():
        pytest.skip(TRAINERS[name].missing())
    monkeypatch.setattr(trainers, "LINKS", 64)
    with Folder() as made:
        files = made.write([each.read_bytes() for each in sorted(folder(tmp_path, 4).iterdir())], 1)
        write_pictures(files)
        about = []
        for side in trainers.SIDES:
            stream, said = opened(Spec("trainer", f"{name} {side}", import_recipe(_view()), files, 2, 1))
            next(stream.batches)
            stream.close()
            about.append(said)
    assert about[0] == about[1] and about[0][0].startswith("2x3x224x224 float32")


def _view() -> Any:
    from torchvision.transforms import CenterCrop

    return CenterCrop(8)


def test_pictures_have_many_names_and_their_own_bytes(grays: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainers, "LINKS", 20)
    place = write_pictures(grays)
    assert place == place_of(grays) and len(list(place.rglob("*.jpg"))) == 24
    assert (place / "class" / "00003-00002.jpg").read_bytes() == grays.encoded()[3]


@pytest.mark.parametrize(("words", "said"), [
    (["trainers=tinm"], r"trainers: there is no 'tinm'; did you mean 'timm'"),
    (["rounds=0"], "rounds needs a whole number >= 1, got 0"),
    (["timm"], r"takes KEY=VALUE, got 'timm': trainers=timm\?"),
    (["peers=all"], "unknown key 'peers'"),
    (["out=/no/such/folder/x.json"], "there is no folder /no/such/folder"),
])
def test_words_that_mean_nothing_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plug_in.main(words, quiet)


def test_help_lists_every_trainer_and_key(capsys: Any) -> None:
    assert plug_in.main(["--help"], quiet) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in (*TRAINERS, "rounds=5", "batch_size=64", "data=", "out="))
    assert Settings().named == tuple(TRAINERS)
