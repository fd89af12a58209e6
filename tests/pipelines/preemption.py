"""Training that is really killed: torchrun starts ranks, SIGKILL ends them at random moments, other numbers of ranks go on.

A script, too: `python -m tests.pipelines.preemption KILLS [SEED]` from the repository's root, with its .dev on PYTHONPATH.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from viewmill import Loader, Recipe

from .elastic import Shown, shown

REPOSITORY = Path(__file__).resolve().parents[2]
VICTIMS = ("job", "rank", "sidecar")
"""What is killed: all trainers and their launcher at once; one trainer; or the process that makes one trainer's batches."""


@dataclass
class Story:
    """What happened: kills by victim, worlds in turn, and what the saved states say was trained, in order of step."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    worlds: list[int] = field(default_factory=list)
    steps_at_kill: list[int] = field(default_factory=list)
    redone: int = 0
    trained: list[Shown] = field(default_factory=list)
    seconds: float = 0.0

    def told(self, unbroken: Sequence[Shown]) -> str:
        times = Counter(self.trained)
        lost, twice = sum((Counter(unbroken) - times).values()), sum((times - Counter(unbroken)).values())
        return (f"seed {self.seed}: {sum(self.kills.values())} kills ({', '.join(f'{n} x {k}' for k, n in self.kills.items())}), "
                f"world sizes {' '.join(map(str, self.worlds))}, steps saved at each kill "
                f"{' '.join(map(str, self.steps_at_kill))}, samples {len(self.trained)} of {len(unbroken)}, lost {lost}, "
                f"twice or wrong {twice}, shown again after a kill {self.redone}, {self.seconds:.0f} s")


def unbroken(data: Any, recipe: Recipe, batch_size: int, options: dict[str, Any]) -> list[Shown]:
    """What one process is shown that nobody kills."""
    with Loader(data, recipe, batch_size, **{**options, "sidecar": False, "threads": 2}) as loader:
        return [sample for batch in loader for sample in shown(batch)]


def train_and_kill(directory: Path, data: str, recipe: Recipe, batch_size: int, options: dict[str, Any], worlds: Sequence[int],
                   seed: int, step_seconds: float = 0.02, most_steps: int = 12, remote: dict[str, Any] | None = None) -> Story:
    """Each world but the last is killed after a random number of steps, 0 to most_steps, and a random moment more; the last one
    ends the pass. Raises AssertionError where a process, a file or named memory is left behind, RuntimeError where a job
    ends by itself. batch_size: of each rank. remote: how data behind an address are had."""
    chance, story, began = random.Random(seed), Story(seed), time.monotonic()
    (directory / "seen").mkdir(parents=True)
    (directory / "job.json").write_text(json.dumps({"data": data, "recipe": recipe.to_dict(), "batch_size": batch_size,
                                                    "options": options, "remote": remote}))
    for run, ranks in enumerate(worlds):
        last = run == len(worlds) - 1
        begun = saved_step(directory)
        with torchrun(directory, run, ranks, 0.0 if last else step_seconds) as (process, mark):
            if last:
                ended = process.wait(600)
            else:
                victim = chance.choice(VICTIMS)
                wait_for_step(directory, begun + chance.randint(0, most_steps), process, seed)
                if chance.random() < 0.8:  # else before anything else happens
                    time.sleep(chance.uniform(0, 0.3))
                kill(victim, process, mark, chance)
                story.kills[victim] += 1
                ended = process.wait(120)
            left_behind(directory, mark)
        now = saved_step(directory)
        if (directory / "done").exists() != last or (ended == 0) != last:
            said = (directory / f"{run}.log").read_text()[-2000:]
            raise RuntimeError(f"seed {seed}: the job of {ranks} ranks ended with status {ended} at step {now}:\n{said}")
        story.worlds.append(ranks)
        story.steps_at_kill += [] if last else [now]
        lines = [line for rank in range(ranks) for line in whole_lines(directory / "seen" / f"{run}-{rank}.jsonl")]
        kept = [line for line in lines if line["step"] <= now]
        assert Counter(line["step"] for line in kept) == {step: ranks for step in range(begun + 1, now + 1)}
        story.redone += sum(len(line["seen"]) for line in lines) - sum(len(line["seen"]) for line in kept)
        for step in range(begun + 1, now + 1):
            story.trained += sorted(Shown(*sample) for line in kept if line["step"] == step for sample in line["seen"])
    story.seconds = time.monotonic() - began
    return story


@contextmanager
def torchrun(directory: Path, run: int, ranks: int, step_seconds: float) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """torchrun with so many ranks on this host, and what stands in the environment of all its processes."""
    mark = f"PREEMPTED_MARK={directory}#{run}"
    files = directory / "tmp"
    files.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / ".dev"), str(REPOSITORY)]),
                   "OMP_NUM_THREADS": "1", "PREEMPTED_RUN": str(run), "PREEMPTED_MARK": f"{directory}#{run}",
                   "TMPDIR": str(files)}
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", str(ranks),
               "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "-m", "tests.pipelines.preempted_trainer",
               str(directory), str(step_seconds)]
    with open(directory / f"{run}.log", "wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=directory, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process, mark
    finally:
        for pid in marked(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def kill(victim: str, process: subprocess.Popen[bytes], mark: str, chance: random.Random) -> None:
    """Sidecars of killed trainers are left alone: that they end is for them to do. While nothing but the launcher runs yet, all
    of the job is killed."""
    running = marked(mark)
    sidecars = sorted(pid for pid, words in running.items() if "viewmill.pipelines.sidecar" in words)
    trainers = sorted(pid for pid, words in running.items()
                      if "preempted_trainer" in words and "torch.distributed.run" not in words and pid not in sidecars)
    chosen = {"rank": trainers, "sidecar": sidecars}.get(victim)
    doomed = [chance.choice(chosen)] if chosen else [process.pid, *trainers]
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def marked(mark: str) -> dict[int, str]:
    """Command lines of the living processes, by number, that have the mark in their environment."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def left_behind(directory: Path, mark: str) -> None:
    """Asserts that nothing of a job is left: no process within ten seconds, no file but the launcher's logs, no named memory."""
    end = time.monotonic() + 10
    while (left := marked(mark)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not left, f"still running: {left}"
    files = [path.name for path in (directory / "tmp").iterdir() if not path.name.startswith("torchelastic_")]
    assert not files, f"left in the folder of temporary files: {files}"
    memory = [path.name for path in Path("/dev/shm").glob("*viewmill*")]
    assert not memory, f"left in /dev/shm: {memory}"


def wait_for_step(directory: Path, step: int, process: subprocess.Popen[bytes], seed: int) -> None:
    end = time.monotonic() + 300
    while saved_step(directory) < step:
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"seed {seed}: step {step} was never reached, {saved_step(directory)} was; see {directory}")
        time.sleep(0.005)


