"""`viewmill eval pseudo_labels ENCODER data=...`: each picture's cluster by an encoder's features, for others to learn.

Source: Noroozi et al. 2018, arXiv:1805.00385, section 4: clustered once, not in turns with training. No code was published; 2,000
clusters are a re-implementation's.
"""

# ruff: noqa: RUF009 (key() gives a dataclass field)
from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..models.kmeans import euclidean_kmeans
from ..models.layers import maps
from ..models.training import process
from ..models.training.config import describe, key
from ..models.training.manual import rows
from ..models.training.overrides import filled, plain, split
from ..models.training.step import autocast_for
from ..pipelines.source import open_source
from .encoder import Encoder
from .features import Features, extract
from .layers import reduced
from .opening import open_encoder
from .pictures import Pictures


@dataclass(frozen=True)
class ClusterConfig:
    data: Any = key("the pictures that the next network will train on, labelled or not: tar shards, a folder, addresses")
    out: str = key("the table that is written: NumPy's int64 (images,), a cluster for each, -1 for those that cannot be read",
                   "clusters.npy")
    clusters: int = key("how many, k", 2000)
    iterations: int = key("of k-means", 20)
    layer: str | None = key("whose map is clustered, as eval layers names them, for example conv4; null: the encoder's features",
                            None)
    pool: Literal["max", "average"] = key("how a map is reduced", "max")
    values: int = key("to about so many values", 9000)
    seed: int = key("of the pictures at which k-means begins", 0)
    backbone: str | None = key("the network that a file of weights belongs to", None)
    weights_key: str | None = key("which network of a file that holds several, for example teacher", None)
    image_px: int | None = key("side of the pictures; null: as the encoder was trained, 224 for a file of weights", None)
    pretrained: bool = key("of a name of timm's: its published weights; false: untrained", True)
    device: Literal["auto", "cpu", "cuda"] = key("auto: cuda where there is one", "auto")
    precision: Literal["auto", "fp32", "bf16"] = key("auto: bf16 autocast on CUDA, fp32 elsewhere", "auto")
    threads: int | None = key("threads that render pictures, of each rank; null: a share of its cores", None)
    torch_threads: int | None = key("threads of torch on the CPU; null: the cores that rendering leaves", None)

    def __post_init__(self) -> None:
        for name, least in (("clusters", 2), ("iterations", 1), ("values", 1), ("seed", 0), ("image_px", 1), ("threads", 1),
                            ("torch_threads", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} needs a whole number of at least {least}, got {value}")
        if not self.out.endswith(".npy"):
            raise ValueError(f"out={self.out}: the table is a file of NumPy's; give out=NAME.npy")


def main(words: Sequence[str]) -> int:
    """Run `viewmill eval pseudo_labels WORDS` and print what came of it; under torchrun every rank calls it and makes its share
    of the features, rank 0 clusters and writes. Raises ValueError, one line."""
    names = [word for word in words if "=" not in word]
    if len(names) != 1:
        raise ValueError("viewmill eval pseudo_labels needs one encoder, a run's folder, a checkpoint, a file of weights or a "
                         f"name of timm's, got {len(names)}: {' '.join(names) or 'none'}")
    pairs = [split(word) for word in words if "=" in word]
    config = filled(ClusterConfig(data="unset"), pairs)
    if "data" not in (name for name, _ in pairs):
        raise ValueError("viewmill eval pseudo_labels needs pictures: data=PATTERN, for example data='train-{0000..0009}.tar', "
                         "or a folder")
    out = Path(config.out)
    if not out.resolve().parent.is_dir():  # now, and not after all features are made
        raise ValueError(f"out={out}: there is no folder {out.resolve().parent}")
    world = process.start(config.device)
    try:
        on_cuda = world.device.type == "cuda"
        torch_threads, threads = process.split_cores(process.cores(), world.local_size, on_cuda, config.torch_threads,
                                                     config.threads)
        torch.set_num_threads(torch_threads)
        encoder = open_encoder(names[0], backbone=config.backbone, pretrained=config.pretrained, weights_key=config.weights_key,
                               image_px=config.image_px).to(world.device)
        pictures = Pictures(open_source(config.data), None, f"data={config.data}", threads, unlabelled=True)
        seen = seen_by(encoder, config)
        features = extract(encoder, pictures, world.device, see=seen, autocast=autocast_for(config.precision, world.device))
        if world.rank == 0:
            table, facts = clustered(features, len(pictures.source), config, world.device)
            facts |= {"encoder": encoder.name, "fingerprint": encoder.fingerprint, "data": pictures.source.fingerprint,
                      "config": plain(config), "viewmill": __version__}
            save(out, table, facts)
            print(f"encoder    {encoder.name}\n"
                  f"clustered  {len(features):,} of {len(table):,} pictures, {features.x.shape[1]:,} values each\n"
                  f"clusters   {config.clusters:,}, of {facts['smallest']:,} to {facts['largest']:,} pictures, "
                  f"{facts['empty']:,} empty\ntable      {out}\n"
                  f"to go on   viewmill train pseudo_labels data={config.data} model.labels={out} "
                  f"model.clusters={config.clusters}", flush=True)
    finally:
        process.leave(world)
    return 0


def seen_by(encoder: Encoder, config: ClusterConfig) -> Callable[[Tensor], Tensor] | None:
    """From pictures (N, C, H, W) to what is clustered, (N, D); None: the encoder itself. Raises ValueError for an unknown
    layer."""
    layer = config.layer
    if layer is None:
        return None
    with torch.no_grad():
        channels, side = encoder.view.instances[0].channels, encoder.image_px
        device = next(encoder.parameters()).device
        known = list(maps(encoder.module, torch.zeros(1, channels, side, side, device=device)))
    if layer not in known:
        raise ValueError(f"layer={layer}: {encoder.name} has {', '.join(known)}")
    return lambda images: reduced(maps(encoder.module, images)[layer], config.pool, config.values)


def clustered(features: Features, images: int, config: ClusterConfig, device: torch.device) -> tuple[np.ndarray, dict[str, Any]]:
    """(images,) int64, -1 for pictures that features leave out; and "smallest", "largest" (pictures of a cluster that has some),
    "empty". Raises ValueError where there are fewer pictures than clusters."""
    if len(features) < config.clusters:
        raise ValueError(f"clusters={config.clusters} needs as many pictures, {len(features)} can be read; use fewer")
    first = torch.randperm(len(features), generator=torch.Generator().manual_seed(config.seed))[: config.clusters]
    x = features.x.to(device)
    _, group = euclidean_kmeans(x, x[first.to(device)], iterations=config.iterations)
    table = np.full(images, -1, np.int64)
    table[features.index.numpy()] = group.cpu().numpy()
    sizes = np.bincount(table[table >= 0], minlength=config.clusters)
    return table, {"smallest": int(sizes[sizes > 0].min()), "largest": int(sizes.max()), "empty": int((sizes == 0).sum())}


def save(out: Path, table: np.ndarray, facts: dict[str, Any]) -> None:
    """out, and beside it out.json with what it was made of; each written whole or not at all."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    with open(temporary, "wb") as file:
        np.save(file, table, allow_pickle=False)
    os.replace(temporary, out)
    temporary.write_text(json.dumps(facts, indent=1) + "\n")
    os.replace(temporary, out.with_name(f"{out.name}.json"))


def manual() -> str:
    return "\n".join([HEAD, *rows(describe(ClusterConfig))])


HEAD = """Usage: viewmill eval pseudo_labels ENCODER data=... out=clusters.npy [KEY=VALUE]...

Group all pictures by an encoder's features (k-means, Euclidean), and write each one's cluster: labels for another network.
ENCODER: the folder of a run, a checkpoint of it, a file of weights (with backbone=), or a name of timm's. Several processes:
torchrun --nproc-per-node N -m viewmill.cli eval pseudo_labels ...

  viewmill eval pseudo_labels runs/jigsaw_plus data='cifar10/train-*.tar' clusters=100 out=clusters.npy
  viewmill train pseudo_labels data='cifar10/train-*.tar' recipe=pseudo_labels_cifar model.labels=clusters.npy model.clusters=100
"""
