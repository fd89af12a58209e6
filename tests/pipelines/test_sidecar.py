"""The sidecar process: starts without torch, makes the same pixels, dies with its trainer, and is missed when it dies."""

from __future__ import annotations

import logging
import os
import pickle
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from viewmill import Loader, Recipe, View
from viewmill.augment.ops import Crop
from viewmill.pipelines.feed import SidecarFeed
from viewmill.pipelines.ring import Layout

from .streams import CIFAR, SMALL, data, folder, local, run, shown

LAYOUT = Layout(tuple(SMALL.groups.items()), 4)


@pytest.fixture
def loader() -> Iterator[Loader]:
    with Loader(data(64), SMALL, 4, epochs=None, threads=2) as loader:
        yield loader


def sidecar_of(loader: Loader) -> SidecarFeed:
    feed = loader._feed
    assert isinstance(feed, SidecarFeed)
    return feed


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # a zombie that nobody has collected is dead, too
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def gone_within(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_pixels_are_those_of_threads_in_this_process() -> None:
    options: dict[str, Any] = {"epochs": 2, "threads": 2}
    assert run(Loader(data(26), CIFAR, 4, **options)) == run(local(26, 4, recipe=CIFAR, **options))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc to look into another process")
def test_it_runs_without_torch(loader: Loader) -> None:
    next(iter(loader))
    assert "libtorch" not in Path(f"/proc/{sidecar_of(loader).process_id}/maps").read_text()
    assert "libtorch" in Path("/proc/self/maps").read_text()


def test_its_imports_leave_torch_alone() -> None:
    code = "import sys, viewmill.pipelines.sidecar, viewmill.pipelines.engines.cpu as cpu; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


def test_one_sidecar_serves_all_loops_of_a_loader(loader: Loader) -> None:
    pids = set()
    for _ in range(3):
        for _ in loader:
            pids.add(sidecar_of(loader).process_id)
            break
    assert len(pids) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_sidecar_is_missed_at_once(loader: Loader, number: signal.Signals) -> None:
    batches = iter(loader)
    next(batches)
    os.kill(sidecar_of(loader).process_id, number)
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=f"^the sidecar process .* was killed by {number.name}"):
        for _ in range(10):  # some may have been finished before
            next(batches)
    assert time.monotonic() - began < 10


def test_after_a_killed_sidecar_the_stream_goes_on_where_it_was(loader: Loader) -> None:
    with local(64, 4, epochs=None) as other:
        expected = [shown(batch) for batch, _ in zip(other, range(5), strict=False)]
    batches = iter(loader)
    seen = [shown(next(batches))]
    os.kill(sidecar_of(loader).process_id, signal.SIGKILL)
    while len(seen) < 5:
        try:
            seen.append(shown(next(batches)))
        except RuntimeError:
            batches = iter(loader)
    assert seen == expected


class Exits:
    """What a sidecar unpickles instead of a job, and dies of."""

    def __init__(self, how: Any, *arguments: Any) -> None:
        self.how = (how, arguments)

    def __reduce__(self) -> Any:
        return self.how


def test_an_exit_status_is_named() -> None:
    feed = SidecarFeed(pickle.dumps(Exits(os._exit, 7)), LAYOUT, 1)
    with pytest.raises(RuntimeError, match="ended with exit status 7"):
        feed.next()


def test_last_words_are_passed_on() -> None:
    feed = SidecarFeed(pickle.dumps(Exits(os.abort)), LAYOUT, 1)
    with pytest.raises(RuntimeError, match=r"was killed by SIGABRT; its last words: Fatal Python error: Aborted$"):
        feed.next()


