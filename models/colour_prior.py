"""How often each colour occurs, and what a pixel of a rare one weighs (Zhang, Isola, Efros 2016, arXiv:1603.08511)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..augment.colour.ab_bins import AbBins, class_weights
from ..losses.colours import smoothed
from .distributed import add_up


class ColourPrior(nn.Module):
    """counts (Q,) float64: how many pixels were nearest to each bin, 0 as long as nothing is known; a checkpoint has them, and
    all ranks the same.

    uniform: lambda, the share of the uniform law in the mixture whose inverse a pixel weighs; 1: all weigh the same. sigma: by
    which the counts are smoothed first, Lab units; 0: not at all.
    """

    counts: Tensor

    def __init__(self, bins: AbBins, uniform: float, sigma: float) -> None:
        super().__init__()
        self.bins, self.uniform, self.sigma = bins, uniform, sigma
        self.register_buffer("counts", torch.zeros(len(bins), dtype=torch.float64))

    @torch.no_grad()
    def count(self, ab: Tensor) -> None:
        """Add the pixels of ab (N, 2, H, W), Lab units, of every rank."""
        self.counts += add_up(self.bins.count(ab))

    def read(self, path: str) -> None:
        """Take the counts, or shares, from a NumPy file of Q numbers in the order of the bins. Raises ValueError, one line, where
        it is none."""
        try:
            found = np.load(Path(path), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"model.prior={path} cannot be read ({' '.join(str(error).split())[:120]}); give a .npy file of "
                             f"{len(self.bins)} numbers, or null to count the colours of the training images") from error
        if (not isinstance(found, np.ndarray) or found.shape != self.counts.shape or found.dtype.kind not in "iuf"
                or not np.isfinite(found).all() or found.min() < 0 or found.sum() <= 0):
            kind = f"{found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else "an archive"
            raise ValueError(f"model.prior={path} needs {len(self.bins)} numbers of at least 0, not all 0, in the order of the "
                             f"bins, got {kind}")
        self.counts.copy_(torch.from_numpy(found.astype(np.float64)))

    def weights(self) -> Tensor:
        """(Q,) float32, of mean 1 under the counts; 1 each as long as nothing was counted, which is told without a wait for a
        device."""
        of_bins = class_weights(smoothed(self.counts, self.bins.centres, self.sigma), self.uniform)
        return torch.where(self.counts.sum() > 0, of_bins, 1.0)
