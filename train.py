"""One run, from top to bottom: recipe, loader, method, loop, checkpoints, kNN.

    viewmill train simclr data='cifar10/train-{0000..0009}.tar' recipe=simclr_cifar model.backbone=resnet18
    python train.py mae data=imagenet/ out=runs/mae epochs=400 batch_size=1024
    torchrun --nproc-per-node 2 train.py simclr data='train-*.tar'

The same command again goes on from the last checkpoint, within the epoch where it stopped.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

# Read when torch loads: threads that wait sleep, instead of spinning on cores that rendering, or another program, needs.
# Measured on 2 busy cores, a small network: 480-690 images/s against 150-300.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from viewmill import __version__
from viewmill.augment.draw import DRAW_VERSION
from viewmill.augment.presets import PRESETS
from viewmill.augment.presets import recipe as named_recipe
from viewmill.augment.recipe import Recipe
from viewmill.evaluation.gallery import FOLDER, Gallery
from viewmill.evaluation.monitor import Monitor
from viewmill.evaluation.online import OnlineKnn
from viewmill.models import METHODS, build, method_info
from viewmill.models.training import checkpoint, metrics, pieces, process, provenance, resuming
from viewmill.models.training.config import RunConfig
from viewmill.models.training.errors import RunFailure, verdict
from viewmill.models.training.failing import standing, starving, too_late
from viewmill.models.training.guard import Guard
from viewmill.models.training.learner import Learner
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.overrides import plain, resolve
from viewmill.models.training.profiling import Profile, part
from viewmill.models.training.progress import Meter, Progress, Waiting, Watch
from viewmill.models.training.saving import Saver
from viewmill.models.training.schedule import plan
from viewmill.models.training.step import (
    autocast_for,
    image_side,
    parallel,
    place,
    refuse_lone_image,
    refuse_parts,
    scaler_for,
    unshared,
)
from viewmill.models.training.stopping import AGAIN_S, forget_stop, note_stop, stop_signals
from viewmill.models.training.watchdog import Watchdog
from viewmill.models.views import left_to
from viewmill.pipelines import counters
from viewmill.pipelines.batch import Batch
from viewmill.pipelines.loader import Loader
from viewmill.pipelines.remote.options import Remote
from viewmill.pipelines.source import Source, open_source

QUARANTINE = "quarantine.jsonl"
"""In the folder of a run, where some sample could not be used: which, and why."""

PASSES = 2**62
"""Added to the seed for passes that are not for training, and the epoch of each, so that their views are not the epochs'."""


def run(words: Sequence[str]) -> int:
    """METHOD key=value ...: train, write the report, and return the exit status: 0 at the end and after SIGTERM and
    SIGUSR1, 130 after SIGINT."""
    config, recipe = read(words)
    summary = train(config, recipe)
    if config.report and summary["rank"] == 0 and not summary["stopped"]:
        from viewmill.evaluation.report.command import of_training  # what a run that leaves none need not load

        print(of_training(Path(config.out), read), flush=True)
    if summary["stopped"] and summary["rank"] == 0:
        note_stop(Path(config.out), summary["stopped"], summary["step"], summary["total"])
        name = signal.Signals(summary["stopped"]).name
        kept = f", checkpoint in {config.out}/checkpoints" if summary["step"] else ""
        print(f"stopped by {name} after step {summary['step']} of {summary['total']}{kept}\n"
              f"to go on, give the same command again: viewmill train {shlex.join(words)}", flush=True)
    return 130 if summary["stopped"] == signal.SIGINT else 0


def read(words: Sequence[str]) -> tuple[RunConfig, Recipe]:
    """The run and the recipe that METHOD key=value ... asks for. Raises ValueError, one line, naming the nearest known."""
    if not words or "=" in words[0]:
        raise ValueError(f"which method? viewmill train METHOD data=... [key=value ...], METHOD one of {', '.join(METHODS)}")
    info = method_info(words[0])
    given = [word.removeprefix("--") for word in words[1:]]
    named = [word.removeprefix("variant=") for word in given if word.startswith("variant=")]
    given = [word for word in given if not word.startswith("variant=")]
    variant = named[-1] if named else None
    # A recipe for 32 px images, whose first view is no larger, brings the network and numbers for such; each can still be given.
    others = {word.removeprefix("recipe=") for word in given if word.startswith("recipe=")} - {info.recipe}
    known = [named_recipe(name) for name in others if name in PRESETS or name.endswith(".json")]
    small = any(max(recipe.instances[0].size_hw) <= 32 for recipe in known)
    fields = {**(info.fields_32px if small else {}), **info.variant(variant).fields}
    return resolve(info.name, given, info.numbers(small=small, variant=variant), info.config(**fields))


