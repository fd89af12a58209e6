"""How much MAE should hide: He et al. 2021, figure 5 (arXiv:2111.06377)."""

from __future__ import annotations

from . import Study

STUDY = Study(
    question="Which share of the patches should be hidden from MAE's encoder?",
    runs=tuple((f"hidden-{ratio}", "mae", (f"recipe.global/0.masks.ratio={ratio}", f"recipe.global/0.masks.visible={visible}"))
               for ratio, visible in ((0.25, 48), (0.5, 32), (0.75, 16), (0.9, 6))),  # of 64
)
