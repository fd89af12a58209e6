"""The doctor: what it finds here, that planted faults are found and named, and that its report is whole."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from viewmill.cli import main
from viewmill.pipelines import checks, decode, doctor, inventory, rates, specimens
from viewmill.pipelines.checks import Check, Way
from viewmill.pipelines.engines import cpu
from viewmill.pipelines.engines.cpu import render as good
from viewmill.pipelines.loader import Loader
from viewmill.pipelines.rates import Rate

CPU = Way("cpu")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two small presets, the cpu engine, no measurements."""
    monkeypatch.setattr(checks, "PRESETS", ("mae", "jigsaw"))
    monkeypatch.setattr(checks, "WAYS", (CPU,))
    monkeypatch.setattr(checks, "FEEDS", (CPU, Way("cpu", "cuda")))
    monkeypatch.setattr(doctor, "_measurements", lambda seconds: [lambda: Rate("simclr", "cpu engine", 300.0)])


def one_off(views: np.ndarray) -> np.ndarray:
    return views + np.float32(1 / 255)


def swapped(views: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(views[:, :, ::-1])


def planted(fault: Callable[[np.ndarray], np.ndarray]) -> Callable[..., dict[str, np.ndarray]]:
    def render(*given: Any, **options: Any) -> dict[str, np.ndarray]:
        return {group: fault(views) for group, views in good(*given, **options).items()}
    return render


def test_the_command_finds_nothing_wrong_here_and_keeps_all_it_found(quick: None, tmp_path: Path,
                                                                     capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "doctor.json"
    status = main(["doctor", "seconds=0", "batches=12", f"json={out}"])
    printed, err = capsys.readouterr()
    assert (status, err) == (0, ""), printed
    kept = json.loads(out.read_text())
    assert kept["ok"] is True and set(kept) == {"ok", "versions", "machine", "devices", "checks", "rates", "targets", "advice"}
    assert kept["versions"]["numpy"] == np.__version__ and kept["versions"]["torch"] == torch.__version__.split("+")[0]
    assert kept["machine"]["cores"] >= 1 and kept["machine"]["memory_bytes"] > 2**28
    verdicts = {each["name"]: each["verdict"] for each in kept["checks"]}
    of_engine = ("crops beside Pillow", "presets beside the specification", "files through a loader",
                 "batches are not overwritten", "memory does not grow")
    for name in ("shared memory", "decoding", "bits of the cpu engine", *(f"{each}, cpu engine" for each in of_engine)):
        assert verdicts[name] == "ok", name
    assert kept["rates"] == [{"what": "simclr", "way": "cpu engine", "images_per_second": 300.0, "views_per_second": 600.0}]
    assert kept["targets"]["images_per_second"] == {"decode": 2700, "simclr": 2700, "dino": 800}
    for text in ("versions", "devices", "300 (600 views)", "target 2,700 (5,400 views)", "871 images/s", kept["advice"]):
        assert text in printed.replace("\n  ", " ") or text in printed


@pytest.mark.parametrize("fault", [one_off, swapped])
def test_a_wrong_engine_fails_and_is_named(fault: Callable[[np.ndarray], np.ndarray], quick: None,
                                           monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cpu, "render", planted(fault))
    monkeypatch.setattr(checks, "FEEDS", (CPU,))
    monkeypatch.setattr(checks, "memory", lambda way, batches: Check("memory", "ok"))
    assert main(["doctor", "seconds=0", "batches=8"]) == 1
    printed, err = capsys.readouterr()
    begins = "viewmill: presets beside the specification, cpu engine failed:"
    named = [line for line in err.splitlines() if line.startswith(begins)]
    assert len(named) == 1 and "mae" in named[0] and "allowed: 0.02" in named[0]
    assert any(line.startswith("viewmill: crops beside Pillow, cpu engine failed:") for line in err.splitlines())
    assert any(line.startswith("viewmill: bits of the cpu engine failed:") for line in err.splitlines())
    assert "Do not train before this is understood" in printed


def test_a_gpus_checks_are_skipped_with_the_reason_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    way = Way("dali", "cuda")
    for check in (checks.crops, checks.parity, checks.files, checks.kept, checks.memory, checks.overlap):
        found = check(way)
        assert (found.verdict, found.seen) == ("skipped", "torch sees no CUDA device")
        assert found.name.endswith(", dali engine on the GPU")


def test_what_is_missing_comes_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory.dali, "missing", lambda: "no DALI: pip install 'viewmill[dali]'")
    assert "no DALI: pip install 'viewmill[dali]'" in inventory.devices()["missing"]
    assert checks.kept(Way("dali")) == Check("batches are not overwritten, dali engine on the CPU", "skipped",
                                             "no DALI: pip install 'viewmill[dali]'")


def test_an_older_pillow_is_told_and_not_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PIL", SimpleNamespace(__version__="12.1.0"))
    found = checks.crops(CPU)
    assert found.verdict == "skipped" and "Pillow 12.1.0 is installed" in found.seen


def test_bits_are_promised_on_one_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "digest", lambda: "0123456789abcdef")
    monkeypatch.setattr(checks.platform, "machine", lambda: "x86_64")
    assert checks.bits().verdict == "failed"
    monkeypatch.setattr(checks.platform, "machine", lambda: "aarch64")
    assert checks.bits().verdict == "ok" and "0123456789abcdef" in checks.bits().seen


