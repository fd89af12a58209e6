"""What SimCLR compares: features, or a projection of them, linear or not: Chen et al. 2020, figure 8 (arXiv:2002.05709)."""

from __future__ import annotations

from . import Study

STUDY = Study(
    question="Should views be compared by the features themselves, a linear projection, or one with a hidden layer?",
    runs=tuple((name, "simclr", (f"model.projector_layers={layers}",)) for name, layers in
               (("no-head", 0), ("linear", 1), ("mlp", 2), ("mlp-of-3", 3))),
)
