"""`viewmill eval figure` as a user meets it: where figures go, what they say, what is refused, before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
from viewmill import cli
from viewmill.evaluation.command import manual
from viewmill.evaluation.figures import command
from viewmill.evaluation.figures.command import KINDS, FigureConfig, read
from viewmill.evaluation.figures.figure import read as read_figure
from viewmill.models.training import process

from tests.evaluation.test_command import refused, write_tar
from tests.evaluation.test_encoder import write_run


def test_a_figure_lies_in_the_runs_folder_and_says_what_makes_it_again(tmp_path: Path,
                                                                       capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run")
    words = ["figure", "filters", str(tmp_path / "run" / "checkpoints"), "most=9", "device=cpu"]
    assert cli.main(["eval", *words]) == 0
    path = tmp_path / "run" / "figures" / "filters.png"
    said = read_figure(path)
    assert said is not None and said.command == ("viewmill", "eval", *words)
    assert capsys.readouterr().out == f"filters    {said.title}\n{said.caption}\nfigure     {path}\n"
    first = path.read_bytes()
    assert cli.main(list(said.command[1:])) == 0 and path.read_bytes() == first


def test_of_other_encoders_it_lies_beside_their_evaluations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["eval", "figure", "filters", "convnet4", "pretrained=false", "image_px=32", "device=cpu"]) == 0
    assert (tmp_path / "eval" / "convnet4" / "figures" / "filters.png").is_file()


def test_features_that_an_evaluation_kept_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "run")
    data = [f"data={write_tar(tmp_path / 'a.tar', 30, 1)}", f"test_data={write_tar(tmp_path / 'b.tar', 9, 2)}", "device=cpu"]
    assert cli.main(["eval", "knn", str(tmp_path / "run"), *data, "k=3"]) == 0
    monkeypatch.setattr("viewmill.evaluation.features._made", lambda *given: pytest.fail("features were made again"))
    assert cli.main(["eval", "figure", "confusion", str(tmp_path / "run"), *data, "k=3"]) == 0


def test_every_kind_has_a_drawing_room_and_its_keys_are_told() -> None:
    for name, kind in KINDS.items():
        assert callable(kind.load().draw)
        text = manual("figure", name, "runs/x")
        assert f"Keys of {name}:" in text and text.count("Keys of") == 2
    everything = manual("figure")
    assert all(f"Keys of {name}:" in everything and f"  {name} " in everything for name in KINDS)
    assert "figure" in manual() and manual("attention") == manual("figure", "attention") and "mass=null" in manual("attention")
    assert "clusters=" in manual("pseudo_labels", "runs/x")


def test_all_draws_each_that_can_be_by_a_command_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: KINDS[name] for name in KINDS if name not in ("embedding", "confusion")}  # others are drawn faster
    monkeypatch.setattr(command, "KINDS", few)
    write_run(tmp_path / "run")
    data, test = write_tar(tmp_path / "a.tar", 30, 1), write_tar(tmp_path / "b.tar", 45, 2)
    words = [str(tmp_path / "run"), f"data={data}", f"test_data={test}", "max_images=20", "max_test_images=10", "device=cpu"]
    assert cli.main(["eval", "figure", "all", *words]) == 0
    there = sorted(path.stem for path in (tmp_path / "run" / "figures").iterdir())
    assert there == ["filters", "neighbours", "pca"]
    out = capsys.readouterr().out
    assert "attention  left out: backbone ConvNet4 has no class token" in out
    assert "reconstructions left out: simclr of " in out
    commands = {name: read_figure(tmp_path / "run" / "figures" / f"{name}.png").command[3:] for name in there}  # type: ignore[union-attr]
    assert commands["neighbours"] == ("neighbours", *words)
    assert commands["filters"] == ("filters", words[0], "device=cpu")
    assert commands["pca"] == ("pca", words[0], f"data={test}", "device=cpu", "max_images=10")
    assert command.words_of("pca", ["all", "x", "data=a", "test_data=b", "max_images=9"]) == ["pca", "x", "data=b"]
    assert command.words_of("pca", ["all", "x", "data=a", "max_images=3"]) == ["pca", "x", "data=a", "max_images=3"]
    assert cli.main(["eval", "figure", "all", words[0], "samples=3"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "samples= is not for every figure; draw the one it is for" in captured.err
    assert cli.main(["eval", "figure", "all", str(tmp_path / "nowhere"), "device=cpu"]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("left out: ") == len(few) and "not one figure could be drawn" in captured.err


def test_keys_of_a_kind_and_of_all_are_told_apart() -> None:
    kind, what, config, own = read(["pca", "runs/x", "data=a.tar", "samples=3", "image_px=48", "classes=[a,b]"])
    assert (kind, what, own.samples, config.image_px, config.classes) == ("pca", "runs/x", 3, 48, ["a", "b"])
    assert FigureConfig().data is None and FigureConfig().max_images is None


def test_what_is_wrong_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for given, expected in (
            (["figure"], "which figure? viewmill eval figure KIND ENCODER data=..., KIND one of embedding, attention"),
            (["figure", "embeding", "x"], "did you mean 'embedding'"), (["figure", "pca"], "figure pca needs one encoder"),
            (["figure", "pca", "x", "y", "data=a"], "got 2: x y"), (["figure", "pca", "x"], "needs pictures: data=PATTERN"),
            (["figure", "confusion", "x", "data=a"], "needs pictures: test_data=PATTERN"),
            (["figure", "filters", "x", "data=a"], "figure filters takes no data=; leave it out"),
            (["figure", "pca", "x", "data=a", "sampels=3"], "unknown key 'sampels'; did you mean 'samples'"),
            (["figure", "filters", "x", "out=a.jpg"], "out=a.jpg: figures are PNG files; let the name end in .png"),
            (["figure", "filters", "x", "max_images=0"], "max_images needs a whole number"),
            (["figure", "pca", "x", "samples=many", "data=a"], "samples needs a whole number (int), got 'many'")):
        assert expected in refused(capsys, *given)
    with pytest.raises(ValueError, match="viewmill eval figure has no 'filter'; did you mean 'filters'"):
        manual("figure", "filter")
    monkeypatch.setattr(process, "start", lambda device: process.World(0, 2, 0, 2, None))  # type: ignore[arg-type]
    assert "a figure is drawn by one process, not by 2; start it without torchrun" in refused(capsys, "figure", "filters", "x")
