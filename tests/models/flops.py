"""What a network computes for one image, counted, and by the formula of transformers: shared by the tests of masked methods."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def counted(method: nn.Module, run: Callable[[], Any]) -> float:
    """Multiply-adds of run() in thousand millions, of matrix products and convolutions alone. The method may be on the meta
    device, where nothing is computed; its attention is written out, since torch counts none of its fused forms there."""
    for part in method.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = False
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops() / 2e9


def transformer(tokens: int, dim: int, depth: int) -> float:
    """The same of blocks with an MLP four times as wide: 12 N D^2 + 2 N^2 D each."""
    return depth * (12 * tokens * dim**2 + 2 * tokens**2 * dim) / 1e9


def linear(tokens: int, *dims: int) -> float:
    """Of linear layers from one width to the next."""
    return sum(tokens * a * b for a, b in pairwise(dims)) / 1e9


def multiply_adds(function: Callable[..., Any], *args: Any) -> int:
    """Of matrix products, convolutions and attention in function(*args). On the device "meta" nothing is really computed."""
    with FlopCounterMode(display=False) as counter:
        function(*args)
    return int(counter.get_total_flops()) // 2
