"""The blocks that a method's networks are made of: what activations are kept for, what is compiled, what ranks share out."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

STAGES = ("layer1", "layer2", "layer3", "layer4")


def blocks_of(method: nn.Module) -> dict[str, nn.Module]:
    """By name, in order: the members of every `blocks` (timm's transformers and ConvNeXts), and of a ResNet's four layers. What
    lies between them, embeddings and heads above all, is in none."""
    found: dict[str, nn.Module] = {}
    for name, module in method.named_modules():
        rows = [("blocks", getattr(module, "blocks", None))]
        if all(hasattr(module, stage) for stage in STAGES):
            rows += [(stage, getattr(module, stage)) for stage in STAGES]
        for own, members in rows:
            if isinstance(members, nn.Sequential | nn.ModuleList):
                found |= {".".join(filter(None, (name, own, child))): block for child, block in members.named_children()}
    return found


def checkpoint_activations(method: nn.Module) -> int:
    """Has each block that learns keep its input alone, and compute itself once more in the backward pass; how many do.

    Dropout and stochastic depth draw the same again. Names of weights stay. Raises ValueError, one line, where no block learns,
    or one has a batch norm, whose running statistics would take every batch twice.
    """
    learns = {name: block for name, block in blocks_of(method).items() if any(p.requires_grad for p in block.parameters())}
    _refuse_none(method, learns, "activation_checkpointing")
    for name, block in learns.items():
        if any(isinstance(part, _BatchNorm) for part in block.modules()):
            raise ValueError(f"activation_checkpointing=true: {name} has batch norm, whose running statistics would take every "
                             "batch twice; it is for transformers and other networks without; use activation_checkpointing=false")
    for block in learns.values():
        held: Any = block
        held.forward = partial(checkpoint, block.forward, use_reentrant=False)
    return len(learns)


def compile_blocks(method: nn.Module) -> int:
    """Has torch compile each block, students' and teachers' alike, at its first pass; how many it will. Blocks that are built
    alike are compiled once. Names of weights stay. Raises ValueError, one line, where there are none."""
    blocks = blocks_of(method)
    _refuse_none(method, blocks, "compile")
    for block in blocks.values():
        block.compile()
    return len(blocks)


def _refuse_none(method: nn.Module, blocks: dict[str, nn.Module], key: str) -> None:
    if not blocks:
        raise ValueError(f"{key}=true is for networks made of blocks, such as timm's transformers and ResNets, and the networks "
                         f"of this {type(method).__name__} have none that learn; use {key}=false")
