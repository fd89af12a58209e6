"""How many images instance discrimination draws as noise: Wu et al. 2018, table 2 (arXiv:1805.01978)."""

from __future__ import annotations

from . import Study

STUDY = Study(
    question="How many images should an image be told from: m of them drawn as noise for an estimate, or all by a softmax?",
    runs=(*((f"m-{m}", "instdisc", ("model.law=nce", f"model.negatives={m}")) for m in (1, 16, 256, 4096)),
          ("all", "instdisc", ("model.negatives=0",))),
)
