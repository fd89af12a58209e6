"""Chance that all ranks share: the same numbers on each, others at every step, the same again after a resume."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class SharedDraws(nn.Module):
    """A stream of generators. Ranks that build it from the same state of torch's own generator, as a run does, share it.

    In a checkpoint it is two numbers: the seed, drawn when it is made, and how many generators were asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        # On the CPU also where a network is built on another device, "meta" for one.
        self.seed, self.count = int(torch.randint(2**62, (), device="cpu")), 0

    def generator(self, device: torch.device) -> torch.Generator:
        """The next one. Its numbers are the same on all devices of one kind."""
        (word,) = np.random.SeedSequence([self.seed, self.count]).generate_state(1, np.uint64)
        self.count += 1
        return torch.Generator(device).manual_seed(int(word) >> 1)

    def get_extra_state(self) -> Tensor:
        return torch.tensor([self.seed, self.count])

    def set_extra_state(self, state: Tensor) -> None:
        self.seed, self.count = state.tolist()
