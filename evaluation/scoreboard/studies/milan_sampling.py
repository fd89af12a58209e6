"""Whether it matters which patches MILAN's encoder sees: Hou et al. 2022 (arXiv:2208.06049)."""

from __future__ import annotations

from . import Study

STUDY = Study(
    question="What does MILAN learn where the teacher's attention draws the quarter of patches that stays, where chance does, "
             "and where half of them stay?",
    runs=(("attention", "milan", ()), ("random", "milan", ("recipe=mae_cifar",)),
          ("attention-half", "milan", ("recipe.global.masks.visible=32",))),
)
