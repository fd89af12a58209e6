"""What `viewmill bench methods` is asked for: which methods, on which pictures, for how many seeds, judged how."""

# ruff: noqa: RUF009 (key() gives a dataclass field)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...augment.op import nearest
from ...models import METHODS, method_info
from ...models.training.config import describe, key
from ...models.training.manual import rows
from ...models.training.overrides import filled, split
from ...pipelines.patterns import expand, is_remote
from ..finetune import FinetuneConfig
from ..layers import LayersConfig
from ..linear import LinearConfig
from ..neighbours import KnnEvalConfig

PROTOCOLS = ("knn", "linear", "finetune", "layers")
NEEDS_MORE = ("pseudo_labels",)
"""Methods that need a file of another network's making: measured where they are named, with METHOD.model.labels=FILE."""
HELD_OUT = 10  # of the training shards, one in so many is tested on while settings are chosen


@dataclass(frozen=True)
class BenchConfig:
    """The table's own keys, and those of the protocols."""

    data: Any = key("labelled training pictures: what all pretrain on and what classifiers learn from")
    test_data: Any = key("labelled test pictures; with split=dev they are not looked at")
    out: str = key("folder of the table and of all that it is made of", "runs/methods")
    seeds: int = key("runs of each method, with seeds 0, 1, ...; each beside the untrained network of the same first weights", 3)
    split: Literal["test", "dev"] = key("dev: the last tenth of the training shards is tested on, the others are trained "
                                        "on, to choose settings; test: the table that is published", "test")
    stale: Literal["rerun", "check", "keep"] = key(
        "what another configuration or other code has made; check: rerun it unless the code alone is another and seed 0, a part "
        "of it made anew, comes out the same to the bit; keep: as it is, marked", "rerun")
    check_steps: int = key("steps of training that are repeated for stale=check", 100)
    protocols: tuple[str, ...] = key("what all are judged by, beside each method's own: knn, linear, finetune, layers",
                                     ("knn", "linear", "finetune"))
    max_images: int | None = key("at most so many training pictures for kNN and linear, a fixed random part; null: all", None)
    max_test_images: int | None = key("at most so many of the test pictures, a fixed random part; null: all", None)
    finetune_images: int | None = key("at most so many training pictures for fine-tuning; null: all", 5_000)
    layers_images: int | None = key("at most so many training pictures for layers; null: all", 10_000)
    calibration_images: int = key("training pictures that the batch norms of an untrained network are calibrated on", 4_096)
    resamples: int = key("of the bootstrap", 10_000)
    torch_threads: int | None = key("threads of torch on the CPU; null: the cores that rendering leaves", None)
    threads: int | None = key("threads that render pictures; null: a share of the cores", None)
    knn: KnnEvalConfig = key("", KnnEvalConfig(k=(20,)))
    linear: LinearConfig = key("", LinearConfig(epochs=10))
    finetune: FinetuneConfig = key("", FinetuneConfig(epochs=3))
    layers: LayersConfig = key("", LayersConfig(values=2048, cached=True, epochs=10))

    def __post_init__(self) -> None:
        for name in ("seeds", "max_images", "max_test_images", "finetune_images", "layers_images", "calibration_images",
                     "resamples", "torch_threads", "threads", "check_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} needs a whole number of at least 1, got {value}")
        for name in self.protocols:
            if name not in PROTOCOLS:
                raise ValueError(f"protocols has no {name!r}; {nearest(name, list(PROTOCOLS))}")


@dataclass(frozen=True)
class Arm:
    """A row of the table. method: its name. words: of its training, but for data, out and seed. untrained: the arm whose
    untrained network stands beside this one's trained."""

    name: str
    method: str
    words: tuple[str, ...]
    untrained: str


@dataclass(frozen=True)
class Settings:
    """arms: in the order of the table. own: the words that config was made of. typed: all, with the name of the command."""

    config: BenchConfig
    arms: tuple[Arm, ...]
    own: tuple[str, ...]
    typed: tuple[str, ...]
    title: str = ""