def train(config: RunConfig, recipe: Recipe, between: Callable[[Batch], None] | None = None) -> dict[str, Any]:
    """Train to the end, or to the signal that stops it; afterwards config.out holds everything.

    between: called at the end of each step with its batch, on the device, by whoever measures what a step costs.

    Returns step, total, stopped (the signal, or 0), rank, out, seconds, images_per_s, data_wait, starved (the share of waiting
    that was warned about, or 0), counted (the stats of all ranks' loaders, summed, as of the last line of the log),
    substituted (of them the samples replaced), loss, and where it was measured knn, knn_untrained and knn_raw_pixels. Raises
    ValueError for what the user can mend, RunFailure otherwise.
    """
    world = process.start(config.device)
    try:
        with process.alone_in(Path(config.out)) if world.rank == 0 else nullcontext():
            return _train(config, recipe, world, between)
    finally:
        process.leave(world)


def _train(config: RunConfig, recipe: Recipe, world: process.World,
           between: Callable[[Batch], None] | None = None) -> dict[str, Any]:
    out, leader, on_cuda = Path(config.out), world.rank == 0, world.device.type == "cuda"
    if config.batch_size % world.size:
        raise ValueError(f"batch_size={config.batch_size} is for all ranks together, and {world.size} ranks do not divide it; "
                         f"use batch_size={max(config.batch_size // world.size, 1) * world.size}")
    torch_threads, render_threads = process.split_cores(
        process.cores(), world.local_size, on_cuda, config.torch_threads, config.loader.threads)
    torch.set_num_threads(torch_threads)

    # What to train on, and for how long.
    remote = remote_of(config)
    source = open_source(config.data, remote=remote)
    steps = plan(config, len(source))

    # What to train. All ranks begin with the same weights; then each draws on its own.
    process.seed_all(config.seed)
    method = build(config.method, config.model, image_px=image_side(recipe), images=len(source))
    method = place(method, config, world)
    refuse_parts(method, config, config.batch_size // world.size)
    refuse_lone_image(method, config.batch_size // world.size // config.accumulate, world)
    optimizer = build_optimizer(method, config.optimizer)
    process.seed_all(config.seed, world.rank)
    loader = open_loader(config, recipe, source, world, render_threads)

    # Where an earlier run stopped.
    step, knn_step = 0, -1
    found = resuming.find(out, config.resume, world, method, optimizer)
    if found is not None:
        checkpoint.refuse_unlike(*found, plain(config), DRAW_VERSION, recipe.to_dict())
        step, knn_step = checkpoint.restore(found[1], method, optimizer, loader, world.rank)
    knn = OnlineKnn.open(config.knn, config.data, recipe, render_threads, remote) if leader else None
    gallery = Gallery.of(method, source, recipe, config.loader, config.seed, device=world.device,
                         threads=render_threads) if leader else None
    if leader:
        forget_stop(out)
        provenance.announce(config, recipe, len(source), steps, world, (torch_threads, render_threads), method)
        print(f"resumed    {found[0]}, step {step} of {steps.total}" if found else f"new run    {out}", flush=True)

    log = metrics.Metrics(out, step, config.tensorboard) if leader else None
    earlier = metrics.read(out / "metrics.jsonl") if leader else []
    monitor = Monitor(config.health, config.log_every, steps.total, config.batch_size // world.size, earlier)
    show = Progress(config.method, steps.total, step, shown=leader)
    profile = Profile(out, world.device) if config.profile and leader else None
    model = parallel(method, world)
    autocast, scaler = autocast_for(config.precision, world.device), scaler_for(config.precision, world.device)
    if scaler is not None and found is not None and "scaler" in found[1]:
        scaler.load_state_dict(found[1]["scaler"])
    watchdog = Watchdog(world, config.hang_s)
    whole, lap, waiting, watch = Meter(), Meter(), Waiting(world.device), Watch(config.data_wait_budget)
    began = time.monotonic()
    facts = {"method": config.method, "config": plain(config), "recipe": recipe.to_dict(), "draw_version": DRAW_VERSION,
             "viewmill": __version__, "torch_threads": torch_threads}
    saver = Saver(out, config.checkpoint, world, facts, step if found is not None else -1, show.warn,
                  shared_out=pieces.is_sharded(method))
    guard = Guard(config.faults, world, method, out)
    guard.load_state_dict(found[1].get("guard", {}) if found is not None else {})
    learner = Learner(config, steps, method, model, optimizer, autocast, scaler, guard)
    stopped, starved, counted = 0, 0.0, loader.stats()

    def measure(step: int) -> None:
        """kNN and pictures, where they are due and were not made before a resume. By rank 0; the others wait at the next step."""
        nonlocal knn_step
        due = config.knn.baselines if step == 0 else step == steps.total or steps.crosses(step, config.knn.every)
        if not due or knn_step >= step:
            return
        knn_step = step
        seen = pieces.alone(method, lambda: unshared(config, recipe, len(source), world), leader)
        if gallery is not None:
            gallery.write(seen, step, out, autocast)
        if knn is not None and log is not None:
            values = knn.measure(seen, world.device, autocast, untrained=step == 0)
            log.write(step, steps.epoch(step), values)
            show.say("  ".join([f"epoch {steps.epoch(step):.2f}", *(f"{name} {value:.3f}" for name, value in values.items())]))

    def save(step: int) -> None:
        saver.save(step, method, optimizer, loader, scaler, {"knn_step": knn_step, "guard": guard.state_dict()})

    def refuse(step: int, action: str) -> None:
        """What comes of a step that was not taken, and what is said of it."""
        words, values = "its batch moved nothing, and the run goes on behind it", guard.event()
        if action == "rewind":
            saver.settle()  # what is being written is the one to go back to
            back = guard.rewind(optimizer, scaler)
            words = f"weights are those of step {back} again, and the run goes on behind step {step}"
            values["rewound_to"] = back
        show.warn(f"{guard.reason}; {words}")
        if log is not None:
            log.write(step, steps.epoch(step), values)

    def show_all() -> int:
        """What a method may want before a step: to be shown every image once, in views of their own. The signal that stopped
        it, or 0; nothing of it is kept then."""
        nonlocal waiting
        if step:
            save(step)
        show.say(f"before step {step + 1} {config.method} is shown all images once")
        seed = (config.seed + PASSES + int(steps.epoch(step))) % 2**63
        with (watchdog.busy("a pass over all images"),
              open_loader(replace(config, seed=seed), recipe, source, world, render_threads, epochs=1) as once):
            for batch in once:
                with torch.no_grad(), autocast():
                    method.observe(batch.to(world.device, non_blocking=True) if on_cuda else batch)
                (signal_now,) = process.agree(world, stop.signal)
                if stop.agreed(signal_now):
                    return signal_now
        waiting = Waiting(world.device)  # which would take the pass for a wait for data
        return 0

    with stop_signals(signal.SIGUSR1, again_s=AGAIN_S if world.size > 1 else 0, within_s=config.stop_within_s,
                      late=lambda name: too_late(name, config.stop_within_s or 0, out)) as stop, loader:
        try:
            with watchdog.busy("kNN and pictures"):
                measure(step)
                if found is None and guard.goes_back:
                    save(step)
            batches = iter(loader) if step < steps.total else iter(())
            while step < steps.total and not stopped:
                if method.wants_pass(steps.epoch(step)) and (stopped := show_all()):
                    break
                tick = time.perf_counter()
                with part("data"):
                    batch = next(batches)
                    waiting.arrived(time.perf_counter() - tick)
                    if on_cuda:
                        batch = batch.to(world.device, non_blocking=True)
                # On CUDA a look at each loss would stall the device; there it waits for the next line of the log.
                logs = (step + 1) % config.log_every == 0 or step + 1 == steps.total
                taken = learner.take(batch, step, look=logs or not on_cuda)
                rate, decay = steps.rate(step), steps.decay(step)
                step += 1
                waiting.launched()
                watchdog.step(step)
                # The floats stop CUDA here, once a log line; then the time of the lap is the time of its work.
                numbers: dict[str, float] = {}
                if logs:
                    with part("log"):
                        numbers = {name: float(value.detach()) for name, value in taken.values.items()}
                        numbers |= {"grad_norm": float(taken.norm)} if taken.norm is not None else {}
                        numbers |= {"weight_decay": decay} if steps.final_decay is not None else {}
                        numbers |= monitor.measure(step, method, batch.views, autocast) if not taken.refused else {}
                seen = batch if between is not None else None
                refused = taken.refused
                del batch, taken  # the next batch may need their memory
                waited, seconds = waiting.settle(logs or not on_cuda), time.perf_counter() - tick
                whole.add(config.batch_size, waited, seconds)
                lap.add(config.batch_size, waited, seconds)
                show.advance(step)
                if refused:
                    refuse(step, refused)
                over = 0.0
                if logs:
                    counted = counters.summed(process.gather(world, loader.stats()))
                    numbers = process.mean_over_ranks(world, numbers) | {"lr": rate} | lap.rates() | guard.counts()
                    numbers |= counters.as_metrics(counted)
                    over, lap = watch.add(lap), Meter()
                    if step == steps.total:
                        numbers["data_wait_run"] = whole.rates()["data_wait"]
                    if log is not None:
                        log.write(step, steps.epoch(step), numbers)
                    show.report(step, steps.epoch(step), numbers)
                    if (collapsing := monitor.verdict(numbers)) is not None:
                        show.warn(collapsing)
                due = int(leader and saver.due(steps, step))
                due, stopped, worst = process.agree(world, due, stop.signal, round(1000 * over))
                stop.agreed(stopped)
                if worst:  # of any rank: while one waits for its data, the others wait for it
                    watch.stop()
                    starved = worst / 1000
                    show.warn(starving(starved, config))
                with watchdog.busy("kNN, pictures, a checkpoint"):
                    if not stopped:  # a kNN would make whoever stops us wait; it is made up for on resume
                        measure(step)
                    if stopped or due or step == steps.total:
                        save(step)
                if profile is not None:
                    profile.step()
                    if profile.said:
                        show.say(profile.said)
                        profile.close()
                        profile = None
                if between is not None and seen is not None:
                    between(seen)
            with watchdog.busy("the last checkpoint"):
                saver.finish()
        except RuntimeError as error:
            if not isinstance(error, RunFailure) and (lost := watchdog.missing()):
                reason = " ".join(str(error).split())[:120]
                raise RunFailure(f"{lost}; this rank had taken step {step} ({reason}); {standing(out)}, and the same command "
                                 "goes on from it, as torchrun --max-restarts does by itself") from error
            raise
        finally:
            saver.close()
            watchdog.close()
            show.close()
            if profile is not None:
                profile.close()
            if log is not None:
                log.close()
    summary = {"step": step, "total": steps.total, "stopped": stopped, "rank": world.rank, "out": str(out),
               "seconds": time.monotonic() - began, "starved": starved,
               "substituted": sum(counted["substituted"].values()), "counted": counted, **whole.rates()}
    summary |= metrics.latest(out / "metrics.jsonl", "loss", *OnlineKnn.NAMES)
    if leader:
        metrics.draw_curves(out)
        if not stopped:
            print(ending(summary), flush=True)
    return summary


def remote_of(config: RunConfig) -> Remote:
    """How data behind addresses are had. Raises ValueError for what cannot be."""
    return Remote(**{**asdict(config.remote), "storage_options": config.remote.storage_options or {}})


def open_loader(config: RunConfig, recipe: Recipe, source: Source, world: process.World, threads: int,
                epochs: int | None = None) -> Loader:
    """This rank's part of a stream of batches; without epochs an endless one, and the loop counts the steps."""
    of, out = config.loader, Path(config.out)
    out.mkdir(parents=True, exist_ok=True)  # also on machines that share no disk with rank 0's
    return Loader(source, recipe, config.batch_size // world.size, seed=config.seed, epochs=epochs, rank=world.rank,
                  world_size=world.size, threads=threads, engine=of.engine, device=world.device, last="drop", shuffle=of.shuffle,
                  lanes=of.lanes, window=of.window, prefetch=of.prefetch, sidecar=of.sidecar, max_bad=of.max_bad,
                  read_ahead_bytes=of.read_ahead_bytes, quarantine=out / QUARANTINE,
                  left=left_to(method_info(config.method).load()))


def ending(summary: dict[str, Any]) -> str:
    """What the run came to, and where to look."""
    names = {"knn_raw_pixels": "raw pixels", "knn_untrained": "untrained", "knn": "trained"}
    accuracy = ", ".join(f"{label} {summary[name]:.3f}" for name, label in names.items() if name in summary)
    lines = [f"done       {summary['step']} steps in {summary['seconds']:,.0f} s, {summary['images_per_s']:,.0f} images/s, "
             f"waited for data {summary['data_wait']:.1%} of the time"]
    if summary["images_per_s"] == 0:
        lines = [f"done       already: step {summary['step']} of {summary['total']}; more epochs=, or another out=, begin anew"]
    else:
        lines += [f"data       {counters.in_words(summary['counted'], Path(summary['out'], QUARANTINE))}"]
    if summary["starved"]:
        lines += [f"waiting    a warning above says that {summary['starved']:.0%} of the time went by waiting, and what to do"]
    lines += [f"kNN        {accuracy}"] if accuracy else []
    out = summary["out"]
    shown = f"{out}/{FOLDER}, " if Path(out, FOLDER).is_dir() else ""
    return "\n".join([*lines, f"look at    {out}/curves.png, {shown}{out}/metrics.jsonl, tensorboard --logdir {out}/tensorboard"])


def main(words: Sequence[str] | None = None) -> int:
    """`python train.py`: like `viewmill train`, with the same one-line errors."""
    words = sys.argv[1:] if words is None else words
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if words else 2
    try:
        return run(words)
    except (Exception, KeyboardInterrupt) as error:
        status, line = verdict(error)
        print(line, file=sys.stderr, flush=True)
        return status


if __name__ == "__main__":
    sys.exit(main())
