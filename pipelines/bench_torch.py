"""The batched half of a recipe, all that follows the crop, beside kornia's modules of the same ops, on the CPU.

    python -m viewmill.pipelines.bench_torch [recipe=dino] [n=64] [rounds=7] [compiled=true]

Rounds alternate between the contestants, in one process, with the same torch threads and the same pictures; each draws its own
parameters within its time. Wall and CPU time are medians over the rounds; where other work shares the cores, CPU time is the
fairer one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from ..augment.draw import draw
from ..augment.op import Op
from ..augment.ops import Crop
from ..augment.presets import recipe as named
from ..augment.recipe import Instance, Recipe
from ..augment.render import apply_ops, as_tensors, compiled_ops

Contestant = Callable[[Tensor], object]


def _kornia() -> Callable[[tuple[Op, ...]], nn.Module]:
    from .bench.peers import PEERS

    if missing := PEERS["kornia"].missing():
        raise SystemExit(f"this measures beside kornia, which is {missing}")
    return PEERS["kornia"].module().modules


def contestants(recipe: Recipe, instance: Instance, n: int, compiled: bool) -> dict[str, Contestant]:
    """By name, what is timed on levels (N, 3, H, W)."""
    at = next(i for i, op in enumerate(instance.ops) if isinstance(op, Crop)) + 1
    ops = instance.ops[at:]
    index, size_hw = np.arange(n), np.tile(instance.size_hw, (n, 1))
    alone = Recipe((replace(instance.view, count=1, roles=(), labels=()),), recipe.name, recipe.block)
    name = alone.instances[0].name
    epoch = iter(range(1 << 30))

    def params() -> dict[str, dict[str, np.ndarray]]:
        return draw(alone, 0, next(epoch), index, size_hw, position=index, length=n)[name]

    found: dict[str, Contestant] = {"viewmill": lambda levels: apply_ops(levels, ops, params())}
    if compiled:
        graph = compiled_ops(ops)
        found["viewmill, compiled"] = lambda levels: graph(levels, as_tensors({op.name: params()[op.name] for op in ops}))
    modules = _kornia()(ops)
    found["kornia"] = lambda levels: modules(levels / 255)
    return found


def measure(found: dict[str, Contestant], levels: Tensor, rounds: int) -> dict[str, tuple[float, float]]:
    """Median wall and CPU milliseconds of each, from rounds that alternate; a first one, which warms up, does not count."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    with torch.no_grad():
        for _ in range(rounds + 1):
            for name, run in found.items():
                wall, cpu = time.perf_counter(), time.process_time()
                run(levels)
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: (1e3 * median(t[0] for t in each[1:]), 1e3 * median(t[1] for t in each[1:])) for name, each in times.items()}


def why_not_compiled() -> str:
    """Empty where torch.compile works on this CPU; else the reason."""
    try:
        torch.compile(lambda x: x.clamp(0, 1) + 1)(torch.ones(3))
    except Exception as error:  # whatever keeps a compiler from running
        return str(error).strip().splitlines()[0]
    return ""


def pictures(n: int, size_hw: tuple[int, int]) -> Tensor:
    """(N, 3, H, W) whole levels: smooth colours and noise."""
    chance = torch.Generator().manual_seed(0)
    coarse = torch.rand((n, 3, 7, 7), generator=chance) * 255
    smooth = nn.functional.interpolate(coarse, size_hw, mode="bilinear")
    return (smooth + 12 * torch.randn(smooth.shape, generator=chance)).clamp(0, 255).round()


def main(arguments: list[str]) -> None:
    given = {"recipe": "dino", "n": "64", "rounds": "7", "compiled": "true"}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in given:
            raise SystemExit(f"there is no option {key!r}; known: {', '.join(given)}")
        given[key] = value
    recipe, n, rounds = named(given["recipe"]), int(given["n"]), int(given["rounds"])
    reason = why_not_compiled() if given["compiled"] == "true" else "compiled=false"
    print(f"{recipe}, what follows the crop, batches of {n}, {rounds} rounds, {torch.get_num_threads()} torch threads")
    if reason:
        print(f"not compiled: {reason}")
    print(f"{'view':<10} {'size':>9}  {'':<20} {'wall ms':>9} {'CPU ms':>9} {'kornia / it, wall':>18} {'CPU':>6}")
    seen = set()
    for instance in recipe.instances:
        if instance.view in seen:
            continue
        seen.add(instance.view)
        levels = pictures(n, instance.size_hw)
        times = measure(contestants(recipe, instance, n, not reason), levels, rounds)
        for name, (wall, cpu) in times.items():
            ratio = [their / our for their, our in zip(times["kornia"], (wall, cpu), strict=True)]
            print(f"{instance.name:<10} {'x'.join(map(str, instance.size_hw)):>9}  {name:<20} {wall:9.1f} {cpu:9.1f} "
                  f"{ratio[0]:18.2f} {ratio[1]:6.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