def read(words: Sequence[str]) -> Settings:
    """What `[METHOD ...] data=... test_data=... [KEY=VALUE]...` asks for. Without a METHOD: all. Raises ValueError, one line."""
    names = [word for word in words if "=" not in word]
    for name in names:
        if name.startswith("-"):
            raise ValueError(f"unknown option {name!r}; viewmill bench methods --help lists what there is")
        method_info(name)
    methods = tuple(dict.fromkeys(names)) or tuple(name for name in METHODS if name not in NEEDS_MORE)
    own, for_all, for_one = [], [], {name: [] for name in methods}  # type: ignore[var-annotated]
    for word in (word for word in words if "=" in word):
        first, _, rest = word.partition(".")
        if first == "train":
            for_all.append(rest)
        elif first in for_one:
            for_one[first].append(rest)
        else:
            own.append(word)
    config = config_of(own, ["train.KEY", *(f"{m}.KEY" for m in methods)])
    arms = tuple(Arm(name, name, (*small(name), *for_all, *for_one[name]), name) for name in methods)
    return Settings(config, arms, tuple(own), ("bench", "methods", *words))


def small(method: str) -> tuple[str, ...]:
    """The words of a method's small run."""
    info = method_info(method)
    return (f"recipe={info.recipe_32px}", *info.small)


def config_of(own: Sequence[str], others: Sequence[str] = ()) -> BenchConfig:
    """The configuration that KEY=VALUE words make. others: further keys, to be named where one is unknown. Raises ValueError, one
    line, where a key is unknown or pictures are not given."""
    pairs = [split(word) for word in own]
    config: BenchConfig = filled(BenchConfig(data="unset", test_data="unset"), pairs, list(others))
    given = {name for name, _ in pairs}
    for needed in ("data", *(["test_data"] if config.split == "test" else [])):
        if needed not in given:
            raise ValueError(f"this needs labelled pictures: {needed}=PATTERN, for example "
                             "data='cifar10/train-*.tar' test_data='cifar10/test-*.tar'")
    return config


def parts(config: BenchConfig) -> tuple[Any, Any]:
    """(what is trained on, what is tested on), for open_source and as a run's data=. Raises ValueError where a tenth of the
    training shards cannot be held out."""
    if config.split == "test":
        return config.data, config.test_data
    patterns = [config.data] if isinstance(config.data, str) else list(config.data)
    shards = [] if any(is_remote(pattern) for pattern in patterns) else [str(path) for path in expand(patterns)]
    if len(shards) < 2 or any(Path(shard).is_dir() for shard in shards):
        raise ValueError(f"split=dev holds out a tenth of the training shards, at least one: data={config.data} needs to be two "
                         "local tars or more")
    held_out = max(len(shards) // HELD_OUT, 1)
    return shards[:-held_out], shards[-held_out:]


def manual() -> str:
    lines = [HEAD, "Methods, with what each is judged by and how it is trained:"]
    for name, info in METHODS.items():
        lines.append(f"  {name:<12} {info.metric:<9} recipe={info.recipe_32px} {' '.join(info.small)}")
    return "\n".join([*lines, "", "Keys:", *rows(describe(BenchConfig(data="", test_data="")))])


HEAD = """Usage: viewmill bench methods [METHOD ...] data=... test_data=... [KEY=VALUE]...

Train METHODs (all, if none is named) on 32 px pictures for the small budget that each of them names, with several seeds, and
judge them and their untrained networks by the same protocols. out/table.md has one row for each method; the metric that counts
was named beforehand, and its gain over the untrained network, the better of as initialized and with calibrated batch norms, has
an interval. Stopped or killed, the same command goes on; what is there is not made again, unless its configuration or code has
changed.

  viewmill bench methods data='cifar10/train-*.tar' test_data='cifar10/test-*.tar' out=runs/methods
  viewmill bench methods simclr data='cifar10/train-*.tar' split=dev out=runs/dev simclr.optimizer.lr=1e-3 seeds=1

METHOD.KEY=VALUE is a word of one method's training, train.KEY=VALUE of all.
"""
