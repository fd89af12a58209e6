"""The page as a whole: what it shows, what it says aloud, and that it needs nothing else."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from viewmill import train
from viewmill.cli import main
from viewmill.evaluation.report import figures, results, summary
from viewmill.evaluation.report.album import Album
from viewmill.evaluation.report.command import of_training
from viewmill.evaluation.report.configuration import changes, differences
from viewmill.evaluation.report.page import write
from viewmill.evaluation.report.runs import Run, read

from .folders import rows, write_pictures, write_result, write_run, write_shard


def page(*folders: Path, data: str | None = None) -> str:
    out = folders[0].parent / "page.html"
    assert write(folders, out, train.read, data) == out.stat().st_size
    return out.read_text()


def sections(html: str) -> list[str]:
    return re.findall(r'<section id="([^"]+)"', html)


def run_of(folder: Path) -> Run:
    (run,) = read([folder])
    return run


def test_one_run_has_everything_that_is_in_its_folder(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", str(write_shard(tmp_path / "a.tar")))
    write_result(folder)
    write_pictures(folder, [0, 30, 60])
    html = page(folder)
    assert sections(html) == ["results", "learning", "health", "throughput", "views", "pictures", "figures", "configuration",
                              "optimiser", "provenance"]
    assert html.count('class="sample"') == 4 and html.count('class="view pixelated"') == 8
    assert html.count('class="sheet') - html.count('class="sheets') == 3 and "Of four &lt;queries&gt;." in html
    assert "viewmill eval figure neighbours" in html and "curves.png" not in html
    assert "50.00 %" in html and "40.38 to 59.62" in html  # Wilson's interval of 50 of 100, by hand
    assert "A Simple Framework for Contrastive Learning" in html
    assert "+20.0 over untrained, +25.0 over raw pixels" in html
    assert "convnet4 on 160 images: 3 epochs, 60 steps of 8 images, in 5 s on CPU (x86_64), 4 March 2026." in html


def test_a_page_fetches_nothing_and_runs_its_own_script_alone(tmp_path: Path) -> None:
    html = page(write_run(tmp_path / "run"))
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html) and "@import" not in html and "url(" not in html
    assert "script-src &#x27;sha256-" in html and "default-src &#x27;none&#x27;" in html


def test_what_files_say_is_shown_as_text(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    folder = write_run(tmp_path / "run", f"{evil}.tar")
    write_result(folder, name=evil, chosen={evil: evil}, **{evil: 0.5})
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 61, "epoch": 3.05, "<img src=x>": 1.0}\n')
    html = page(folder)
    assert "<img src=x" not in html and "&lt;img src=x onerror=alert(1)&gt;" in html


def test_views_that_cannot_be_made_again_are_told_of_and_the_rest_stands(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", "absent.tar")
    html = page(folder)
    assert "They could not be made again here: " in html and "absent.tar" in html and "provenance" in sections(html)
    assert html.count('class="sample"') == 0
    assert page(folder, data=str(write_shard(tmp_path / "b.tar"))).count('class="sample"') == 4


def test_several_runs_stand_side_by_side(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", "a.tar", knn=0.5)
    two = write_run(tmp_path / "two", "a.tar", "optimizer.lr=0.7", "recipe.global/1.grayscale.p=0", knn=0.6)
    write_result(one)
    write_result(two, top1=0.61)
    assert differences(read([one, two])) == ["optimizer.lr", "recipe.global/1.grayscale.p"]
    html = page(one, two)
    assert "Their configurations differ in 1 key, besides recipes" in html
    assert html.count('<button type="button" aria-pressed="true" data-shows=') == 2
    marked = re.findall(r'<tr class="marked">(.*?)</tr>', html)
    assert len(marked) == 2 and "lr</code>" in marked[0].replace("<wbr>", "") and marked[0].count('class="marked"') == 2
    (dots,) = re.findall(r'<div class="dots-plot".*?class="axis"', html)
    assert dots.count('class="dot"') == 2 and "61.00 %" in html


def test_runs_of_one_configuration_differ_in_nothing(tmp_path: Path) -> None:
    runs = read([write_run(tmp_path / "one", "a.tar"), write_run(tmp_path / "two", "a.tar")])
    assert differences(runs) == []


def test_figures_of_a_result_are_its_floats_and_the_first_counts(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    by_class = {"cat": 0.5, "dog": 0.25, "eel": None}
    write_result(folder, nmi=0.25, by_class=by_class, box={"AP": -1.0}, chosen={"lr": 0.1}, probe={"lr": 0.1, "law": "cosine"},
                 classes=10, long={str(n): 0.5 for n in range(25)})
    found = results.findings([run_of(folder)])
    assert [(each.figure, each.value, each.first) for each in found] == [
        ("top-1", 0.5, True), ("top-1, k 5", 0.5, False), ("NMI", 0.25, False), ("by class cat", 0.5, False),
        ("by class dog", 0.25, False)]
    assert [results.said(each) for each in found[1:4]] == ["50.00 %", "0.2500", "50.00 %"]
    assert "long has 25 entries, in the file" in page(folder)


def test_a_result_may_name_what_counts_its_own_interval_and_its_own_command(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write_result(folder, metric="mean_per_class", mean_per_class=0.4)
    write_result(folder, 0.6, "fewshot.json", interval=[0.55, 0.65])
    sets = {"pets": {"metric": "top1", "value": 0.3, "pictures": 5}}
    whole = {"eval": "transfer", "sets": sets, "mean": 0.3, "seconds": 1.0, "command": "viewmill eval transfer run"}
    (folder / "eval" / "transfer.json").write_text(json.dumps(whole))
    found = results.findings([run_of(folder)])
    assert [each.figure for each in found if each.name == "kNN"] == ["mean per class", "top-1", "top-1, k 5"]
    first = [each for each in found if each.first]
    assert [(each.name, each.figure, each.value, each.low) for each in first] == [
        ("fewshot", "top-1", 0.6, 0.55), ("kNN", "mean per class", 0.4, None), ("transfer", "mean", 0.3, None)]
    assert "<code>viewmill eval transfer run</code>" in page(folder)


def test_remarks_say_what_makes_a_number_doubtful(tmp_path: Path) -> None:
    assert summary.remarks(run_of(write_run(tmp_path / "fine"))) == []
    folder = write_run(tmp_path / "run", losses=[None, *[1.0] * 29])
    lines = [line for line in rows(0.5, [None, *[1.0] * 29]) if line["step"] < 50]
    lines[-1] |= {"data/substituted": 3}
    about = json.loads((folder / "config.json").read_text()) | {"commit": "0123+"}
    (folder / "config.json").write_text(json.dumps(about))
    waited = [line | ({"data_wait": 0.4} if "loss" in line else {}) for line in lines]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in waited))
    said = summary.remarks(run_of(folder))
    assert [text.split(",")[0].split(":")[0] for text in said] == [
        "It stands at step 48 of 60; the same command goes on.", "Waiting for data took 40.0 % of the time",
        "Not finite at some line of the log", "3 samples could not be used and were replaced; quarantine.jsonl says which",
        "The program had changes that were in no commit"]


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "metrics.jsonl").unlink()
    html = page(folder)
    assert sections(html) == ["views", "configuration", "provenance"] and 'class="tile"' not in html
    assert "It stands at step 0 of 60; the same command goes on." in html


def test_a_collapse_is_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", "a.tar", "batch_size=64")
    health = {"health_std": 0.01, "health_negative": 0.999, "health_rankme": 1.2}
    lines = [{"step": step, "epoch": step / 20, "loss": 1.0, "lr": 0.1, **health} for step in range(1, 61)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (said,) = summary.remarks(run_of(folder))
    assert said.startswith("Collapse?") and "features of all images are alike" in said


def test_later_starts_say_what_changed(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    first = json.loads((folder / "starts.jsonl").read_text())
    again = first | {"time": "2026-03-05T00:00:00+00:00", "commit": "fedc", "config": first["config"] | {"epochs": 5}}
    with open(folder / "starts.jsonl", "a") as file:
        file.write(json.dumps(again) + "\n")
    assert [other for _, other in changes(run_of(folder))] == [[], ["epochs 3 → 5", "commit 0123456789abcdef0123 → fedc"]]
    assert "It was made by 2 versions of the program" in summary.remarks(run_of(folder))[0]


def test_a_long_gallery_is_thinned_evenly_and_a_heavy_picture_made_smaller(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write_pictures(folder, list(range(0, 300, 10)))
    assert [step for step, _ in figures.sheets(run_of(folder))] == [0, 40, 80, 120, 170, 210, 250, 290]
    Image.new("RGB", (3200, 40)).save(tmp_path / "heavy.png")
    head, _, data = (Album().file(tmp_path / "heavy.png") or "").partition(",")
    assert head == "data:image/jpeg;base64" and Image.open(io.BytesIO(base64.b64decode(data))).size == (1600, 20)
    assert Album(100).file(tmp_path / "heavy.png") is None and Album().file(folder / "config.json") is None


def test_the_command_writes_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "run")
    assert main(["report", str(folder)]) == 0
    assert f"report     {folder / 'report.html'}, " in capsys.readouterr().out and (folder / "report.html").is_file()
    assert main(["report", str(folder), str(folder), f"out={tmp_path / 'deep' / 'two.html'}"]) == 0
    assert (tmp_path / "deep" / "two.html").is_file()


@pytest.mark.parametrize(("words", "says"), [
    (["out=x.html"], "report needs the folder of a run"), (["RUN", "out=x.png"], "let its name end in .html"),
    (["RUN", "dta=x"], "unknown key 'dta'; did you mean 'data'?"), (["RUN", "out"], "out is no folder of a run"),
    (["RUN", "--out"], "'--out' is not key=value"), (["RUN", "open=maybe"], "open needs true or false, got 'maybe'")])
def test_mistakes_are_one_line(words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "run")
    assert main(["report", *(word.replace("RUN", str(folder)) for word in words)]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1


def test_a_report_that_fails_is_one_line_of_a_training_that_stands(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    assert of_training(folder, train.read).startswith(f"report     {folder}/report.html, ")
    (folder / "config.json").write_text("{")
    said = of_training(folder, train.read)
    assert said.startswith("report     none: ValueError: ") and said.endswith(f"viewmill report {folder} tries again")
    assert "\n" not in said