def test_more_batches_than_open_files_are_told_and_not_waited_for(loader: Loader) -> None:
    batches = iter(loader)
    kept = [next(batches)]
    used, limits = len(os.listdir("/dev/fd")), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 10, limits[1]))
    try:
        with pytest.raises(RuntimeError, match=r"^the trainer holds \d+ batches .* open files"):
            kept += [next(batches) for _ in range(40)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_an_exception_keeps_its_type_and_its_one_line() -> None:
    # No square of the picture's whole area fits into a picture that is not square.
    square = Recipe(views=(View(group="g", size_px=8, ops=(Crop(size_px=8, scale=(1, 1), ratio=(1, 1), fallback="none"),)),))
    with Loader(data(8), square, 4) as loader, pytest.raises(ValueError, match=r"^crop: no box .* set fallback to .*$") as told:
        next(iter(loader))
    assert "\n" not in str(told.value)


def test_too_many_bad_samples_are_told_as_in_process(tmp_path: Path) -> None:
    root = folder(tmp_path, 12, broken={1, 2})
    with Loader(root, SMALL, 4) as loader, pytest.raises(RuntimeError, match=r"^2 of 12 samples .*max_bad=0.01") as told:
        list(loader)
    assert "\n" not in str(told.value) and "in __next__" in told.value.__notes__[0]  # where it happened, for a report


def test_bad_samples_are_named_once_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = folder(tmp_path, 24, broken=range(12))
    with Loader(root, SMALL, 4, max_bad=1) as loader, caplog.at_level(logging.WARNING, "viewmill"):
        replaced = sum(int(batch.substitute.sum()) for batch in loader)
    assert replaced == 12 and sum(loader.stats()["substituted"].values()) == 12
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 10 and all(".jpg: " in line and "stand-in" in line and "\n" not in line for line in lines)
    assert len({line.split(":")[0] for line in lines}) == 10 and lines[-1].endswith("only counted")


def test_a_killed_trainer_leaves_no_sidecar_behind(tmp_path: Path) -> None:
    script = tmp_path / "trainer.py"
    script.write_text(textwrap.dedent("""
        import os, sys, time
        import numpy as np
        from viewmill import Loader
        loader = Loader(np.zeros((64, 16, 16, 3), np.uint8), "simclr_cifar", 4, epochs=None)
        batch = next(iter(loader))
        if os.fork() == 0:  # a fork that outlives the trainer must not keep the sidecar
            time.sleep(30)
            os._exit(0)
        print(loader._feed.process_id, flush=True)
        time.sleep(60)
    """))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    trainer = subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True,
                               start_new_session=True)
    assert trainer.stdout is not None
    pid = int(trainer.stdout.readline())
    assert alive(pid)
    trainer.kill()
    trainer.wait()
    gone = gone_within(pid, 10)
    os.killpg(trainer.pid, signal.SIGKILL)
    trainer.stdout.close()
    assert gone


def test_it_does_not_mind_the_signals_of_its_trainer(loader: Loader) -> None:
    batches = iter(loader)
    next(batches)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(sidecar_of(loader).process_id, number)
    for _ in range(8):
        next(batches)


def test_a_script_without_a_main_guard_in_any_folder_works(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise RuntimeError('the working directory is no place for imports')")
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "train.py").write_text(textwrap.dedent("""
        import numpy as np
        from viewmill import Loader
        batches = list(Loader(np.zeros((8, 16, 16, 3), np.uint8), "simclr_cifar", 4))
        print(len(batches), batches[0].views["global"].shape[1])
    """))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    script = [sys.executable, str(folder / "train.py")]
    done = subprocess.run(script, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("2 4\n", "")


def test_a_trainer_that_runs_python_all_the_time_gets_its_batches(loader: Loader) -> None:
    batches, total = iter(loader), 0
    for _ in range(8):
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            total += sum(range(100))
        total += len(next(batches))
    assert loader.stats()["delivered"] == 8


def test_a_fork_starts_its_own_and_leaves_the_parents_alone(loader: Loader) -> None:
    batches = iter(loader)
    first = next(batches)
    pid = sidecar_of(loader).process_id
    child = os.fork()
    if child == 0:
        status = 1
        try:
            del first
            assert sidecar_of(loader)._channel.socket.fileno() == -1  # else the parent's death would go unseen
            loader.sidecar, loader.threads = False, 1  # a fork of threads is no place to start processes in a test
            status = 0 if next(batches).position.tolist() == [4, 5, 6, 7] else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [next(batches).position.tolist()[0] for _ in range(3)] == [4, 8, 12]
    assert sidecar_of(loader).process_id == pid and alive(pid)
