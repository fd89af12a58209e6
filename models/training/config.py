"""The whole of a run as one tree of frozen data. Numbers that a paper published are not here: METHODS carries them."""

# ruff: noqa: RUF009 (key() gives a dataclass field)
from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_type_hints


def key(meaning: str, default: Any = MISSING) -> Any:
    """A field whose meaning `--help` prints. Without a default, the method's published value is the default."""
    return field(metadata={"meaning": meaning}) if default is MISSING else field(default=default, metadata={"meaning": meaning})


def _is_data(data: Any) -> bool:
    if isinstance(data, list | tuple):
        return len(data) > 0 and all(isinstance(entry, str) and entry for entry in data)
    return isinstance(data, str) and data != ""


def _above(name: str, value: float, bound: float = 0) -> None:
    if not value > bound:
        raise ValueError(f"{name} needs a number above {bound}, got {value}")


def _at_least(name: str, value: float, bound: float = 0) -> None:
    if not value >= bound:
        raise ValueError(f"{name} needs a number of at least {bound}, got {value}")


@dataclass(frozen=True)
class OptimizerConfig:
    name: Literal["adamw", "adam", "sgd", "nesterov", "lars", "larc", "lamb"] = key(
        "adamw, adam (decay inside the gradient), sgd (plain momentum), nesterov (sgd with Nesterov's), lars, larc (Apex's, "
        "around sgd) or lamb")
    lr: float = key("base rate; scaling says how the batch size enters")
    scaling: Literal["linear", "sqrt", "none"] = key("peak rate: linear = lr * batch / 256, sqrt = lr * sqrt(batch), none = lr")
    weight_decay: float = key("decay of the weights that are not excluded")
    final_weight_decay: float | None = key("where half a cosine over the run brings the decay; null: it stays", None)
    betas: tuple[float, float] = key("adamw, adam and lamb", (0.9, 0.999))
    momentum: float = key("sgd, nesterov, lars and larc", 0.9)
    exclude: Literal["norm-and-bias", "none"] = key("what neither decays nor is adapted by lars, larc and lamb", "norm-and-bias")
    spared_lr: float | None = key("base rate of what is so excluded, in place of lr; null: lr", None)

    def __post_init__(self) -> None:
        _above("optimizer.lr", self.lr)
        _at_least("optimizer.weight_decay", self.weight_decay)
        if not all(0 <= beta < 1 for beta in (*self.betas, self.momentum)):
            raise ValueError(f"optimizer.betas and optimizer.momentum need numbers in [0, 1), got {self.betas}, {self.momentum}")
        if self.final_weight_decay is not None:
            _at_least("optimizer.final_weight_decay", self.final_weight_decay)
        if self.name == "nesterov":
            _above("optimizer.momentum of nesterov", self.momentum)
        if self.spared_lr is not None:
            _at_least("optimizer.spared_lr", self.spared_lr)
            if self.exclude == "none":
                raise ValueError(f"optimizer.spared_lr={self.spared_lr:g} is for what exclude=norm-and-bias leaves out, "
                                 "and this run has exclude=none; give optimizer.spared_lr=null too")


ClipMode = Literal["joint", "per-part", "per-tensor"]


@dataclass(frozen=True)
class ScheduleConfig:
    warmup_epochs: float = key("linear warm-up, per step; then the law")
    first_lr: float = key("where the warm-up begins, as an absolute rate", 0.0)
    law: Literal["cosine", "steps"] = key("half a cosine over all steps, or falls at given epochs", "cosine")
    final_lr: float = key("cosine: where it ends, as an absolute rate", 0.0)
    per: Literal["step", "epoch"] = key("cosine: falls at each step, or where an epoch begins, as in MoCo's code", "step")
    steps_at: tuple[float, ...] = key("steps: epochs after which the rate is multiplied once more; none: it stays", ())
    step_factor: float = key("steps: what it is multiplied by", 0.1)
    step_factors: tuple[float, ...] = key("steps: what it is multiplied by at each of them; none: step_factor", ())

    def __post_init__(self) -> None:
        _at_least("schedule.warmup_epochs", self.warmup_epochs)
        _at_least("schedule.first_lr", self.first_lr)
        _at_least("schedule.final_lr", self.final_lr)
        _above("schedule.step_factor", self.step_factor)
        if any(after <= before for before, after in zip((0, *self.steps_at), self.steps_at, strict=False)):
            raise ValueError(f"schedule.steps_at needs ascending numbers above 0 (epochs), got {list(self.steps_at)}")
        if self.step_factors and (len(self.step_factors) != len(self.steps_at) or min(self.step_factors) <= 0):
            raise ValueError(f"schedule.step_factors needs a number above 0 for each of schedule.steps_at, {len(self.steps_at)}, "
                             f"got {list(self.step_factors)}")


