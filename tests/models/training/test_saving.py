"""A disk that takes no checkpoint is said aloud, costs no good one, and ends no run before its end."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from viewmill.models.training import checkpoint, process
from viewmill.models.training.config import CheckpointConfig
from viewmill.models.training.errors import RunFailure, of_the_disk
from viewmill.models.training.saving import Saver
from viewmill.models.training.schedule import Plan

ALONE = process.World(0, 1, 0, 1, torch.device("cpu"))
FACTS = {"method": "simclr", "viewmill": "0"}


class Nothing:
    """Stands for a loader."""

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None:
        pass


class Job:
    """A small network that is saved."""

    def __init__(self, out: Path, step: int = -1, **keys: object) -> None:
        self.said: list[str] = []
        self.method = nn.Linear(300, 100)
        self.optimizer = torch.optim.SGD(self.method.parameters(), momentum=0.9)
        keys = {"background": False} | keys
        self.saver = Saver(out, CheckpointConfig(**{"keep": 1} | keys), ALONE, FACTS, step, self.said.append)
        self.names = lambda: sorted(path.name for path in (out / "checkpoints").iterdir())

    def save(self, step: int) -> None:
        with torch.no_grad():
            self.method.weight.fill_(step)
        self.saver.save(step, self.method, self.optimizer, Nothing(), None, {"knn_step": -1})


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_reported_the_last_good_one_kept_and_the_next_tried(small_disk: Path) -> None:
    job = Job(small_disk)
    job.save(1)
    (small_disk / "of others").write_bytes(bytes(850_000))  # leaves no room for a second
    job.save(2)
    job.save(2)  # was tried
    assert job.names() == ["last", "step-00000001.pt"]
    assert checkpoint.load(small_disk / "checkpoints" / "step-00000001.pt")["step"] == 1
    (line,) = job.said
    assert line.startswith("the checkpoint of step 2 could not be written to ") and line.endswith(
        ": No space left on device; the last good checkpoint, step-00000001.pt, still stands; the run goes on, and tries again "
        "when the next is due")
    with pytest.raises(RunFailure, match=r"^the checkpoint of step 2 .*: No space left .*; make room, and the same command"):
        job.saver.finish()
    (small_disk / "of others").unlink()
    job.save(3)
    assert job.names() == ["last", "step-00000003.pt"] and len(job.said) == 1
    job.saver.finish()


def test_a_disk_that_is_full_from_the_beginning(small_disk: Path) -> None:
    (small_disk / "of others").write_bytes(bytes(1_000_000))
    job = Job(small_disk)
    job.save(1)
    assert "No space left on device; no checkpoint had been written; the run goes on" in job.said[0]


def test_a_file_that_may_grow_no_further_is_reported_likewise(tmp_path: Path) -> None:
    """Where nothing can be mounted: a process whose files are bounded."""
    program = f"""
import resource, signal
from pathlib import Path
from viewmill.tests.models.training.test_saving import Job
job = Job(Path({str(tmp_path)!r}))
job.save(1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
job.save(2)
print(job.said[0], job.names())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[3] / ".dev"), "OMP_NUM_THREADS": "1"})
    assert "File too large; the last good checkpoint, step-00000001.pt, still stands" in done.stdout, done.stderr
    assert done.stdout.rstrip().endswith("['last', 'step-00000001.pt']")


