"""What each of CAE's two losses is worth: Chen et al. 2022 (arXiv:2202.03026)."""

from __future__ import annotations

from . import Study

STUDY = Study(
    question="What does CAE learn with the alignment of regressed latents at its published weight, a tenth of it, and without?",
    runs=(("weight-2", "cae", ()), ("weight-0.2", "cae", ("model.alignment_weight=0.2",)),
          ("without", "cae", ("model.alignment_weight=0",))),
)
