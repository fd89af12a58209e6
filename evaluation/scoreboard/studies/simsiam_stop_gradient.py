"""What keeps SimSiam from collapse: Chen, He 2020, figure 2 and table 1 (arXiv:2011.10566)."""

from __future__ import annotations

from . import Study

STUDY = Study(
    question="What does SimSiam learn with its stopped gradient and its predictor, and what without either?",
    runs=(("with-both", "simsiam", ()), ("no-stop-gradient", "simsiam", ("model.stop_gradient=false",)),
          ("no-predictor", "simsiam", ("model.predictor=false",))),
)