@dataclass(frozen=True)
class LoaderConfig:
    threads: int | None = key("rendering threads of each rank; null: a share of its cores", None)
    engine: str = key("auto, cpu, torch or dali", "auto")
    shuffle: Literal["auto", "full", "lanes", "none"] = key("order of an epoch; auto: full for local data", "auto")
    lanes: int = key("lanes that an epoch is cut into", 256)
    window: int = key("shards that are shuffled together in a lane", 16)
    prefetch: int | None = key("batches made ahead; null: 2, or 1 where one takes over 256 MiB", None)
    read_ahead_bytes: int = key("encoded bytes that are read before they are needed; 0: none", 1 << 26)
    sidecar: bool = key("render in a process of its own; false: in threads of this one", True)
    max_bad: float = key("share of unreadable images that stops a run: at an epoch's end, or when no chance explains more", 0.01)


@dataclass(frozen=True)
class RemoteConfig:
    """For data behind addresses. Credentials are better left to the environment: the configuration is written down."""

    cache: str | None = key("folder for what was fetched; null: in the user's cache folder", None)
    cache_bytes: int | None = key("how much it may hold, for all ranks of a host; null: half of what is free there", None)
    connections: int = key("shards fetched at one time, by each rank", 8)
    storage_options: Any = key("options of fsspec's file system, as {endpoint_url: ...}; null: none", None)
    catalogue: str | None = key("local folder with the catalogue and indexes; null: they lie beside the shards", None)
    attempts: int = key("tries in a row that bring nothing, before it is an error", 8)
    timeout_s: float = key("seconds without a byte, before a try has failed", 60.0)


@dataclass(frozen=True)
class KnnConfig:
    """Online weighted kNN; it runs where test_data is given and labelled."""

    every: float = key("epochs between two measurements, and always at the end; 0: never", 1.0)
    k: int = key("neighbours", 20)
    tau: float = key("temperature of the votes", 0.07)
    data: Any = key("labelled images that vote; null: the training data", None)
    test_data: Any = key("labelled images that are classified; null: no kNN", None)
    max_images: int = key("at most so many of the voting images, a fixed random part", 10_000)
    max_test_images: int = key("at most so many of the classified images, a fixed random part", 2_000)
    baselines: bool = key("before the first step, also measure raw pixels and the untrained network", True)

    def __post_init__(self) -> None:
        _at_least("knn.every", self.every)
        _above("knn.tau", self.tau)
        for name in ("k", "max_images", "max_test_images"):
            _at_least(f"knn.{name}", getattr(self, name), 1)


@dataclass(frozen=True)
class HealthConfig:
    """Feature std, RankMe, uniformity and the like, of images of the batch that is trained on."""

    every: int = key("steps between two measurements, each at a line of the log; 0: never", 100)
    images: int = key("at most so many of the batch's images, on each rank, two views of each", 256)

    def __post_init__(self) -> None:
        _at_least("health.every", self.every)
        _at_least("health.images", self.images, 2)


@dataclass(frozen=True)
class CheckpointConfig:
    """A checkpoint is also written at the end and on SIGTERM, SIGUSR1 or SIGINT."""

    minutes: float | None = key("minutes between two checkpoints; null: not by the clock", 10.0)
    steps: int | None = key("steps between two checkpoints; null: not by steps", None)
    epochs: float | None = key("epochs between two checkpoints; null: not by epochs", None)
    keep: int = key("how many of the newest are kept", 2)
    background: bool = key("the run goes on while a checkpoint is written, from a copy in the host's memory", True)
    form: Literal["auto", "whole", "parts"] = key("whole: one file, by rank 0; parts: a folder, where each rank writes what it "
                                                  "holds; auto: parts where several ranks train with parallel=fsdp", "auto")

    def __post_init__(self) -> None:
        for name in ("minutes", "steps", "epochs"):
            if getattr(self, name) is not None:
                _above(f"checkpoint.{name}", getattr(self, name))
        _at_least("checkpoint.keep", self.keep, 1)


@dataclass(frozen=True)
class FaultsConfig:
    """Steps that would spoil a run. skip: the batch moves nothing; rewind: weights go back to the last good checkpoint, and
    the run goes on behind the batch."""

    nan: Literal["stop", "skip", "rewind"] = key("what comes of a loss or gradient that is not finite: stop ends the run, skip "
                                                 "leaves the batch out, rewind goes back to the last checkpoint, too", "stop")
    spike: float | None = key("a loss so many spreads above the median of the latest ones is a spike; null: none is", None)
    at_spike: Literal["stop", "skip", "rewind"] = key("what comes of a spike", "skip")
    window: int = key("how many of the latest losses have a median and a spread; none is a spike before there are so many", 64)
    in_a_row: int = key("skip: more batches than this, one after the other, end the run", 10)
    rewinds: int = key("rewind: more than this end the run", 3)

    def __post_init__(self) -> None:
        if self.spike is not None:
            _above("faults.spike", self.spike)
        for name, least in (("window", 2), ("in_a_row", 1), ("rewinds", 0)):
            _at_least(f"faults.{name}", getattr(self, name), least)


