"""The README's snippets run, on data made here; its long runs are cut to two steps of a small network."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from viewmill.cli import main
from viewmill.pipelines.shard_writer import write_shard

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
SHORT = {
    "simclr": ["model.backbone=convnet4", "steps=2", "batch_size=8", "knn.every=0"],
    "mae": ["model.backbone=vit_tiny_patch16_224", "model.depth=1", "model.decoder_depth=1", "model.decoder_dim=32",
            "model.decoder_heads=2", "steps=1", "batch_size=4", "knn.every=0"],
    "knn": ["k=[3]"],
    "linear": ["epochs=1", "batch_size=8"],
    "layers": ["epochs=1", "batch_size=8"],
    "finetune": ["epochs=1", "batch_size=8", "warmup_epochs=0"],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/train-0000.tar ... train-0009.tar, 4 pictures each of as many classes, keys 00000 to 00039; and
    data/test-0000.tar."""
    folder = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(0)

    def jpeg() -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(buffer, "JPEG")
        return buffer.getvalue()

    for name, shard in (*(("train", number) for number in range(10)), ("test", 0)):
        write_shard(folder / "data" / f"{name}-{shard:04d}.tar",
                    [(f"{4 * shard + i:05d}", {"jpg": jpeg(), "cls": b"%d" % i}) for i in range(4)])
    return folder


def commands() -> list[str]:
    lines = "\n".join(blocks("sh")).splitlines()
    return [line.split("#")[0].strip() for line in lines if line.startswith("viewmill ")]


def test_there_is_something_to_run() -> None:
    assert len(blocks("python")) == 6 and len(commands()) == 13


@pytest.mark.parametrize("code", blocks("python"))
def test_python_snippets_run(code: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_commands_run_in_their_order(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    for command in commands():
        words = shlex.split(command)[1:]
        more = SHORT.get(words[1], []) if words[0] in ("train", "eval") else []
        given = {word.split("=")[0] for word in more}
        words = [word for word in words if word.split("=")[0] not in given]
        assert main([*words, *more]) == 0, (command, capsys.readouterr().err)
    assert (place / "then.png").exists() and (place / "runs" / "no-gray" / "config.json").exists()


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).resolve().parents[1] / target).exists(), target
