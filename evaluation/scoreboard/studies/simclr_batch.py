"""Larger batches or more steps for SimCLR: Chen et al. 2020, figure 9 (arXiv:2002.05709)."""

from __future__ import annotations

from . import Study

STUDY = Study(
    question="Are larger batches, with more negatives each and fewer steps an epoch, better? And after more epochs?",
    runs=tuple((f"batch-{size}-epochs-{epochs}", "simclr", (f"batch_size={size}", f"epochs={epochs}"))
               for epochs in (1, 2, 4) for size in (64, 256, 1024)),
)