@dataclass(frozen=True)
class RunConfig:
    method: str = key("the method, for example simclr or mae")
    data: Any = key("tar shards (train-{0000..0009}.tar, a glob, a list, addresses) or a folder of class folders")
    out: str = key("folder of the run: config, metrics, checkpoints, curves")
    epochs: int = key("passes over the data")
    batch_size: int = key("images a step, over all ranks together; the world size divides it")
    recipe: str = key("name of the views' recipe; its fields are keys too: recipe.global/0.blur.p=0, recipe.global.size_px=64")
    model: Any = key("the method's own fields, see below")
    optimizer: OptimizerConfig = key("")
    schedule: ScheduleConfig = key("")
    clip_grad: float | None = key("bound of the gradients' norm; null: none", None)
    clip_mode: ClipMode = key("whose norm is bounded: all gradients', those of each part of the method (its backbone, its head), "
                              "or each by itself", "joint")
    seed: int = key("of the order, the draws, the first weights", 0)
    steps: int | None = key("end after so many steps, even within an epoch; null: after the epochs", None)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = key("auto: bf16 autocast on CUDA, fp32 elsewhere; fp16: autocast, and "
                                                             "a loss that is scaled", "auto")
    parallel: Literal["ddp", "fsdp"] = key("several ranks: ddp has all weights on each; fsdp shares weights, gradients and the "
                                           "optimizer's averages out", "ddp")
    device: Literal["auto", "cpu", "cuda"] = key("auto: cuda where there is one", "auto")
    channels_last: bool = key("memory order of images and filters; often faster for convolutional networks", False)
    accumulate: int = key("parts that each rank's share of a batch goes through one after the other, before the weights move", 1)
    activation_checkpointing: bool = key("blocks keep their inputs alone and compute themselves anew in the backward pass", False)
    compile: bool = key("have torch compile the networks' blocks", False)
    sync_bn: bool = key("batch norm over all ranks; false: over each rank's own images", True)
    torch_threads: int | None = key("threads of torch of each rank on the CPU; null: the cores that rendering leaves", None)
    resume: str = key("auto: go on from the last checkpoint in out, if any; never; or the path of a checkpoint", "auto")
    hang_s: float | None = key("several ranks: seconds without a step on any of them after which a job is taken for hung and "
                               "ends, four times as many around kNN, pictures and checkpoints; null: never", 1800.0)
    stop_within_s: float | None = key("seconds from SIGTERM, SIGUSR1 or Ctrl-C until the step has to have ended and a "
                                      "checkpoint to stand; later the process ends with status 1; null: never", None)
    log_every: int = key("steps between two lines of metrics", 10)
    data_wait_budget: float = key("share of the time in [0, 1]: a run that waits longer for data warns once; 1: never", 0.1)
    tensorboard: bool = key("also write metrics for TensorBoard", True)
    profile: bool = key("trace some early steps: out/profile says where their time goes", False)
    report: bool = key("end by writing out/report.html, a page to look at", True)
    loader: LoaderConfig = key("", LoaderConfig())
    remote: RemoteConfig = key("", RemoteConfig())
    knn: KnnConfig = key("", KnnConfig())
    health: HealthConfig = key("", HealthConfig())
    checkpoint: CheckpointConfig = key("", CheckpointConfig())
    faults: FaultsConfig = key("", FaultsConfig())

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "log_every"):
            _at_least(name, getattr(self, name), 1)
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed needs a whole number in [0, 2**63), got {self.seed}")
        if not 0 <= self.data_wait_budget <= 1:
            raise ValueError(f"data_wait_budget needs a share of the time in [0, 1], got {self.data_wait_budget}; 1 turns it off")
        if self.clip_grad is not None:
            _above("clip_grad", self.clip_grad)
        for name in ("hang_s", "stop_within_s"):
            if getattr(self, name) is not None:
                _above(name, getattr(self, name))
        for name in ("steps", "torch_threads"):
            if getattr(self, name) is not None:
                _at_least(name, getattr(self, name), 1)
        for name, data in (("data", self.data), ("knn.data", self.knn.data), ("knn.test_data", self.knn.test_data)):
            if not _is_data(data) and not (data is None and name != "data"):
                raise ValueError(f"{name} needs a path, a pattern or a list of them, got {data!r}")


def describe(config: Any) -> list[tuple[str, str, str]]:
    """(key, default, meaning) of every key below a config class, or below one whose values are the defaults; default "" where
    the method's published value stands."""
    rows, types = [], get_type_hints(config if isinstance(config, type) else type(config))
    for f in fields(config):
        default = f.default if isinstance(config, type) else getattr(config, f.name)
        if is_dataclass(types[f.name]):
            part = types[f.name] if default is MISSING else default
            rows += [(f"{f.name}.{name}", value, meaning) for name, value, meaning in describe(part)]
        else:
            rows.append((f.name, "" if default is MISSING else shown(default), f.metadata.get("meaning", "")))
    return rows


def shown(value: Any) -> str:
    """A value as it is typed after key=."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(list(value)) if isinstance(value, tuple) else str(value)
