"""From what a step takes to what a run needs. Pure arithmetic; bytes, seconds, numbers a second unless a name says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ...augment.recipe import Recipe
from ...models.training.config import RunConfig
from ...models.training.schedule import plan
from .counting import Counted
from .gpus import GPU
from .views import Stored, core_seconds, view_count, view_pixels

GIB = 2.0**30
CUDA_BYTES = GIB
"""Of CUDA, its libraries and what they work in, on each GPU; a guess."""

SPREAD = "Published runs that did not set it took 0.8 to 5.3 times as long as such plans say, see docs/scale.md"
"""By all hours and seconds in `published.ROWS`."""

LAUNCH_S = 6e-6
"""Of one op, by the process that starts it on the GPU: a step takes at least so many times that, whatever the GPU; a guess."""

MOMENTS = {"adamw": 2, "adam": 2, "lamb": 2, "sgd": 1, "nesterov": 1, "lars": 1, "larc": 1}
"""Averages that each optimizer keeps, of each number that learns."""


@dataclass(frozen=True)
class Assumption:
    what: str
    value: str
    source: str


@dataclass(frozen=True)
class Needs:
    """title: which run. Rates are of all GPUs together where no name says otherwise. memory: on each GPU, bytes by what they are
    for. cores, decoders: of a node; decoders in GPUs' worth of engines, None where their rate is not known. exchange: of each
    GPU and step. node_*: of each node a second."""

    title: str
    gpu: str
    gpus: int
    nodes: int
    precision: str
    batch_size: int
    images_a_pass: int
    weights: int
    trained: int
    flops_an_image: float
    forward_flops_an_image: float
    utilisation: float
    steps: int
    step_seconds: float
    hours: float
    gpu_hours: float
    images_per_s: float
    images_per_s_gpu: float
    views_per_s: float
    view_pixels_per_s: float
    decoded_pixels_per_s: float
    cores: float
    node_cores: int
    decoders: float | None
    storage_per_s: float
    node_storage_per_s: float
    data_bytes: float
    copied_per_s_gpu: float
    exchange: float
    node_exchange_per_s: float
    host_batches: float
    memory: dict[str, float]
    memory_gib: float
    checkpoint: float
    kept: int
    assumptions: list[Assumption] = field(repr=False)

    @property
    def memory_bytes(self) -> float:
        return sum(self.memory.values())

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"memory_bytes": self.memory_bytes, "fits": self.memory_bytes <= self.memory_gib * GIB,
                               "cores_suffice": self.cores <= self.node_cores}


@dataclass(frozen=True)
class Given:
    """What a plan was told: the GPUs, and what its user knows better than its defaults; None where not."""

    gpu: GPU
    gpus: int
    gpus_per_node: int
    precision: str
    fused: bool
    cores_per_node: int | None = None
    utilisation: float | None = None
    images_per_core: float | None = None

    @property
    def nodes(self) -> int:
        return -(-self.gpus // self.gpus_per_node)


def precision_of(config: RunConfig, gpu: GPU) -> str:
    """"fp32", "bf16" or "fp16": what auto comes to."""
    if config.precision != "auto":
        return config.precision
    return "bf16" if gpu.bf16 else "fp16"


def roofline(ops: Sequence[tuple[int, int, bool]], gpu: GPU, precision: str) -> float:
    """Seconds that ops (flops, bytes read and written, whether a convolution) take at least, one after the other: each as long as
    its products at the GPU's peak, or as its bytes at the memory's bandwidth, whichever is longer."""
    product = {"fp32": gpu.single}.get(precision, gpu.half)
    if precision == "bf16" and not gpu.bf16:
        product = gpu.single
    convolution = max(product, gpu.tf32)  # torch lets convolutions alone round to TensorFloat-32
    return sum(max(flops / (convolution if convolves else product), moved / gpu.bandwidth) for flops, moved, convolves in ops)


def peak(gpu: GPU, precision: str) -> float:
    return gpu.single if precision == "fp32" or (precision == "bf16" and not gpu.bf16) else gpu.half


def memory_of(counted: Counted, config: RunConfig, given: Given) -> dict[str, float]:
    """Bytes on each GPU while a step is at its fullest, where the backward pass begins, by what they are for."""
    several, sharded = given.gpus > 1, config.parallel == "fsdp" and given.gpus > 1
    share = given.gpus if sharded else 1
    found: dict[str, float] = {
        "weights that learn": 4 * counted.trained / share,
        "teachers and other weights": 4 * counted.following / share,
        "gradients": 4 * counted.trained / share,
        f"averages of {config.optimizer.name}": 4 * MOMENTS[config.optimizer.name] * counted.trained / share,
        "buffers, queues and memories": 4 * counted.buffers + 4 * counted.rows / given.gpus,
        "weights in half precision": counted.copies,
        "kept for the backward pass": counted.saved,
        "a batch of views": counted.views,
        "CUDA and its libraries": CUDA_BYTES,
    }
    if several and not sharded:
        found["gradients in buckets, to exchange"] = 4 * counted.trained
    if sharded:  # what is in no block stays whole from the forward pass on; of blocks one is there and the next one comes
        found["whole weights, of blocks and of what is in none"] = 4 * (counted.outside + 3 * counted.biggest)
    return {name: value for name, value in found.items() if value}


def needs(config: RunConfig, recipe: Recipe, given: Given, counted: Counted, stored: Stored) -> Needs:
    """Raises ValueError, one line, where the data do not fill a batch. counted: of one pass of one GPU, of which a step has
    config.accumulate."""
    gpu, n, passes = given.gpu, given.gpus, config.accumulate
    schedule = plan(config, stored.images)
    flops = counted.flops * passes
    sharded = config.parallel == "fsdp" and n > 1
    share = n if sharded else 1
    moments = MOMENTS[config.optimizer.name]
    # Read: weight, gradient, averages; written: weight, averages. A teacher: both read, one written.
    update = 4 * ((3 + 2 * moments) * counted.trained + 3 * counted.following) / share / gpu.bandwidth
    roof = passes * roofline(counted.ops, gpu, given.precision) + update
    launches = passes * len(counted.ops) * LAUNCH_S
    if given.utilisation is None:
        seconds = max(roof / gpu.reach, launches)
        how = Assumption("share of the roofline", f"{gpu.reach:.2f}", f"{gpu.reach_source}. {SPREAD}")
    else:
        seconds = flops / (peak(gpu, given.precision) * given.utilisation)
        how = Assumption("utilisation", f"{given.utilisation:g} of {peak(gpu, given.precision) / 1e12:g} TFLOP/s", "given")
    rate = config.batch_size / seconds
    gpus_a_node = min(n, given.gpus_per_node)
    node_rate = rate * gpus_a_node / n
    core, core_source = core_seconds(recipe, stored.pixels_each)
    if given.images_per_core is not None:
        core, core_source = 1 / given.images_per_core, "given"
    exchange = 0.0
    if n > 1:
        numbers = 3 * counted.trained + counted.following if sharded else 2 * counted.trained
        exchange = 4 * numbers * (n - 1) / n
    ahead = config.loader.prefetch or (1 if counted.views * passes > 256 * 2**20 else 2)
    per_image = counted.images
    node_cores = given.cores_per_node or max(1, gpu.cores * gpus_a_node // 8)
    assumptions = [
        how,
        Assumption("operations of a step", f"{counted.flops / per_image / 1e9:,.1f} GFLOP an image, "
                   f"{counted.forward_flops / per_image / 1e9:,.1f} of them forward",
                   "computed: the method's own forward and backward pass on shapes, by torch's counter; an addition and a "
                   "multiplication are two"),
        Assumption("roofline", f"{roof:.3g} s a step",
                   f"computed: each op by itself, at {peak(gpu, given.precision) / 1e12:g} TFLOP/s ({given.precision}) or "
                   f"{gpu.bandwidth / 1e9:,.0f} GB/s, whichever takes longer; {gpu.source}"),
        Assumption("starting ops", f"{passes * len(counted.ops):,} of {1e6 * LAUNCH_S:g} microseconds, {launches:.3g} s a step",
                   ("assumed, unverified; " + ("the step waits for it: more images on a GPU, or compile=true, help"
                                               if launches > roof / gpu.reach else "less than the GPU takes"))
                   if given.utilisation is None else "not looked at, since utilisation is given"),
        Assumption("attention", "one op" if given.fused else "products and a softmax",
                   "torch's, in half precision without a mask" if given.fused else "given: attention=plain"),
        Assumption("exchange between GPUs", "hidden behind the backward pass",
                   "assumed; bytes are of one ring over all GPUs, 4 a number" if n > 1 else "one GPU: there is none"),
        Assumption("data", f"{stored.images:,} images, {stored.bytes_each / 1e3:,.0f} kB and "
                   f"{stored.pixels_each / 1e6:.2f} megapixels each", stored.source),
        Assumption("views", f"{1 / core:,.0f} images a second from one core", core_source),
        Assumption("cores of a node", f"{node_cores}", "given" if given.cores_per_node else
                   f"{gpu.cores_source}, for 8 GPUs" + ("" if gpus_a_node == 8 else f"; of them {gpus_a_node} eighths")),
        Assumption("JPEG engines", f"{gpu.decode:,.0f} images a second of one GPU's" if gpu.decode else "none",
                   gpu.decode_source),
        Assumption("activations", f"{counted.saved / per_image / 1e6:,.0f} MB an image",
                   "computed: what autograd keeps for the backward pass, on shapes" + (
                       "; one block's come on top while it computes itself anew" if config.activation_checkpointing else "")),
        Assumption("CUDA and its libraries", f"{CUDA_BYTES / GIB:g} GiB",
                   "assumed, unverified; gaps of the allocator come on top"),
    ]
    if config.precision == "auto" and not gpu.bf16:
        assumptions.append(Assumption("precision", "fp16", f"a {gpu.name} has no bf16: give precision=fp16 to the run too"))
    return Needs(
        f"{config.method}, recipe {recipe}, {config.epochs} epochs of {stored.images:,} images in batches of "
        f"{config.batch_size:,}",
        gpu.name, n, given.nodes, given.precision, config.batch_size, per_image, counted.trained + counted.following,
        counted.trained, counted.flops / per_image, counted.forward_flops / per_image,
        flops / (peak(gpu, given.precision) * seconds), schedule.total, seconds, schedule.total * seconds / 3600,
        schedule.total * seconds * n / 3600, rate, rate / n, rate * view_count(recipe), rate * view_pixels(recipe),
        rate * stored.pixels_each, node_rate * core, node_cores, node_rate / gpu.decode if gpu.decode else None,
        rate * stored.bytes_each, node_rate * stored.bytes_each, stored.bytes_each * stored.images,
        counted.views / per_image * rate / n, exchange, exchange / seconds if given.nodes > 1 else 0.0,
        (ahead + 1) * counted.views * passes * gpus_a_node, memory_of(counted, config, given), gpu.memory_gib,
        4.0 * ((1 + moments) * counted.trained + counted.following + counted.buffers + counted.rows), config.checkpoint.keep,
        assumptions)
