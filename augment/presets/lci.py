"""LCI (Jenni, Jin, Favaro 2020, arXiv:2004.02331): untouched, inpainted in part, turned (three ways), or warped?

The inpainter is the method's; what it may have left behind is put into the untouched class too (autoencode)."""

from __future__ import annotations

from ..ops import Autoencode, Flip, Inpaint, Op, RandomCrop, Rotate, Warp
from ..recipe import Recipe, View
from .preset import SIGNED, Preset, short_side


def _recipe(name: str, load_px: int, first_px: int, size_px: int, patch_px: int, hole_px: int) -> Recipe:
    load = short_side(load_px)
    same = (load, RandomCrop(size_px=first_px, scope="image", share="crop"), Flip(p=0.5, scope="image", share="flip"),
            Autoencode(crop_px=patch_px, applies_to="second-half-of-batch", scope="image", share="autoencode"))
    own = (load, RandomCrop(size_px=first_px), Flip(p=0.5))
    inpaint = Inpaint(crop_px=patch_px, hole_px=hole_px, border_px=(patch_px - hole_px) // 2, noise_std=0.1)
    turns = Rotate(kind="exact", angles_deg=(90, 180, 270), pick="enumerate", direction="counter-clockwise")
    # 0.07 pi, for every class, so that resampling tells nothing.
    tilt = Rotate(kind="free", range_deg=(-12.6, 12.6), filter="bilinear", applies_to="first-half-of-batch")

    def view(*ops: Op, labels: tuple[int, ...]) -> View:
        return View(group="class", count=len(labels), labels=labels, size_px=size_px,
                    ops=(*ops, tilt, RandomCrop(size_px=size_px), SIGNED))

    # Half of a batch of 64 is turned, the other autoencoded: a batch sees both.
    return Recipe(name=name, block=64, views=(
        view(*same, labels=(0,)),
        view(*own, inpaint, labels=(1,)),
        view(*same, turns, labels=(2, 3, 4)),
        view(*own, Warp(points=16, shift_fraction=(-0.0625, 0.0625)), labels=(5,)),
    ))


lci_stl10 = _recipe("lci_stl10", 96, 80, 64, 48, 42)
lci = _recipe("lci", 192, 160, 128, 80, 64)
lci_cifar = _recipe("lci_cifar", 40, 36, 32, 24, 20)

_CODE = "sjenni/LCI @ 5313fe9; arXiv 2004.02331"
_DECIDED = "flip 0.5, counter-clockwise, a crop of its own for classes 1 and 5: the source leaves these open"

PRESETS = (
    Preset(lci_stl10, _CODE, "short side, bilinear, antialiased, " + _DECIDED),
    Preset(lci, _CODE, "sizes are not released: twice those of STL-10; " + _DECIDED),
    Preset(lci_cifar, _CODE, "our 32 px form, from 40 px; " + _DECIDED),
)
