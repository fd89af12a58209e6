"""How slowly MoCo's key encoder should follow: He et al. 2019, the table of momentum in section 4.1 (arXiv:1911.05722)."""

from __future__ import annotations

from . import Study

STUDY = Study(
    question="How slowly should the encoder of MoCo's keys follow that of its queries?",
    runs=tuple((f"momentum-{momentum}", "moco", (f"model.momentum={momentum}",)) for momentum in (0, 0.9, 0.99, 0.999, 0.9999)),
)
