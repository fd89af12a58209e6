"""A study as an array of SLURM: each task makes a part of the cells, and whoever comes last makes the results."""

from __future__ import annotations

import shlex
from pathlib import Path

from ..scoreboard.command import put
from .planning import Plan


def write(plan: Plan, path: Path) -> str:
    """The script; what it is, in words. Raises ValueError where rules look at all cells, which no task sees."""
    if plan.own.stop != "no" or plan.own.budget_minutes is not None:
        raise ValueError("stop and budget_minutes look at all cells, and a task of an array makes some; leave them out of slurm=")
    words = [word for word in plan.settings.typed if word.partition("=")[0] not in ("slurm", "tasks", "part", "check")]
    command, tasks = shlex.join(["viewmill", *words]), plan.own.tasks
    cells = (len(plan.trials) + len({arm.untrained for arm in plan.settings.arms})) * plan.settings.config.seeds + 1
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path, f"""#!/bin/bash
#SBATCH --job-name=ablate-{plan.study.name}
#SBATCH --array=0-{tasks - 1}
#SBATCH --output=%x-%a.log
# {plan.study.name}: about {cells} cells over {tasks} tasks, which share the folder {plan.settings.config.out}.
# Add what your cluster wants: --partition, --time, --cpus-per-task, --gres. A task that was cut off goes on when sent again.
set -e
cd {shlex.quote(str(Path.cwd()))}
{command} part="$SLURM_ARRAY_TASK_ID/{tasks}"
""")
    return (f"script     {path}: sbatch {path} makes the cells in {tasks} tasks; when all have ended, this collects them:\n"
            f"           {command}")
