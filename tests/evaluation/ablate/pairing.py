"""How much narrower a difference gets by pairing: `python -m tests.evaluation.ablate.pairing OUT DATA TEST SEEDS [ARM ...]`.

Small runs of SimCLR with and without a change, each judged by kNN on the same test pictures; DATA and TEST are patterns of
labelled tars. A run has a seed of its first weights and one of its order and draws, which a run of `viewmill train` has in
common, so that it can be told what each of them is worth. OUT keeps the answers of each run, so that the same command goes on; at
its end it prints the table of docs/ablations.md, as it does of what is there with OUT alone.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from viewmill import train
from viewmill.evaluation import neighbours
from viewmill.evaluation.neighbours import KnnEvalConfig
from viewmill.evaluation.opening import open_encoder
from viewmill.evaluation.pictures import Pictures
from viewmill.evaluation.scoreboard.intervals import paired
from viewmill.evaluation.task import Task
from viewmill.models.training import metrics, process
from viewmill.pipelines.shard_writer import write_shard
from viewmill.pipelines.source import open_source

BASE = ("recipe=simclr_cifar", "model.backbone=convnet4", "batch_size=128", "epochs=2", "optimizer.name=adamw",
        "optimizer.lr=2e-3", "optimizer.scaling=none", "optimizer.weight_decay=1e-4", "model.temperature=0.2",
        "tensorboard=false", "report=false", "resume=never", "torch_threads=1", "loader.threads=1", "loader.sidecar=false",
        "data_wait_budget=1", "health.every=0")
CHANGES = {
    "gray-0": ("recipe.global.grayscale.p=0",),
    "jitter-0": ("recipe.global.jitter.p=0",),
    "crop-0.5": ("recipe.global.crop.scale=[0.5,1.0]",),
    "temperature-0.5": ("model.temperature=0.5",),
    "lr-1e-3": ("optimizer.lr=1e-3",),
}
PICTURES, TEST_PICTURES = 5_000, 5_000
"""The first so many of DATA are trained on and vote."""


def answers(out: Path, data: str, test: str, arm: str, weights: int, draws: int) -> np.ndarray:
    """(test pictures,) bool of one run, made or kept."""
    kept = out / f"{arm}-{weights}-{draws}.npy"
    if not kept.is_file():
        run, seed_all = out / f"run-{os.getpid()}", process.seed_all
        shutil.rmtree(run, ignore_errors=True)

        def seeded(seed: int, rank: int | None = None) -> None:
            seed_all(weights if rank is None else seed, rank)  # rank None: what the first weights are drawn from

        with (patch.object(process, "seed_all", seeded), patch.object(metrics, "draw_curves"),
              contextlib.redirect_stdout(io.StringIO())):
            train.train(*train.read(["simclr", f"data={data}", f"out={run}", *BASE, *CHANGES.get(arm, ()), f"seed={draws}"]))
        task = Task(open_encoder(str(run)), Pictures(open_source(data), None, "data", 1),
                    Pictures(open_source(test), TEST_PICTURES, "test", 1), run)
        with contextlib.redirect_stdout(io.StringIO()):
            np.save(kept, neighbours.run(task, KnnEvalConfig(k=(20,)))["correct"])
    right: np.ndarray = np.load(kept)
    return right


def few(data: str, out: Path) -> str:
    """The first PICTURES of the data as a tar of their own."""
    source, path = open_source(data), out / "few.tar"
    if not path.is_file():
        write_shard(path, [(source.key(index), {"jpg": bytes(source.read(index)), "cls": b"%d" % source.label(index)})
                           for index in range(PICTURES)])
    return str(path)


SHARED = {(True, True): "all", (True, False): "first weights", (False, True): "order and draws", (False, False): "neither"}


def make(out: Path, data: str, test: str, seeds: int, arms: Sequence[str]) -> None:
    """base(s, s) and, of each arm, arm(s, s) and arm(s, s + 1): with base(s, s) the first shares all, the second the first
    weights alone, and with base(s + 1, s + 1) the order and draws alone."""
    for seed in range(seeds):
        for arm in ("base", *arms):
            answers(out, data, test, arm, seed, seed)
            if arm != "base":
                answers(out, data, test, arm, seed, (seed + 1) % seeds)
        print(f"seed {seed} is made", flush=True)


def report(out: Path) -> str:
    """Of all answers that are kept. Correlation: of an arm's right answers with the base run's, over test pictures, the mean over
    pairs of runs that share so much. Width: of the interval of `intervals.paired` over an arm's seeds, and over the same runs put
    beside each other's seeds, the mean over all such orders."""
    runs: dict[str, dict[tuple[int, int], np.ndarray]] = {}
    for path in sorted(out.glob("*-*-*.npy")):
        arm, weights, draws = path.stem.rsplit("-", 2)
        runs.setdefault(arm, {})[int(weights), int(draws)] = np.load(path)
    base = runs.pop("base")
    lines = [f"| change | seeds | accuracy | difference | {' | '.join(SHARED.values())} | width, all shared | neither |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    whole: dict[str, list[float]] = {name: [] for name in SHARED.values()}
    for arm, of in runs.items():
        seeds = [key for key in sorted(of) if key[0] == key[1] and key in base]
        found: dict[str, list[float]] = {name: [] for name in SHARED.values()}
        for weights, draws in of:
            for seed, _ in base:
                alike = float(np.corrcoef(of[weights, draws], base[seed, seed])[0, 1])
                found[SHARED[weights == seed, draws == seed]].append(alike)
        for name, each in found.items():
            whole[name] += each
        one, two = np.stack([of[key] for key in seeds]), np.stack([base[key] for key in seeds])
        apart = [_width(one, np.roll(two, shift, 0)) for shift in range(1, len(seeds))]
        lines.append(f"| {arm} | {len(seeds)} | {100 * one.mean():.1f} | {100 * (one.mean() - two.mean()):+.1f} | "
                     f"{' | '.join(f'{np.mean(each):.3f}' for each in found.values())} | {_width(one, two):.2f} | "
                     f"{np.mean(apart):.2f} |")
    means = "; ".join(f"{name} {np.mean(each):.3f} ({len(each)} pairs)" for name, each in whole.items())
    accuracies = ", ".join(f"{100 * right.mean():.1f}" for right in base.values())
    return "\n".join([f"base {accuracies}; correlation, all changes: {means}", "", *lines])


def _width(one: np.ndarray, two: np.ndarray) -> float:
    """In points."""
    found = paired(one, two)
    return 100 * (found.high - found.low)


def main(out: str, data: str = "", test: str = "", seeds: str = "0", *arms: str) -> None:
    torch.set_num_threads(1)
    Path(out).mkdir(parents=True, exist_ok=True)
    if int(seeds):
        make(Path(out), few(data, Path(out)), test, int(seeds), arms or tuple(CHANGES))
    print(report(Path(out)))


if __name__ == "__main__":
    main(*sys.argv[1:])
