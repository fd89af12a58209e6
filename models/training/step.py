"""What a method is made ready with, and one step of it: shared by the run and by whatever measures the run's steps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.modules.batchnorm import _BatchNorm

from ...augment.recipe import Recipe
from .. import build
from ..distributed import leave_alone
from ..method import Method
from ..rank_norm import is_over_ranks, over_ranks
from ..views import Divisible
from .blocks import checkpoint_activations, compile_blocks
from .config import ClipMode, RunConfig
from .optimizer import build_optimizer, clip, set_decay, set_rate
from .pieces import is_sharded, without_exchange
from .process import World, seed_all
from .profiling import part
from .sharding import shard

Autocast = Callable[[], AbstractContextManager[Any]]


def image_side(recipe: Recipe) -> int:
    """The side, in pixels, of the first group's views: what the backbone sees. Raises ValueError unless they are square."""
    name, shape = next(iter(recipe.groups.items()))
    if shape.height != shape.width:
        raise ValueError(f"recipe {recipe}: backbones here need square views, group {name!r} has {shape.height} x {shape.width}")
    return shape.width


def place(method: Method, config: RunConfig, world: World) -> Method:
    """Onto the device, in the memory order asked for, with batch norm over all ranks, blocks that compute themselves anew, and
    compiled ones, where that is asked for. Raises ValueError where it cannot be."""
    if world.size > 1 and config.sync_bn:
        over_ranks(method, world.device)
    method = method.to(world.device)
    method = method.to(memory_format=torch.channels_last) if config.channels_last else method
    if config.activation_checkpointing:
        checkpoint_activations(method)
    if config.compile:
        compile_blocks(method)
    if config.parallel == "fsdp" and world.size > 1:
        shard(method, config, world)
    return method


def refuse_lone_image(method: nn.Module, images: int, world: World) -> None:
    """Raise ValueError, one line, where batch norm would have the statistics of a single image. images: of one rank's step."""
    lone = [name for name, part in method.named_modules() if isinstance(part, _BatchNorm)
            and not (is_over_ranks(part) and world.size > 1)]
    if images == 1 and lone:
        raise ValueError(f"batch_size={world.size} leaves each rank one image, and batch norm ({lone[0]}) would take its "
                         f"statistics from that alone; use batch_size={2 * world.size} or more")


def parallel(method: nn.Module, world: World) -> nn.Module:
    """The method, with gradients averaged over ranks where there are several."""
    if world.size == 1 or is_sharded(method):
        return method
    leave_alone(method)
    return nn.parallel.DistributedDataParallel(method, device_ids=[world.device.index] if world.device.type == "cuda" else None)


def autocast_for(precision: str, device: torch.device) -> Autocast:
    """A context for forward passes: bf16 or fp16 where asked for, and bf16 on CUDA devices that have it where left to us."""
    if precision == "fp16":
        return lambda: torch.autocast(device.type, torch.float16)
    on = precision == "bf16" or (precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported())
    return (lambda: torch.autocast(device.type, torch.bfloat16)) if on else nullcontext


def scaler_for(precision: str, device: torch.device) -> GradScaler | None:
    """What scales the loss, so that small gradients survive in fp16: a step whose gradients overflow is left out, and the scale
    halved. None for other precisions, which need none."""
    return GradScaler(device.type) if precision == "fp16" else None


def refuse_parts(method: Method, config: RunConfig, images: int) -> None:
    """Raise ValueError, one line, where a batch cannot go through in config.accumulate parts. images: of one rank's step."""
    if config.accumulate == 1:
        return
    if images % config.accumulate:
        raise ValueError(f"accumulate={config.accumulate} does not divide the {images} images of a rank's step; use a divisor")
    if method.whole_batch is not None:
        raise ValueError(f"accumulate={config.accumulate}: {config.method} needs a batch in one pass: {method.whole_batch}; use "
                         "accumulate=1 and more ranks, or a smaller batch_size")


