"""Vectors to their nearest entry of a codebook that follows them (van den Oord et al. 2017, arXiv:1711.00937, appendix A.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .distributed import Kept, add_up, gather, rank, world_size

EPS = 1e-5
"""Of the counts, so that an entry that nothing falls to keeps a finite mean."""


class VectorQuantizer(Kept):
    """weight (K, D): each entry is the moving mean of the vectors that were nearest to it, on all ranks together. In the first
    training step the entries are vectors of that step, taken evenly: those that begin far away would never be used.

    decay: of the moving means, in [0, 1). restart: an entry whose moving count of vectors is below it, after a step, begins anew
    at one of that step's vectors, drawn by torch's own generator (Dhariwal et al. 2020, arXiv:2005.00341, section 3.1); 0: none
    does, and those that nothing falls to stay where they are. Its buffers are the same on all ranks without help.
    """

    sizes: Tensor
    sums: Tensor
    begun: Tensor

    def __init__(self, entries: int, dim: int, decay: float, restart: float = 0.0) -> None:
        super().__init__()
        self.decay, self.restart, self._started = decay, restart, False
        self.weight = nn.Parameter(torch.randn(entries, dim), requires_grad=False)
        self.register_buffer("sizes", torch.ones(entries))
        self.register_buffer("sums", self.weight.detach().clone())
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z (N, D, h, w) to the entries in their place (N, D, h, w), with z's gradient straight through; their numbers (N, h, w)
        int64; and the mean squared distance of z to them, whose gradient moves z alone. In train mode the codebook follows."""
        z = z.to(torch.promote_types(z.dtype, torch.float32))
        rows = z.movedim(1, -1).flatten(0, 2)
        if self.training:
            self._begin(rows.detach())
        codes = self.closeness(rows.detach()).argmax(1)
        entries = F.embedding(codes, self.weight).to(z.dtype)
        if self.training:
            self._follow(rows.detach(), codes)
        commitment = (rows - entries).square().mean()
        n, _, height, width = z.shape
        through = rows + (entries - rows).detach()
        return through.reshape(n, height, width, -1).movedim(-1, 1), codes.reshape(n, height, width), commitment

    def closeness(self, z: Tensor) -> Tensor:
        """z (..., D) to (..., K): minus the squared distance to each entry, but for what is the same for all of them."""
        weight = self.weight.to(z.dtype)
        return 2 * z @ weight.T - weight.square().sum(1)

    @torch.no_grad()
    def _begin(self, rows: Tensor) -> None:
        if self._started or bool(self.begun):  # asked of the device once
            self._started = True
            return
        every, _ = gather(rows)
        count = len(self.weight)
        chosen = every[torch.arange(count, device=every.device) * len(every) // count].to(self.weight.dtype)
        self.weight.copy_(chosen)
        self.sums.copy_(chosen)
        self.begun.fill_(True)

    @torch.no_grad()
    def _follow(self, rows: Tensor, codes: Tensor) -> None:
        counts = add_up(torch.bincount(codes, minlength=len(self.weight)).to(self.sizes.dtype))
        sums = add_up(torch.zeros_like(self.sums).index_add_(0, codes, rows.to(self.sums.dtype)))
        self.sizes.mul_(self.decay).add_(counts, alpha=1 - self.decay)
        self.sums.mul_(self.decay).add_(sums, alpha=1 - self.decay)
        total = self.sizes.sum()
        smoothed = (self.sizes + EPS) / (total + len(self.sizes) * EPS) * total
        self.weight.copy_(self.sums / smoothed[:, None])
        if self.restart:
            self._begin_unused_anew(rows)

    def _begin_unused_anew(self, rows: Tensor) -> None:
        # Of every entry, since which ones are unused is not known here without a wait for the device; ranks take turns.
        drawn = torch.zeros_like(self.weight)
        own = torch.arange(rank(), len(drawn), world_size(), device=rows.device)
        drawn[own] = rows[torch.randint(len(rows), (len(own),), device=rows.device)].to(drawn.dtype)
        unused = self.sizes < self.restart
        drawn = torch.where(unused[:, None], add_up(drawn), self.weight)
        self.weight.copy_(drawn)
        self.sizes.clamp_(min=self.restart)
        self.sums.copy_(torch.where(unused[:, None], drawn * self.restart, self.sums))
