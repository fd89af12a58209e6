"""However a pack is stopped, no shard looks whole that is not, and the same command goes on to the same end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import viewmill
from viewmill.pipelines.index_file import read_index

from ..shards import encoded, picture, write_tar
from .packed import packed, sums

ROOT = Path(viewmill.__file__).parent.parent


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "viewmill.cli", "pack", *map(str, words)], text=True, stderr=subprocess.PIPE,
                            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Large enough to be caught at work: 160 images that all have to be encoded anew."""
    block = np.ones((24, 24, 1), np.uint8)
    return write_tar(tmp_path / "x.tar", [(f"{i:04d}.jpg", encoded(np.kron(picture(20, 30, i), block))) for i in range(160)])


OPTIONS = ("shortest=200", "shard_samples=8")


def all_whole(folder: Path) -> int:
    """How many tars there are; each has its end mark, and its index fits where there is one."""
    paths = list(folder.glob("[!.]*.tar"))
    for path in paths:
        with tarfile.open(path) as tar:
            assert len(tar.getnames()) == 8
        assert path.read_bytes().endswith(bytes(1024))
        if Path(f"{path}.index").exists():
            assert read_index(Path(f"{path}.index").read_bytes())[1].tar_bytes == path.stat().st_size
    return len(paths)


def test_killed_at_random_moments_it_goes_on_to_the_same_shards(source: Path, tmp_path: Path) -> None:
    packed(source, tmp_path / "unbroken", shortest=200, shard_samples=8)
    chance, kills, seen = random.Random(5), 0, 0
    for _ in range(60):
        process = start(source, tmp_path / "out", *OPTIONS, "workers=2")
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:  # until it gets somewhere, then a moment more
            now = len(list((tmp_path / "out").glob("[!.]*.tar"))) if (tmp_path / "out").exists() else 0
            if now > seen or (kills == 0 and (tmp_path / "out" / ".pack").exists()):
                time.sleep(chance.random() * 0.3)
                break
            time.sleep(0.01)
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()
        kills += 1
        seen = all_whole(tmp_path / "out")
    assert process.wait() == 0 and kills >= 3
    process.communicate()
    assert sums(tmp_path / "out") == sums(tmp_path / "unbroken")
    assert [name for name in os.listdir(tmp_path / "out") if name.startswith(".")] == [".pack"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 2])
def test_stopped_by_a_signal_it_leaves_nothing_half_written_and_says_how_to_go_on(source: Path, tmp_path: Path, number: int,
                                                                                   workers: int) -> None:
    process = start(source, tmp_path / "out", *OPTIONS, f"workers={workers}")
    while not list((tmp_path / "out").glob("[!.]*.tar")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said.startswith("viewmill: stopped after ") and "of 20 shards" in said and "same command goes on" in said
    assert said.count("\n") == 1
    assert all_whole(tmp_path / "out") < 20
    assert [name for name in os.listdir(tmp_path / "out") if name.startswith(".")] == [".pack"]
    packed(source, tmp_path / "out", shortest=200, shard_samples=8)
    packed(source, tmp_path / "unbroken", shortest=200, shard_samples=8)
    assert sums(tmp_path / "out") == sums(tmp_path / "unbroken")


def test_a_shard_that_changed_since_is_written_again(source: Path, tmp_path: Path) -> None:
    process = start(source, tmp_path / "out", *OPTIONS, "workers=1")
    while len(list((tmp_path / "out").glob("[!.]*.tar"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    shards = sorted((tmp_path / "out").glob("[!.]*.tar"))
    shards[0].write_bytes(shards[0].read_bytes()[:5000])
    Path(f"{shards[1]}.index").unlink()
    packed(source, tmp_path / "out", shortest=200, shard_samples=8)
    packed(source, tmp_path / "unbroken", shortest=200, shard_samples=8)
    assert sums(tmp_path / "out") == sums(tmp_path / "unbroken")


class TestCommand:
    def test_a_summary_for_people_and_as_json(self, source: Path, tmp_path: Path) -> None:
        out, said = start(source, tmp_path / "a", *OPTIONS).communicate()
        assert said == "" and "20 in " in out and "160 of 160" in out and "160 encoded anew" in out
        out, said = start(source, tmp_path / "b", *OPTIONS, "--json").communicate()
        found = json.loads(out)
        assert found["samples"] == 160 and found["saved"] == found["bytes_in"] - found["bytes_out"] != 0

    def test_damage_is_a_line_on_stderr_and_status_1(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "y.tar").write_bytes(b"no tar" * 200)
        process = start(source, tmp_path / "y.tar", tmp_path / "a")
        _, said = process.communicate()
        assert process.returncode == 1 and said.count("\n") == 1 and "y.tar: not a tar" in said