def accumulated(model: nn.Module, batch: Divisible, parts: int, autocast: Autocast, scaler: GradScaler | None = None
                ) -> dict[str, Tensor]:
    """Forward and backward of a batch in so many parts one after the other, so that gradients are those of the mean of their
    losses. Returns what forward returns, each the mean over parts, without a gradient.

    Ranks exchange gradients in the last part alone.
    """
    model.zero_grad(set_to_none=True)
    size, found = len(batch.index) // parts, []
    for number in range(parts):
        with without_exchange(model) if number + 1 < parts else nullcontext():
            with part("forward"), autocast():
                values: dict[str, Tensor] = model(batch.rows(number * size, (number + 1) * size))
            with part("backward"):
                loss = values["loss"] / parts
                (loss if scaler is None else scaler.scale(loss)).backward()
        found.append({name: value.detach() for name, value in values.items()})
    return {name: torch.stack([each[name] for each in found]).mean(0) for name in found[0]}


def learn(method: Method, optimizer: torch.optim.Optimizer, loss: Tensor | None, rate: float, clip_grad: float | None,
          progress: float, *, clip_mode: ClipMode = "joint", decay: float | None = None,
          peak: float | None = None, scaler: GradScaler | None = None) -> Tensor | None:
    """Backward and one update at a learning rate, with the method's hooks on the way; the gradients' norm before it was clipped,
    None where it is not.

    loss: None where the gradients are there already, as `accumulated` leaves them. progress: share of all steps that are done
    once this one is, in (0, 1]. decay: of the weights that decay; None: as it is. peak: the highest rate of the run, for parts
    whose rate stays there; None: rate. scaler: see `scaler_for`.
    """
    if loss is not None:
        with part("backward"):
            optimizer.zero_grad(set_to_none=True)
            (loss if scaler is None else scaler.scale(loss)).backward()
    with part("clipping"):
        if scaler is not None:
            scaler.unscale_(optimizer)
        method.after_backward()
        norm = clip(method, clip_grad, clip_mode)
    set_rate(optimizer, rate, peak)
    if decay is not None:
        set_decay(optimizer, decay)
    with part("optimizer"):
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
    with part("teachers and hooks"):
        method.after_step(progress)
    return norm


def step_of(config: RunConfig, recipe: Recipe, world: World, images: int) -> tuple[Callable[[Divisible], None], int]:
    """(what one step of a run does with a batch on its device, how many weights it trains), for one rank, to be measured.
    images: how many there are in the data set.

    The method is new, and stays so: the rate is 0, which costs the same and lets no weight run away however long it is
    measured. On CUDA a step returns before its work is done, as in a run.
    """
    seed_all(config.seed)
    method = place(build(config.method, config.model, image_px=image_side(recipe), images=images), config, world)
    optimizer = build_optimizer(method, config.optimizer)
    autocast, scaler = autocast_for(config.precision, world.device), scaler_for(config.precision, world.device)

    def step(batch: Divisible) -> None:
        method.before_step(config.epochs // 2 + 0.5)  # not at an epoch's beginning, where a method may do more
        if config.accumulate > 1:
            values = accumulated(method, batch, config.accumulate, autocast, scaler)
        else:
            with autocast():
                values = method(batch)
        if world.device.type != "cuda":  # where a run looks at each loss
            torch.isfinite(values["loss"].detach()).all().item()
        loss = values["loss"] if config.accumulate == 1 else None
        learn(method, optimizer, loss, 0.0, config.clip_grad, 0.5, clip_mode=config.clip_mode, scaler=scaler)

    return step, sum(p.numel() for p in method.parameters() if p.requires_grad)


def unshared(config: RunConfig, recipe: Recipe, images: int, world: World) -> Method:
    """A method of the run's, untrained, on its device and whole."""
    with torch.random.fork_rng():
        return build(config.method, config.model, image_px=image_side(recipe), images=images).to(world.device)
