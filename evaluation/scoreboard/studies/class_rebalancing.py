"""Whether rare colours should weigh more: Zhang et al. 2016, table 1, with and without class rebalancing (arXiv:1603.08511)."""

from __future__ import annotations

from . import Study

STUDY = Study(
    question="Should a pixel of a rare colour weigh more than one of a common colour?",
    runs=tuple((name, "colorization", (f"model.uniform={uniform}",)) for name, uniform in
               (("without", 1.0), ("lambda-0.5", 0.5), ("lambda-0.1", 0.1))),
)
