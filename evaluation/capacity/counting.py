"""What one step of one GPU takes: a forward and a backward pass of the method itself, on shapes alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ...augment.draw import draw
from ...augment.handover import Handover
from ...augment.recipe import Recipe
from ...models import build
from ...models.method import Method
from ...models.rows import ShardedRows
from ...models.training.blocks import blocks_of, checkpoint_activations
from ...models.training.config import RunConfig
from ...models.training.sharding import refuse_unsharded
from ...models.training.step import image_side, refuse_parts
from ...models.views import left_to
from ...pipelines.batch import Batch
from .shapes import META, Autocast, Shapes

TYPICAL_HW = (375, 500)
"""Height and width of ImageNet's most frequent size, for which views are drawn."""

LOWER = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Counted:
    """Of one pass of so many images on one GPU.

    trained, following, buffers, rows: numbers of the whole method that learn, that do not, that are no parameters, and of those
    that ranks share out, for each image of the data. biggest: parameters of the largest block; outside: those in none. flops:
    forward and backward, a multiplication and an addition are two; forward_flops: the first of them. saved: bytes that autograd
    keeps for the backward pass, without weights; copies: of weights in half precision; views: of the batch. ops: as they came,
    (flops, bytes read and written, whether a convolution).
    """

    images: int
    trained: int
    following: int
    buffers: int
    rows: int
    biggest: int
    outside: int
    flops: int
    forward_flops: int
    saved: int
    copies: int
    views: int
    ops: tuple[tuple[int, int, bool], ...] = field(repr=False)


def count(config: RunConfig, recipe: Recipe, images: int, data_images: int, precision: str, fused: bool = True) -> Counted:
    """Of so many images in one pass. data_images: of the data set, for methods that keep something of each. precision: "fp32",
    "bf16" or "fp16". fused: see `Autocast`. A method that works on all ranks' images at once is counted with one rank's.

    Raises ValueError, one line, where the method cannot be built or trained so.
    """
    fields = config.model
    if getattr(fields, "shuffle", False):  # among ranks, of which there is one here; it moves images alone
        fields = replace(fields, shuffle=False)
    with META:
        method = build(config.method, fields, image_px=image_side(recipe), images=data_images)
    _make_ready(method)
    refuse_parts(method, config, images * config.accumulate)
    if config.parallel == "fsdp":
        refuse_unsharded(method, config)
    cast = Autocast(LOWER.get(precision), fused)
    if config.activation_checkpointing:
        for block in blocks_of(method).values():
            setattr(block, "forward", cast.around(block.forward))  # noqa: B010
        checkpoint_activations(method)
    method.train()
    batch = views_of(recipe, images, data_images, left_to(method))
    found: list[tuple[int, int, bool]] = []
    kept: dict[int, Tensor] = {}
    own = {each.untyped_storage()._cdata for each in [*method.parameters(), *method.buffers()]}

    def keep(value: Tensor) -> Tensor:
        if value.device == META and value.untyped_storage()._cdata not in own:
            kept[value.untyped_storage()._cdata] = value  # held, so that no other storage gets its number
        return value

    def op(name: str, flops: int, moved: int) -> None:
        found.append((flops, moved, "convolution" in name))

    with Shapes(op):
        method.before_step(config.epochs // 2 + 0.5)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value), cast:
            loss = method(batch)["loss"]
        forward_flops = sum(flops for flops, _, _ in found)
        loss.backward()
    copies = {each.untyped_storage()._cdata: each for _, each in cast.copies.values()}
    blocks = blocks_of(method)
    inside = {p for block in blocks.values() for p in block.parameters()}
    rows = sum(b.numel() for part in method.modules() if isinstance(part, ShardedRows) for b in part.buffers(recurse=False))
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    return Counted(
        images, trained, sum(p.numel() for p in method.parameters()) - trained, sum(b.numel() for b in method.buffers()) - rows,
        rows, max((sum(p.numel() for p in block.parameters()) for block in blocks.values()), default=0),
        sum(p.numel() for p in method.parameters() if p not in inside), sum(flops for flops, _, _ in found), forward_flops,
        sum(value.untyped_storage().nbytes() for key, value in kept.items() if key not in copies),
        sum(each.untyped_storage().nbytes() for each in copies.values()),
        sum(value.numel() * value.element_size() for value in batch.views.values()), tuple(found))


def views_of(recipe: Recipe, images: int, data_images: int, left: tuple[str, ...]) -> Batch:
    """A batch of which parameters are drawn as for a run, and views have shapes alone."""
    index = np.arange(images, dtype=np.int64) % data_images
    size_hw = np.tile(np.array(TYPICAL_HW), (images, 1))
    partner = {"partner_size_hw": size_hw} if recipe.takes_partner else {}
    params = draw(recipe, 0, 0, index, size_hw, position=np.arange(images, dtype=np.int64), length=max(data_images, images),
                  **partner)
    views = {name: torch.empty((g.count, images, g.channels, g.height, g.width), device=META)
             for name, g in recipe.groups.items()}
    places = torch.arange(images)
    return _Batch(views, params, torch.full((images,), -1), [""] * images, torch.from_numpy(index), places,
                 torch.zeros(images, dtype=torch.bool), 0, handover=Handover(recipe, left))


class _Batch(Batch):
    def masks(self, group: str, attention: Tensor | None = None) -> Tensor:
        """Where a teacher's attention has a say, one that is the same everywhere: how many are hidden stays."""
        return super().masks(group, None if attention is None else torch.ones(attention.shape))


def _make_ready(method: Method) -> None:
    """Whole-number buffers, such as places in a queue, lie on the CPU, and begin at 0; nobody looks at pixels before a first
    step."""
    for part in method.modules():
        for name, value in part.named_buffers(recurse=False):
            if value.device == META and not value.is_floating_point():
                setattr(part, name, torch.zeros(value.shape, dtype=value.dtype))
    for looked in ("_looked", "fits"):
        if getattr(method, looked, None) is False:
            setattr(method, looked, True)
