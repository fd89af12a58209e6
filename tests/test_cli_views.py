"""The commands about views: what they print, what they write, and how they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from viewmill.augment import presets
from viewmill.cli import main
from viewmill.pipelines.shard_writer import write_shard


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import io

    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "a.tar"

    def jpeg(i: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (30 + i, 40, 3), dtype=np.uint8)).save(buffer, "JPEG")
        return buffer.getvalue()

    write_shard(path, [(f"{i:03d}", {"jpg": jpeg(i)}) for i in range(40)])
    return path


def test_list_names_recipes_and_methods_with_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "recipes"]) == 0
    out = capsys.readouterr().out
    assert "dino" in out and "2 x 224 px global, 8 x 96 px local" in out and "arXiv 2104.14294" in out
    assert main(["list", "methods"]) == 0
    assert "simclr" in capsys.readouterr().out


def test_preview_writes_a_sheet(shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "views.png"
    assert main(["preview", "simclr_cifar", f"data={shard}", f"out={out}", "key=007", "epoch=3", "seed=5",
                 "recipe.global.flip.p=1.0"]) == 0
    assert Image.open(out).size[0] > 300 and "2 views by simclr_cifar" in capsys.readouterr().out


def test_preview_of_a_run_that_paints_nothing_finds_its_data_and_shows_its_views(
        shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    recipe = presets.recipe("simclr_cifar").to_dict()
    (run / "config.json").write_text(json.dumps({"config": {"data": str(shard)}, "recipe": recipe}))
    assert main(["preview", str(run), f"out={tmp_path / 'views.png'}", f"pictures={tmp_path / 'pictures.png'}"]) == 0
    assert "8 views by simclr_cifar" in capsys.readouterr().out
    assert not (tmp_path / "pictures.png").exists()


def test_bench_prints_keeps_and_draws_its_figures(shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    assert main(["bench", "simclr_pil", f"data={shard}", "threads=1", "rounds=2", "images=16", "batch_size=8", "batches=1",
                 "stages=false", "memory=false", "busy=false", f"out={out}", "recipe.global.size_px=32"]) == 0
    printed, kept = capsys.readouterr().out, json.loads(out.read_text())
    assert "times the decode" in printed and "bare decode" in printed and "machine: cpu" in printed
    ours = kept["recipes"][0]["arms"][1]
    assert ours["name"] == "viewmill cpu" and len(ours["rounds"]) == 2
    assert ours["ratio"]["low"] <= ours["ratio"]["median"] <= ours["ratio"]["high"]
    assert main(["bench", f"from={out}", f"chart={tmp_path / 'chart.png'}"]) == 0
    assert Image.open(tmp_path / "chart.png").size[0] > 600 and "viewmill cpu" in capsys.readouterr().out


def test_bench_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--help"]) == 0
    out = capsys.readouterr().out
    assert "batch_size=32" in out and "torchvision_v2" in out and "--scaling" in out


DIAGNOSE = ["bench", "--diagnose", "simclr", "recipe=simclr_cifar", "model.backbone=convnet4", "batch_size=8", "seconds=0",
            "torch_threads=1", "loader.threads=1", "loader.sidecar=false"]


def test_bench_diagnoses_a_run(shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "diagnosis.json"
    assert main([*DIAGNOSE, f"data={shard}", f"out={out}"]) == 0
    printed, kept = capsys.readouterr().out, json.loads(out.read_text())
    rows = ["read, cold cache", "decode", "render", "views, end to end", "copy", "model step", "views and step, computed",
            "views and step, measured", "verdict"]
    assert [row for row in rows if f"\n  {row} " not in printed] == ["verdict"] and "\nverdict\n" in printed
    assert "simclr, 0.49 million weights, batches of 8" in printed and "8 of 40 images" in printed
    found = kept["ceilings"]
    assert all(found[name] > 0 for name in ("read_warm", "decode", "render", "views", "copy", "step", "together"))
    assert kept["diagnosis"]["binding"] in ("read", "decode", "render", "copy", "step")
    assert kept["reads"]["cold"]["state"] in ("cold", "not shown") and kept["reads"]["cold"]["evidence"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("words", "says"), [
    ([*DIAGNOSE, "seconds=soon", "data=x"], "seconds needs a number of at least 0, how long each measurement takes, got 'soon'"),
    ([*DIAGNOSE, "out=runs/x", "data=x"], "out=runs/x: a diagnosis keeps its figures in out=FILE.json"),
    ([*DIAGNOSE, "rounds=3", "data=x"], "unknown key 'rounds'"),
    (DIAGNOSE, "simclr needs images: data=PATTERN"),
    (["bench", "--diagnose", "data=x"], "which method?"),
    (["bench", "dinosaur", "--diagnose", "data=x"], "unknown method 'dinosaur'"),
    (["preview", "dno", "data=x"], "there is no recipe 'dno'; did you mean 'dino'?"),
    (["preview", "dino"], "preview needs images: data=PATTERN"),
    (["preview", "dino", "data=nowhere-*.tar"], "nowhere-*.tar"),
    (["preview", "dino", "dta=x"], "unknown key 'dta'; did you mean 'data'?"),
    (["preview", "dino", "data=SHARD", "key=0007"], "no sample has the key '0007'"),
    (["preview", "dino", "data=SHARD", "samples=many"], "samples needs a whole number, got 'many'"),
    (["preview", "dino", "data=SHARD", "recipe.global/0.blr.p=0"], "did you mean 'blur'?"),
    (["preview", "dino", "data"], "'data' is not key=value"),
    (["bench", "dino"], "bench needs images"),
    (["bench", "data=SHARD"], "bench needs a recipe"),
    (["bench", "dino", "data=SHARD", "thread=2"], "unknown key 'thread'; did you mean 'threads'?"),
    (["bench", "dino", "data=SHARD", "peers=kornja"], "there is no peer 'kornja'; did you mean 'kornia'?"),
    (["bench", "dino", "data=SHARD", "threads=0"], "threads needs a whole number >= 1"),
    (["bench", "dino", "data=SHARD", "batch_size=64"], "a batch of 64 images is larger than the 40 files"),
    (["bench", "dino", "data=SHARD", "--peer"], "unknown option '--peer'"),
    (["bench", "dino", "data=SHARD", "out=no/such/folder/a.json"], "out=no/such/folder/a.json: there is no folder"),
    (["bench", "from=nowhere.json"], "nowhere.json: cannot be read"),
    (["list", "method"], "did you mean 'methods'?"),
])
def test_mistakes_are_one_line_with_the_way_out(words: list[str], says: str, shard: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word.replace("SHARD", str(shard)) for word in words]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1


@pytest.mark.slow
def test_the_demo_beats_raw_pixels_and_the_untrained_network(tmp_path: Path) -> None:
    assert main(["demo", f"out={tmp_path}"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    first, last = (lines_with := [line for line in lines if "knn" in line])[0], lines_with[-1]
    assert last["knn"] > first["knn_untrained"] + 0.05 and last["knn"] > first["knn_raw_pixels"] + 0.3
    assert (tmp_path / "views.png").exists() and (tmp_path / "curves.png").exists()
