"""`viewmill plan`: what a run on many GPUs needs, before anybody has them."""

from __future__ import annotations

import json as to_json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

from ...augment.recipe import Recipe
from ...models.training.config import RunConfig, describe, key
from ...models.training.manual import rows
from ...models.training.overrides import filled, split
from ...pipelines.source import open_source
from .counting import count
from .gpus import GPUS, gpu_of
from .needs import Given, Needs, needs, precision_of
from .page import page
from .views import IMAGENET, stored

Read = Callable[[Sequence[str]], tuple[RunConfig, Recipe]]

HEAD = f"""viewmill plan METHOD gpus=N gpu=NAME [data=...] [KEY=VALUE]...

What a training of METHOD needs on N GPUs: hours, images a second from the loaders, cores and decoders, storage and network,
memory on each GPU, checkpoints. Nothing is trained and no GPU is needed: the method's own step is taken on shapes alone. Every
assumption is printed with where it is from. gpu: {', '.join(GPUS)}.

  viewmill plan dino gpus=16 gpu=h100
  viewmill plan dinov2 variant=vitg14 gpus=96 gpu=a100-80 parallel=fsdp images=142000000 steps=625000
  viewmill plan mae --gpus 8 --gpu h200 --json

All keys of the method's training, and
"""


@dataclass(frozen=True)
class PlanConfig:
    gpus: int = key("how many, over all nodes", 0)
    gpu: str = key(f"which: {', '.join(GPUS)}", "")
    gpus_per_node: int = key("of the nodes", 8)
    cores_per_node: int | None = key("cores that may decode and render; null: of the maker's node, a share for fewer than 8 GPUs",
                                     None)
    images: int | None = key("of the data set; null: counted in data=, else ImageNet-1k's 1,281,167", None)
    bytes_per_image: float | None = key("null: measured of data=, else 110,000 as of ImageNet-1k", None)
    images_per_core: float | None = key("images a second that one core decodes and renders, as `viewmill bench` measures it; "
                                        "null: as measured on ours", None)
    utilisation: float | None = key("share of the GPU's peak; null: by a roofline and what published runs reached of it", None)
    attention: Literal["fused", "plain"] = key("fused: one op that keeps no weights of pairs, where precision is half; plain: as "
                                               "in code of 2021", "fused")
    json: bool = key("print all of it as JSON", False)

    def __post_init__(self) -> None:
        for name in ("gpus_per_node", "cores_per_node", "images"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} needs a whole number of at least 1, got {value}")
        for name in ("bytes_per_image", "images_per_core"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} needs a number above 0, got {value}")
        if self.utilisation is not None and not 0 < self.utilisation <= 1:
            raise ValueError(f"utilisation needs a share in (0, 1] of the GPU's peak, got {self.utilisation}")


def main(words: Sequence[str], read: Read) -> int:
    """Plan and print. read: of `viewmill.train`. Raises ValueError, one line."""
    if {"--help", "-h"} & set(words) or not words:
        print("\n".join([HEAD, *rows(describe(PlanConfig))]))
        return 0
    own, found = planned(words, read)
    print(to_json.dumps(found.as_dict(), indent=1) if own.json else page(found))
    return 0


def planned(words: Sequence[str], read: Read) -> tuple[PlanConfig, Needs]:
    """What words ask for. Raises ValueError, one line: keys that are not there, GPUs that do not divide a batch, a method that
    cannot be built."""
    words = undashed(words)
    names = {f.name for f in fields(PlanConfig)}
    own = filled(PlanConfig(), [split(word) for word in words if word.partition("=")[0] in names])
    rest = [word for word in words if word.partition("=")[0] not in names]
    if own.gpus < 1 or not own.gpu:
        raise ValueError(f"a plan needs gpus=N, at least 1, and gpu=NAME, one of {', '.join(GPUS)}; got gpus={own.gpus} "
                         f"gpu={own.gpu or 'none'}")
    gpu = gpu_of(own.gpu)
    given_data = any(word.startswith("data=") for word in rest)
    config, recipe = read([*rest, *([] if given_data else ["data=ImageNet-1k"])])
    if own.gpus > own.gpus_per_node and own.gpus % own.gpus_per_node:
        raise ValueError(f"gpus={own.gpus} are no whole nodes of gpus_per_node={own.gpus_per_node}; "
                         f"use gpus={own.gpus // own.gpus_per_node * own.gpus_per_node}, or another gpus_per_node")
    if config.batch_size % own.gpus:
        raise ValueError(f"batch_size={config.batch_size} is for all GPUs together, and gpus={own.gpus} do not divide it; use "
                         f"batch_size={max(config.batch_size // own.gpus, 1) * own.gpus}")
    data = stored(open_source(config.data)) if given_data else IMAGENET
    for name, value in (("images", own.images), ("bytes_each", own.bytes_per_image)):
        if value is not None:
            data = replace(data, **{name: value}, source=f"given, and {data.source}")
    precision = precision_of(config, gpu)
    fused = own.attention == "fused" and precision != "fp32"
    counted = count(config, recipe, config.batch_size // own.gpus // config.accumulate, data.images, precision, fused)
    given = Given(gpu, own.gpus, own.gpus_per_node, precision, fused, own.cores_per_node, own.utilisation, own.images_per_core)
    return own, needs(config, recipe, given, counted, data)


def undashed(words: Sequence[str]) -> list[str]:
    """--gpus 16 and --gpus=16 as gpus=16, --json as json=true."""
    found: list[str] = []
    waiting: str | None = None
    for word in words:
        if waiting is not None and not word.startswith("--") and "=" not in word:
            found.append(f"{waiting}={word}")
            waiting = None
            continue
        found += [] if waiting is None else [f"{waiting}=true"]
        waiting = None
        if word.startswith("--") and "=" not in word:
            waiting = word[2:].replace("-", "_")
        else:
            found.append(word.removeprefix("--"))
    return [*found, *([] if waiting is None else [f"{waiting}=true"])]
