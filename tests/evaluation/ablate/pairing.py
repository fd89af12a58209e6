"""How much narrower a difference gets by paired draws: `python -m tests.evaluation.ablate.pairing OUT DATA TEST SEEDS [ARM ...]`.

Small runs of SimCLR with and without a change, each judged by kNN on the same test pictures; DATA and TEST are patterns of
labelled tars. A run has a seed of its first weights and one of its order and draws, which a run of `viewmill train` has in
common, so that it can be told what each of them is worth. OUT keeps the answers of each run, so that the same command goes on;
at its end it prints the table of docs/ablations.md. """

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
from viewmill.evaluation.task import Task
from viewmill.models.training import metrics, process
from viewmill.pipelines.shard_writer import write_shard
from viewmill.pipelines.source import open_source

BASE = ("recipe=simclr_cifar", "recipe.global.size_px=16", "model.backbone=convnet4", "batch_size=64", "epochs=2",
        "optimizer.name=adamw", "optimizer.lr=2e-3", "optimizer.scaling=none", "optimizer.weight_decay=1e-4",
        "model.temperature=0.2", "tensorboard=false", "report=false", "resume=never", "torch_threads=1", "loader.threads=1",
        "loader.sidecar=false", "data_wait_budget=1", "health.every=0")
CHANGES = {
    "gray-0": ("recipe.global.grayscale.p=0",),
    "jitter-0": ("recipe.global.jitter.p=0",),
    "crop-0.5": ("recipe.global.crop.scale=[0.5,1.0]",),
    "temperature-0.5": ("model.temperature=0.5",),
    "lr-1e-3": ("optimizer.lr=1e-3",),
}
PICTURES, TEST_PICTURES = 2_000, 2_000
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


def spread(differences: np.ndarray) -> float:
    return float(np.std(differences, ddof=1))


def measured(out: Path, data: str, test: str, seeds: int, arms: Sequence[str]) -> str:
    """base(s, s) and, of each arm, arm(s, s) and arm(s, s + 1): with base(s, s) the first shares all, the second the first
    weights alone, and with base(s + 1, s + 1) the order and draws alone."""
    of: dict[str, list[np.ndarray]] = {name: [] for arm in ("base", *arms) for name in (arm, f"{arm} crossed")}
    for seed in range(seeds):
        for arm in ("base", *arms):
            of[arm].append(answers(out, data, test, arm, seed, seed))
            if arm != "base":
                of[f"{arm} crossed"].append(answers(out, data, test, arm, seed, (seed + 1) % seeds))
        print(f"seed {seed}: base {of['base'][-1].mean():.4f}", flush=True)
    base = np.stack(of["base"])
    lines = ["| change | accuracy | difference | independent | all shared | weights shared | draws shared | correlation |",
             "|---|---|---|---|---|---|---|---|"]
    for arm in arms:
        same, crossed = np.stack(of[arm]), np.stack(of[f"{arm} crossed"])
        a, b, c = 100 * same.mean(1), 100 * base.mean(1), 100 * crossed.mean(1)
        alone = float(np.sqrt(np.var(a, ddof=1) + np.var(b, ddof=1)))
        ratios = [f"{spread(x - y):.2f} ({_ratio(x, y)})" for x, y in ((a, b), (c, b), (c, np.roll(b, -1)))]
        lines.append(f"| {arm} | {a.mean():.1f} | {a.mean() - b.mean():+.1f} | {alone:.2f} | {' | '.join(ratios)} | "
                     f"{float(np.corrcoef(a, b)[0, 1]):+.2f} |")
    return "\n".join([f"base {100 * base.mean():.1f}, spread over {seeds} seeds {spread(100 * base.mean(1)):.2f}", "", *lines])


def _ratio(a: np.ndarray, b: np.ndarray, resamples: int = 10_000) -> str:
    """The spread of a - b over that of independent ones, with its 95 % interval by a bootstrap over seeds."""
    which = np.random.default_rng(0).integers(0, len(a), (resamples, len(a)))
    x, y = a[which], b[which]
    ratio = np.std(x - y, axis=1, ddof=1) / np.sqrt(np.var(x, axis=1, ddof=1) + np.var(y, axis=1, ddof=1)).clip(1e-9)
    low, high = np.quantile(ratio, [0.025, 0.975])
    whole = spread(a - b) / np.sqrt(np.var(a, ddof=1) + np.var(b, ddof=1))
    return f"{whole:.2f}, {low:.2f} to {high:.2f}"


def main(out: str, data: str, test: str, seeds: str, *arms: str) -> None:
    torch.set_num_threads(1)
    Path(out).mkdir(parents=True, exist_ok=True)
    print(measured(Path(out), few(data, Path(out)), test, int(seeds), arms or tuple(CHANGES)))


if __name__ == "__main__":
    main(*sys.argv[1:])
