"""Split-Brain Autoencoders (Zhang, Isola, Efros 2017, arXiv:1611.09842): lightness and colour, each predicted from the other."""

from __future__ import annotations

from ..ops import LabSplit, Normalize
from ..recipe import Recipe, View
from .colorization import CENTRED_L, window
from .preset import Preset

splitbrain = Recipe(name="splitbrain", views=(
    View(group="luma", size_px=180, ops=(window(180), LabSplit(keep=("L",)), CENTRED_L)),
    View(group="chroma", size_px=180, ops=(
        window(180), LabSplit(keep=("a", "b")),
        Normalize(kind="mean-std", mean=(0.0, 0.0), std=(1.0, 1.0), space="lab"),
    )),
))

PRESETS = (Preset(splitbrain, "richzhang/splitbrainauto @ 79c1349 (weights and deploy files only); arXiv 1611.09842",
                  "as reported, unverified: windows of 180 of 256 px; a and b as they are; no flip"),)
