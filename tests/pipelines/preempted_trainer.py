"""A trainer to be killed: `torchrun ... preempted_trainer.py DIRECTORY STEP_SECONDS [LOADER_OPTIONS]`, on gloo.

DIRECTORY/job.json has the data, recipe and options; DIRECTORY/state.json, if there, is gone on from. Each step, each rank writes
what it was shown to DIRECTORY/seen/RUN-RANK.jsonl; then all wait for each other, as in a gradient's sum; then rank 0 saves the
state, whole or not at all. DIRECTORY/done stands for the end of the pass.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from viewmill import Loader, Recipe, Remote

from tests.pipelines.elastic import shown


def main(directory: Path, step_seconds: float) -> None:
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    job, saved = json.loads((directory / "job.json").read_text()), directory / "state.json"
    before = json.loads(saved.read_text()) if saved.exists() else {"run": 0, "step": 0, "state": None}
    remote = Remote(**job["remote"]) if job["remote"] else None
    loader = Loader(job["data"], Recipe.from_dict(job["recipe"]), job["batch_size"], threads=1, remote=remote, **job["options"])
    if before["state"] is not None:
        loader.load_state_dict(before["state"])
    rank = dist.get_rank()
    with open(directory / "seen" / f"{os.environ['PREEMPTED_RUN']}-{rank}.jsonl", "w") as log:
        for step, batch in enumerate(loader, before["step"] + 1):
            log.write(json.dumps({"step": step, "seen": shown(batch)}) + "\n")
            log.flush()
            total = torch.ones(1)
            dist.all_reduce(total)
            if rank == 0:
                temporary = saved.with_suffix(".new")
                temporary.write_text(json.dumps({"step": step, "state": loader.state_dict()}))
                os.replace(temporary, saved)
            time.sleep(step_seconds)
    dist.barrier()
    if rank == 0:
        (directory / "done").touch()
    loader.close()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
