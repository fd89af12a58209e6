"""How many orders a jigsaw puzzle is chosen from: Noroozi, Favaro 2016, table 4 (arXiv:1603.09246)."""

from __future__ import annotations

from . import Study

STUDY = Study(
    question="From how many orders should a jigsaw puzzle be chosen?",
    runs=tuple((f"orders-{size}", "jigsaw", (f"model.permutations={size}", f"recipe.patch.permute.set_size={size}",
                                             "recipe.patch.permute.mean_hamming=null")) for size in (10, 30, 100, 300, 1000)),
)
