"""A long small run of two ranks under torchrun that is killed again and again, beside one that nothing interrupts.

    python -m tests.train.soak [STEPS [FAULTS [SEED]]]     2000 10 2026

At random steps, drawn from the seed, one rank or the whole job is killed by SIGKILL, or the job is told to end by SIGTERM;
torchrun starts ranks again by itself, and a job that is gone is started again by the same command. At the end weights, optimizer,
stream, random states and every logged number have to be those of the other run, to the bit, each step once.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from viewmill.models.training import metrics

from .runs import REPOSITORY, assert_same_run, last_state, mae_words, write_shard

PATIENCE_S = 3600.0
KINDS = ("rank", "job", "term")


def command(shards: Path, out: Path, steps: int) -> list[str]:
    own = ["epochs=1000000", f"steps={steps}", "checkpoint.steps=20", "checkpoint.minutes=null", "knn.every=0", "health.every=0",
           "report=false", "optimizer.lr=1e-3", "schedule.warmup_epochs=1", "model.embed_dim=24"]
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1000", "-m",
            "viewmill.train", *mae_words(shards, out, *own)]


def ranks_of(job: int) -> list[int]:
    """The processes that a process started, as /proc has them."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
        except OSError:  # it has just ended
            continue
        found += [int(entry.name)] if fields and int(fields[1]) == job else []
    return sorted(found)


def latest(out: Path) -> int:
    return max((row["step"] for row in metrics.read(out / "metrics.jsonl") if "loss" in row), default=0)


def soak(folder: Path, steps: int, faults: int, seed: int, say: Callable[[str], None] = print) -> Counter[str]:
    """Raises AssertionError where something was lost. Returns how many faults of each kind there were, "again" steps that were
    taken once more, and "starts" of the job."""
    for name, number in (("train-0.tar", 1), ("train-1.tar", 2)):
        write_shard(folder / name, 40, number)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".dev"), "OMP_NUM_THREADS": "1"}

    def start(out: Path) -> subprocess.Popen[bytes]:
        with open(folder / f"{out.name}.log", "ab") as log:
            return subprocess.Popen(command(folder, out, steps), env=environment, stdout=log, stderr=log)

    began = time.monotonic()
    whole, broken = folder / "whole", folder / "broken"
    assert start(whole).wait(PATIENCE_S) == 0, (folder / "whole.log").read_text()[-3000:]
    say(f"whole      {steps} steps in {time.monotonic() - began:.0f} s")

    draw = random.Random(seed)
    plan = sorted((draw.randrange(5, steps - 5), draw.choice(KINDS), draw.randrange(2)) for _ in range(faults))
    counted: Counter[str] = Counter(starts=1)
    began, job = time.monotonic(), start(broken)
    for step, kind, victim in plan:
        reached = wait(broken, step, job)
        ranks = ranks_of(job.pid)
        if not reached or len(ranks) != 2:  # between two starts, where there is nobody to kill
            say(f"step {step:5d}  {kind}: nobody there")
            continue
        now = latest(broken)
        if kind == "rank":
            os.kill(ranks[victim], signal.SIGKILL)
        elif kind == "job":
            for process in (job.pid, *ranks):
                os.kill(process, signal.SIGKILL)
        else:
            job.send_signal(signal.SIGTERM)
        if kind != "rank":
            job.wait(PATIENCE_S)
            while alive := [rank for rank in ranks if Path(f"/proc/{rank}").exists()]:
                assert time.monotonic() - began < PATIENCE_S, alive
                time.sleep(0.05)
            job = start(broken)
            counted["starts"] += 1
        counted[kind] += 1
        saved = now // 20 * 20 if kind != "term" else now
        counted["again"] += now - saved
        say(f"step {now:5d}  {kind} {victim if kind == 'rank' else ''}")
    assert job.wait(PATIENCE_S) == 0, (folder / "broken.log").read_text()[-3000:]
    say(f"broken     {steps} steps in {time.monotonic() - began:.0f} s, {dict(counted)}")

    assert last_state(broken)["step"] == steps
    rows = [row["step"] for row in metrics.read(broken / "metrics.jsonl") if "loss" in row]
    assert rows == list(range(1, steps + 1)), [step for step, times in Counter(rows).items() if times > 1]
    assert_same_run(whole, broken)
    say("equal      weights, optimizer, stream, random states and logged numbers, to the bit; each step once")
    return counted


def wait(out: Path, step: int, job: subprocess.Popen[bytes]) -> bool:
    """Until a step was logged; False where the job has ended."""
    limit = time.monotonic() + PATIENCE_S
    while time.monotonic() < limit:
        if latest(out) >= step:
            return True
        if job.poll() is not None:
            return False
        time.sleep(0.5)
    raise AssertionError(f"step {step} was not reached in {PATIENCE_S:g} s")


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as scratch:
        soak(Path(scratch), *(given + [2000, 10, 2026][len(given):]), say=lambda line: print(line, flush=True))
