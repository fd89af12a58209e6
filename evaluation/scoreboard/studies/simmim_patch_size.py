"""How large SimMIM's masked cells should be, and how many: Xie et al. 2021, table 1 (arXiv:2111.09886)."""

from __future__ import annotations

from . import Study


def _words(side: int, masked: int, ratio: float) -> tuple[str, ...]:
    """For `masked` of side * side cells of 32 px images. A word is checked as it comes, so at first one cell is masked."""
    fields = (("masked_cells", 1), ("cells", f"[{side},{side}]"), ("masked_cells", masked), ("cell_px", 32 // side),
              ("ratio", ratio))
    return tuple(f"recipe.global/0.masks.{field}={value}" for field, value in fields)


STUDY = Study(
    question="How large should the cells be that SimMIM masks, on patches of 4 px?",
    runs=(("cells-4px-0.6", "simmim", _words(8, 39, 0.6)), ("cells-4px-0.8", "simmim", _words(8, 52, 0.8)),
          ("cells-8px-0.4", "simmim", _words(4, 7, 0.4)), ("cells-8px-0.6", "simmim", _words(4, 10, 0.6)),
          ("cells-16px-0.6", "simmim", _words(2, 3, 0.6))),  # 3 of 4 is 0.75: rounded up, as published
)