def saved_step(directory: Path) -> int:
    saved = directory / "state.json"
    return int(json.loads(saved.read_text())["step"]) if saved.exists() else 0


def whole_lines(log: Path) -> list[dict[str, Any]]:
    """The last line may be cut, and a rank that was killed early has written none."""
    return [json.loads(line) for line in log.read_text().split("\n")[:-1]] if log.exists() else []


def twenty_kills(directory: Path, kills: int, seed: int) -> tuple[Story, list[Shown]]:
    """Two epochs of 6,000 images in six shards, 1 in 50 damaged, two samples a rank; 1 to 4 ranks in random order."""
    from .shards import encoded, write_tar
    from .streams import SMALL, pictures

    images = pictures(6000)
    for shard in range(6):
        files = []
        for i in range(shard * 1000, shard * 1000 + 1000):
            content = encoded(images[i], "PNG")
            files.append((f"{i:05d}.png", content[:len(content) // 2] if i % 50 == 7 else content))
        write_tar(directory / f"part-{shard}.tar", files)
    data = str(directory / "part-{0..5}.tar")
    options = {"shuffle": "lanes", "lanes": 12, "window": 2, "epochs": 2, "max_bad": 0.5, "seed": seed}
    chance, worlds = random.Random(seed), [1]
    for _ in range(kills):
        worlds.append(chance.choice([ranks for ranks in (1, 2, 3, 4) if ranks != worlds[-1]]))
    expected = unbroken(data, SMALL, 2, options)
    return train_and_kill(directory / "job", data, SMALL, 2, options, worlds, seed, most_steps=25), expected


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        chosen = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**32)
        story, expected = twenty_kills(Path(folder), int(sys.argv[1]), chosen)
    print(story.told(expected))
    sys.exit(story.trained != expected)
