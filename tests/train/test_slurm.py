"""The script for SLURM queues a run again that the time limit stopped, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from viewmill.models.training import metrics

from .runs import REPOSITORY, last_state, mae_words

SCRIPT = REPOSITORY / "docs" / "slurm" / "train.sbatch"
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then echo node-a; echo node-b; else echo "$@" >> "$SEEN/scontrol"; fi
"""


def cluster(folder: Path, srun: str) -> dict[str, str]:
    """The environment of a batch script on a cluster whose srun is this program, and whose scontrol notes what it is asked."""
    commands = folder / "bin"
    commands.mkdir()
    for name, text in (("scontrol", SCONTROL), ("srun", srun)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    return {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "SEEN": str(folder), "SLURM_JOB_ID": "20123",
            "SLURM_JOB_NODELIST": "node-[a-b]", "SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "8"}


def batch(environment: dict[str, str], *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPT), *arguments]
    return subprocess.run(command, env={**environment, **more}, capture_output=True, text=True, timeout=250)


LEAVES = """#!/bin/bash
echo "$@" > "$SEEN/srun"
[ -n "$LEFT" ] && mkdir -p "$OUT" && echo "$LEFT" > "$OUT/stopped"
exit $STATUS
"""


@pytest.mark.parametrize(("left", "status", "restarts", "queued", "end"), [
    ("SIGUSR1 41 100", "1", "0", True, 0),  # as torchrun ends after a signal
    ("SIGUSR1 41 100", "0", "19", True, 0),
    ("SIGUSR1 41 100", "1", "20", False, 1),  # often enough
    ("SIGTERM 41 100", "1", "0", False, 1),  # somebody wanted its end
    ("", "1", "0", False, 1),  # it failed
    ("", "0", "0", False, 0),  # it is done
])
def test_only_what_the_time_limit_stopped_is_queued_again(tmp_path: Path, left: str, status: str, restarts: str, queued: bool,
                                                          end: int) -> None:
    environment = cluster(tmp_path, LEAVES)
    out = tmp_path / "run"
    out.mkdir()
    (out / "stopped").write_text("SIGUSR1 7 100\n")  # of the last time: it says nothing about this one
    done = batch(environment, "dino", "data=a b.tar", f"out={out}", LEFT=left, STATUS=status, OUT=str(out),
                 SLURM_RESTART_COUNT=restarts)
    assert done.returncode == end, done
    asked = tmp_path / "scontrol"
    assert (asked.read_text() if asked.exists() else "") == ("requeue 20123\n" if queued else "")
    started = (tmp_path / "srun").read_text()
    assert started.startswith("torchrun --nnodes=2 --nproc-per-node=8 --rdzv-backend=c10d --rdzv-endpoint=node-a:20123 ")
    assert started.endswith(f"-m viewmill.train dino data=a b.tar out={out} stop_within_s=100\n")


def test_a_job_without_a_folder_is_refused(tmp_path: Path) -> None:
    done = batch(cluster(tmp_path, LEAVES), "dino", "data=a.tar")
    assert done.returncode == 2 and "which folder?" in done.stderr and not (tmp_path / "srun").exists()


# As slurmstepd does: the signal goes to the task that it started, torchrun, and not to the ranks.
LIMITED = """#!/bin/bash
shift
arguments=(); for word in "$@"; do
    case "$word" in --rdzv-endpoint=*) word="--rdzv-endpoint=localhost:0" ;; --nnodes=*) word=--nnodes=1 ;; esac
    arguments+=("$word")
done
"$PYTHON" -m torch.distributed.run "${arguments[@]}" > "$SEEN/log" 2>&1 & torchrun=$!
if [ -n "$LIMIT" ]; then
    for second in $(seq 150); do
        [ "$(grep -c '"loss"' "$OUT/metrics.jsonl" 2>/dev/null)" -ge 3 ] 2>/dev/null && break
        sleep 1
    done
    kill -USR1 $torchrun
fi
wait $torchrun
"""


@pytest.mark.slow
def test_a_real_job_saves_at_the_limit_is_queued_again_and_finishes(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    environment = {**cluster(tmp_path, LIMITED), "PYTHONPATH": str(REPOSITORY / ".dev"), "PYTHON": sys.executable,
                   "OUT": str(out), "SLURM_GPUS_ON_NODE": "2", "OMP_NUM_THREADS": "1"}
    first = batch(environment, *mae_words(shards, out, "epochs=200"), LIMIT="yes")
    assert first.returncode == 0, (first, (tmp_path / "log").read_text())
    step = last_state(out)["step"]
    assert step >= 3 and f"stopped (SIGUSR1 {step} 1000), queued again" in first.stdout
    assert (tmp_path / "scontrol").read_text() == "requeue 20123\n"
    again = batch(environment, *mae_words(shards, out, "epochs=200", f"steps={step + 3}"), LIMIT="", SLURM_RESTART_COUNT="1")
    assert again.returncode == 0 and "train.sbatch: done" in again.stdout, (again, (tmp_path / "log").read_text())
    assert (tmp_path / "scontrol").read_text() == "requeue 20123\n"  # not again
    rows = [row["step"] for row in metrics.read(out / "metrics.jsonl") if "loss" in row]
    assert rows == list(range(1, step + 4)) and not (out / "stopped").exists()
