"""What MAE should hide, single patches or whole regions: He et al. 2021, table 1f (arXiv:2111.06377). Its grid is a regular one;
here SimMIM's cells, drawn at random, stand between."""

from __future__ import annotations

from . import Study

STUDY = Study(
    question="Should patches be hidden from MAE one by one, by cells of two by two, or by rectangles?",
    runs=(("patches-0.75", "mae", ()), ("cells-0.75", "mae", ("recipe=mae_cifar_cells",)),
          ("rectangles-0.75", "mae", ("recipe=mae_cifar_blocks",)),
          ("rectangles-0.5", "mae", ("recipe=mae_cifar_blocks", "recipe.global/0.masks.target=32"))),
)
