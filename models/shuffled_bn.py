"""Batch norm as several devices have it, each over its own images, and keys shuffled among devices so that it gives nothing away
(MoCo, arXiv:1911.05722, section 3.3)."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .distributed import gather, rank, world_size
from .rank_norm import is_over_ranks


def in_parts(encoder: nn.Module, images: Tensor, parts: int) -> Tensor:
    """encoder(images), with each of `parts` equal parts of the batch, in order, encoded by itself, as that many devices would.

    The running statistics move once, by the mean over parts of what each would make of them: so do the authors' for 32 px
    (facebookresearch/moco, colab/moco_cifar10_demo.ipynb). parts divides the batch.
    """
    if parts == 1:
        encoded: Tensor = encoder(images)
        return encoded
    # (where they are kept, under which name, as they were)
    statistics = [(norm._buffers, name, before) for norm in encoder.modules() if isinstance(norm, _BatchNorm)
                  for name in ("running_mean", "running_var") if (before := norm._buffers.get(name)) is not None]
    outputs: list[Tensor] = []
    moved: list[list[Tensor]] = []
    for part in images.chunk(parts):
        copies = [before.clone() for _, _, before in statistics]  # backward refuses statistics written over since their forward
        for (buffers, name, _), copied in zip(statistics, copies, strict=True):
            buffers[name] = copied
        outputs.append(encoder(part))
        moved.append(copies)
    for (buffers, name, before), of_parts in zip(statistics, zip(*moved, strict=True), strict=True):
        buffers[name] = before.copy_(torch.stack(of_parts).mean(0))
    return torch.cat(outputs)


def dealt(x: Tensor, order: Tensor) -> Tensor:
    """Rows x (B, ...) of every rank, B the same on all, dealt out anew: of all W * B rows, order[i] comes to place i, and each
    rank gets the B places that are its own. order: a permutation of W * B, the same on every rank, on the CPU. No gradient.

    The authors' code gathers all rows on every rank; here only those travel that a rank is to have: 1 / W of it.
    """
    own, ranks = len(x), world_size()
    if ranks == 1:
        return x[order.to(x.device)]
    here = slice(rank() * own, (rank() + 1) * own)
    goes, comes = order.argsort()[here], order[here]  # places of this rank's rows; rows of its places
    to, source = goes // own, comes // own
    received = x.new_empty(x.shape)
    dist.all_to_all_single(received, x[goes.argsort().to(x.device)].contiguous(), source.bincount(minlength=ranks).tolist(),
                           to.bincount(minlength=ranks).tolist())
    # They lie by source, and within a source by place.
    return received[source.argsort(stable=True).argsort().to(x.device)]


def collected(x: Tensor, order: Tensor) -> Tensor:
    """What `dealt` has dealt, of all ranks and in order of rank as before, (W * B, ...) on every rank; `gather`'s gradient."""
    return gather(x)[0][order.argsort().to(x.device)]


def refuse_parts(encoder: nn.Module, images: int, splits: int, shuffle: bool) -> None:
    """Raise ValueError, one line, where a rank's images cannot be normalised in `splits` parts, or keys not be shuffled."""
    norms = [part for part in encoder.modules() if isinstance(part, _BatchNorm)]
    synced = world_size() > 1 and any(map(is_over_ranks, norms))
    if splits > 1 and synced:
        raise ValueError(f"sync_bn=true has batch norm over all ranks, model.bn_splits={splits} over parts of one; leave one out")
    if images % splits:
        raise ValueError(f"model.bn_splits={splits} needs to divide a rank's share of batch_size, {images} images")
    if norms and images == splits and not synced:
        raise ValueError(f"batch norm of a single image is no norm: batch_size={images * world_size()} over {world_size()} "
                         f"rank(s) and model.bn_splits={splits} leaves 1 a part; use batch_size={2 * images * world_size()}")
    if norms and shuffle and splits * world_size() == 1:
        raise ValueError("model.shuffle=true has nobody to shuffle with on one rank and model.bn_splits=1: batch norm would give "
                         "the own key away; use model.bn_splits=8, the authors' number of devices, or model.shuffle=false")