class Slow:
    """A torch.save that waits, half-written, until it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began, self.go, self.full, write = threading.Event(), threading.Event(), False, torch.save

        def save(state: object, file: object) -> None:
            write(state, file)
            self.began.set()
            assert self.go.wait(60)
            if self.full:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(torch, "save", save)


@pytest.mark.parametrize("form", ["whole", "parts"])
def test_what_is_written_in_the_background_is_the_state_of_its_step(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    job, slow = Job(tmp_path, background=True, form=form), Slow(monkeypatch)
    loss = job.method(torch.ones(300)).sum()
    loss.backward()
    job.optimizer.step()
    moment = job.optimizer.state[job.method.bias]["momentum_buffer"].clone()
    job.save(1)
    assert slow.began.wait(60) and not checkpoint.written(tmp_path / "checkpoints")
    with torch.no_grad():  # the run goes on
        job.method.weight.fill_(99)
        job.optimizer.state[job.method.bias]["momentum_buffer"].fill_(99)
        job.optimizer.param_groups[0]["lr"] = 99
    slow.go.set()
    job.saver.finish()
    found = checkpoint.at(tmp_path)
    assert found is not None and found[1]["model"]["weight"].unique().tolist() == [1.0]
    assert torch.equal(found[1]["optimizer"]["state"][1]["momentum_buffer"], moment)
    assert found[1]["optimizer"]["param_groups"][0]["lr"] == 0.001


def test_one_is_written_after_the_other_and_a_failure_is_said_at_the_next_step(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, slow = Job(tmp_path, background=True, minutes=None, steps=2), Slow(monkeypatch)
    plan = Plan.__new__(Plan)
    job.save(2)
    assert slow.began.wait(60)
    threading.Timer(0.2, slow.go.set).start()
    job.save(4)  # waits for the first
    assert [path.name for path in checkpoint.written(tmp_path / "checkpoints")][:1] == ["step-00000002.pt"]
    job.saver.finish()
    slow.full = True
    job.save(6)
    while not job.said:
        assert not job.saver.due(plan, 7)
        time.sleep(0.01)
    assert "step 6 could not be written" in job.said[0] and "step-00000004.pt, still stands; the run goes on" in job.said[0]
    with pytest.raises(RunFailure, match="the checkpoint of step 6"):
        job.saver.finish()
    slow.full = False
    job.save(8)
    job.saver.close()
    assert job.names() == ["last", "step-00000008.pt"] and len(job.said) == 1


@pytest.mark.parametrize("form", ["whole", "parts"])
def test_killed_while_it_writes_in_the_background_the_last_good_one_stands(tmp_path: Path, form: str) -> None:
    program = f"""
import os, sys, time
from pathlib import Path
from viewmill.tests.models.training.test_saving import Job
job = Job(Path({str(tmp_path)!r}), background=True, form={form!r})
job.save(1)
job.saver.finish()
def hang(descriptor):
    print("half-written", flush=True)
    time.sleep(1000)
os.fsync = hang
job.save(2)
time.sleep(1000)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[3] / ".dev"), "OMP_NUM_THREADS": "1"})
    assert process.stdout is not None and process.stdout.readline() == "half-written\n"
    process.kill()
    process.communicate()
    name = {"whole": "step-00000001.pt", "parts": "step-00000001.parts"}[form]
    half = [path for path in (tmp_path / "checkpoints").iterdir() if path.name.startswith(".step-00000002.")]
    assert len(half) == 1
    found = checkpoint.find(tmp_path, "auto")
    assert found is not None and found[0].name == name and found[1]["model"]["weight"].unique().tolist() == [1.0]
    job = Job(tmp_path, 1, form=form)  # the run that goes on sweeps
    assert job.names() == ["last", name]


def test_an_error_that_is_not_the_disks_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("of our own making")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(RuntimeError, match="of our own making"):
        Job(tmp_path).save(1)


def test_what_the_system_said_is_found_behind_other_errors() -> None:
    def hidden() -> None:
        try:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        except OSError:
            raise RuntimeError("unexpected pos") from None  # as torch has it

    with pytest.raises(RuntimeError) as caught:
        hidden()
    found = of_the_disk(caught.value)
    assert found is not None and found.strerror == "Disk quota exceeded" and of_the_disk(RuntimeError("other")) is None


def test_what_is_due_by_steps_epochs_and_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan.__new__(Plan)
    monkeypatch.setattr(Plan, "crosses", lambda self, step, epochs: step == 7 and epochs == 0.5)
    never = {"minutes": None}
    assert [step for step in range(1, 10) if Job(tmp_path, **never, steps=4).saver.due(plan, step)] == [4, 8]
    assert [step for step in range(1, 10) if Job(tmp_path, **never, epochs=0.5).saver.due(plan, step)] == [7]
    by_the_clock = Job(tmp_path, minutes=2.0).saver
    now = by_the_clock._at
    monkeypatch.setattr("time.monotonic", lambda: now + 119)
    assert not by_the_clock.due(plan, 1)
    monkeypatch.setattr("time.monotonic", lambda: now + 121)
    assert by_the_clock.due(plan, 1)
