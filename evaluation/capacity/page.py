"""A plan as a page to read."""

from __future__ import annotations

from textwrap import wrap

from .needs import GIB, Needs

WIDTH = 118


def page(found: Needs) -> str:
    rows = [("run", found.title), ("on", _where(found)), ("weights", _weights(found)), ("time", _time(found)),
            ("loaders", _loaders(found)), ("cores", _cores(found)), ("decoders", _decoders(found)), ("storage", _storage(found)),
            ("exchange", _exchange(found)), ("memory", _memory(found)), ("checkpoint", _checkpoint(found))]
    lines = [line for name, text in rows for line in _row(name, text)]
    width = max(len(name) for name in found.memory)
    table = [f"  {name:<{width}}  {value / GIB:8.2f} GiB" for name, value in found.memory.items()]
    lines += ["", "on each GPU", *table, f"  {'in all':<{width}}  {found.memory_bytes / GIB:8.2f} GiB of {found.memory_gib:g}"]
    lines += ["", "assumed, and from where"]
    for each in found.assumptions:
        lines += wrap(f"{each.what}: {each.value} ({each.source})", WIDTH, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines)


def _row(name: str, text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=f"{name:<11}", subsequent_indent=" " * 11)


def _where(found: Needs) -> str:
    return (f"{found.gpus} {found.gpu} in {_some(found.nodes, 'node')}, {found.precision}, "
            f"{found.batch_size / found.gpus:g} images a step on each, {found.images_a_pass} at once")


def _weights(found: Needs) -> str:
    return (f"{found.weights / 1e6:,.1f} million weights, {found.trained / 1e6:,.1f} million of them learn; "
            f"{found.flops_an_image / 1e9:,.1f} GFLOP an image and step")


def _time(found: Needs) -> str:
    step = f"{found.step_seconds:.2f} s" if found.step_seconds >= 1 else f"{1000 * found.step_seconds:.0f} ms"
    return (f"{found.steps:,} steps of {step}: {_short(found.hours)} hours, {_short(found.gpu_hours)} GPU-hours; "
            f"{found.utilisation:.0%} of the peak is used")


def _loaders(found: Needs) -> str:
    return (f"must give {found.images_per_s:,.0f} images/s in all, {found.images_per_s_gpu:,.0f} to each GPU: "
            f"{found.views_per_s:,.0f} views/s of {found.view_pixels_per_s / 1e6:,.0f} megapixels/s, out of "
            f"{found.decoded_pixels_per_s / 1e6:,.0f} megapixels/s decoded; {found.copied_per_s_gpu / 1e6:,.0f} MB/s onto each "
            f"GPU in float32, a quarter in uint8; {found.host_batches / 1e9:.1f} GB of a node's memory for batches made ahead")


def _cores(found: Needs) -> str:
    need, have = f"{found.cores:,.1f} of a node's {found.node_cores}", found.node_cores / found.cores
    if have >= 1:
        return f"{need} for decoding and rendering by the cpu engine"
    return (f"{need} for decoding and rendering by the cpu engine: too few, they give {have:.0%} of what is needed; let GPUs "
            "decode (loader.engine=dali), take more nodes, or wait")


def _decoders(found: Needs) -> str:
    if found.decoders is None:
        return "this GPU has no JPEG engine"
    a_gpu = found.decoders * found.nodes / found.gpus if found.gpus else 0
    return f"where GPUs decode, their JPEG engines are {a_gpu:.0%} busy, {found.decoders:.2f} GPUs' worth of them in a node"


def _storage(found: Needs) -> str:
    return (f"{found.storage_per_s / 1e6:,.0f} MB/s in all, {found.node_storage_per_s / 1e6:,.0f} MB/s into each node, while "
            f"images are read anew in each epoch; all of the data: {_short(found.data_bytes / 1e9)} GB")


def _exchange(found: Needs) -> str:
    if found.gpus == 1:
        return "one GPU exchanges nothing"
    a_gpu = f"each GPU exchanges {found.exchange / 1e9:.2f} GB a step, {found.exchange / found.step_seconds / 1e9:.2f} GB/s"
    return a_gpu + (f"; between nodes {8 * found.node_exchange_per_s / 1e9:.1f} Gbit/s at each" if found.nodes > 1
                    else ", within the node")


def _memory(found: Needs) -> str:
    used, there = found.memory_bytes / GIB, found.memory_gib
    if used <= there:
        return f"{used:.1f} GiB on each GPU, of {there:g}: fits, gaps of the allocator aside"
    return (f"{used:.1f} GiB on each GPU, of {there:g}: does not fit; activation_checkpointing=true, accumulate=2 where the "
            "method may, parallel=fsdp or more GPUs help")


def _checkpoint(found: Needs) -> str:
    return (f"{found.checkpoint / 1e9:.2f} GB; the {found.kept} that are kept and one that is being written need "
            f"{(found.kept + 1) * found.checkpoint / 1e9:.1f} GB")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _some(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