def test_a_batch_that_changes_after_it_was_handed_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a ring would that takes slots back too early: the batch before is written over by a later one."""
    earlier: list[Any] = []
    real = Loader.next_batch

    def careless(self: Loader, end_epoch: int | None = None) -> Any:
        batch = real(self, end_epoch)
        if earlier:
            earlier[-1].views["a"][:, 3] = 0.25
        earlier.append(batch)
        return batch

    monkeypatch.setattr(Loader, "next_batch", careless)
    found = checks.kept(CPU, batches=9)
    assert found.verdict == "failed" and "the first is batch 0, which was kept" in found.seen


def test_a_batch_that_is_handed_out_before_it_is_whole_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row still shows what the trainer left in its memory."""
    made: list[int] = []
    real = Loader.next_batch

    def hasty(self: Loader, end_epoch: int | None = None) -> Any:
        batch = real(self, end_epoch)
        made.append(0)
        if batch is not None and len(made) == 9 + 6:
            batch.views["a"][1, 7] = float("nan")
        return batch

    monkeypatch.setattr(Loader, "next_batch", hasty)
    found = checks.kept(CPU, batches=9)
    assert found.verdict == "failed"
    assert found.seen == "1 of 9 batches are not what they were, the first is batch 5, which was let go"


def test_a_leak_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    leaked: list[np.ndarray] = []
    real = Loader.next_batch

    def leaky(self: Loader, end_epoch: int | None = None) -> Any:
        leaked.append(np.ones(2**22))  # 32 MiB
        return real(self, end_epoch)

    monkeypatch.setattr(Loader, "next_batch", leaky)
    found = checks.memory(CPU, batches=16)
    assert found.verdict == "failed" and found.figures["main_memory_mib"] > 100


def test_a_check_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(size: int, name: str) -> int:
        raise PermissionError(1, "Operation not\npermitted")

    monkeypatch.setattr(checks, "shared_memory", forbidden)
    assert checks.shared() == Check("shared memory", "failed", "PermissionError: [Errno 1] Operation not permitted")


def test_dali_is_near_on_the_cpu() -> None:
    way = Way("dali")
    if way.missing:
        pytest.skip(way.missing)
    for found in (checks.crops(way), checks.parity(way, ("mae",)), checks.files(way), checks.kept(way, batches=6)):
        assert found.verdict == "ok", found


def test_rates_count_images_and_views() -> None:
    found = [rates.decoding(0.0), rates.views(CPU, "simclr", 0.0)]
    assert all(rate.images_per_second > 0 for rate in found)
    assert [rate.views for rate in found] == [1, 2] and Rate("dino", "x", 7.0).views == 10


def report(gpus: list[dict[str, Any]], **measured: float) -> doctor.Report:
    found = doctor.Report({"pillow": "13.0.0"}, {"cores": 8}, {"gpus": gpus, "dali": True, "missing": []})
    gpu = bool(gpus)
    ways = {"cpu": Way("cpu", "cuda" if gpu else "cpu"), "dali": Way("dali", "cuda" if gpu else "cpu"), "vit": "GPU"}
    for name, rate in measured.items():
        found.rates += [Rate("vit-s" if name == "vit" else what, str(ways[name]), rate) for what in ("simclr", "dino")]
    return found


def test_advice_names_the_fastest_engine_and_whether_it_feeds_the_gpu() -> None:
    """871 images/s at 400 from 8 cores: 17.4 cores."""
    assert report([], cpu=400.0, dali=70.0).advice == (
        "Use engine='cpu' with threads=8: 400 images/s for SimCLR, 400 for DINO. There is no GPU here; 18 cores like these feed "
        "one that trains a ViT-S at 871 images/s on two views, the best published rate.")
    gpu = [{"name": "NVIDIA H100 80GB HBM3"}]
    fed = report(gpu, cpu=1500.0, dali=2800.0, vit=1800.0).advice
    assert "engine='dali', device='cuda'" in fed and "That feeds a ViT-S" in fed and "1,800 images/s" in fed
    hungry = report(gpu, cpu=900.0, dali=100.0, vit=1800.0).advice
    assert "engine='cpu', device='cuda'" in hungry and "does not feed" in hungry and "about 16 cores" in hungry


@pytest.mark.parametrize(("words", "says"), [
    (["second=2"], "unknown key 'second'; did you mean 'seconds'?"),
    (["batches=0"], "doctor takes seconds >= 0, batches >= 1 and json=FILE, got batches=0"),
])
def test_mistakes_are_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *words]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1


def test_pictures_have_the_same_bytes_everywhere() -> None:
    """A pixel by hand: the gradient's middle; stripes begin black and white by turns, one pixel wide."""
    found = specimens.pictures()
    assert {name: picture.shape[:2] for name, picture in found.items()} == specimens.SIZES_HW
    assert found["gradient"][65, 48].tolist() == [127, 128, 127]
    assert found["stripes"][0, :4, 0].tolist() == [0, 255, 0, 255]
    letters = {tuple(pixel) for pixel in found["text"].reshape(-1, 3).tolist()}
    assert letters == {(247, 240, 229), (41, 40, 38)}
    for picture in found.values():
        assert picture.dtype == np.uint8 and len({picture[..., c].tobytes() for c in range(3)}) == 3


def test_files_are_of_the_kinds_that_they_are_named_after() -> None:
    opened = {name: Image.open(io.BytesIO(data)) for name, data in specimens.files().items()}
    assert all((image.format or "").lower() == name.partition("-")[0] for name, image in opened.items())
    assert opened["jpeg-cmyk"].mode == "CMYK" and opened["jpeg-gray"].mode == "L"
    assert opened["jpeg-progressive"].info.get("progressive") and not opened["jpeg"].info.get("progressive")
    photograph = specimens.photographs(1)[0]
    assert decode.image_size(photograph) == (375, 500) and 40_000 < len(photograph) < 200_000


@pytest.mark.slow
def test_the_whole_command_at_its_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0, capsys.readouterr()
