"""Which temperature a linear projection wants, and which an MLP: Chen et al. 2020, the tables of section 3 (arXiv:2003.04297)."""

from __future__ import annotations

from . import Study

STUDY = Study(
    question="Which temperature is best with a linear projection, and which with a hidden layer?",
    runs=tuple((f"{name}-{temperature}", "moco", (f"model.projector_layers={layers}", f"model.temperature={temperature}"))
               for name, layers in (("linear", 1), ("mlp", 2)) for temperature in (0.07, 0.1, 0.2, 0.5)),
)
