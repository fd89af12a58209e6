"""Each op as a step of the compiled call: a row of whole numbers, a row of constants, and where its parameters come from."""

from __future__ import annotations

from ....augment.masks import CenterHole, Mask, MissingTile, NoiseField
from ....augment.ops import (
    Autocontrast,
    Blur,
    CenterCrop,
    Clip,
    ColourDrop,
    ColourMode,
    ColourShift,
    Crop,
    Cutout,
    Downscale,
    Equalize,
    Erase,
    Flip,
    Grayscale,
    Jitter,
    LabSplit,
    Noise,
    Normalize,
    Occlude,
    Op,
    Pair,
    Palette,
    Permute,
    Photometric,
    Posterize,
    RandomCrop,
    Resize,
    Rotate,
    Sharpness,
    Shrink,
    Sobel,
    Solarize,
    Subsample,
    Tiles,
    ValueJitter,
    Warp,
)
from ....augment.ops.photometric import TONES
from ....augment.recipe import Instance
from ....augment.sharing import Key, key
from . import codes
from .blur import BORDERS
from .taps import FILTERS

GEOMETRY = (codes.CROP, codes.RESIZE, codes.CUT)
COMMUTES_WITH_FLIP = (codes.JITTER, codes.GRAYSCALE, codes.PILLOW_BLUR, codes.GAUSSIAN_BLUR, codes.SOLARIZE, codes.CLIP,
                      codes.SHIFT_VALUES, codes.COLOUR_MODE, codes.POSTERIZE, codes.AUTOCONTRAST, codes.EQUALIZE, codes.SHARPNESS)
UNMOVED = (Mask, Permute, Pair, Palette, Occlude)
"""Ops that touch no pixel: what they say is in the parameters of others, or for the method."""


def _leaves_pixels(op: Op) -> bool:
    return isinstance(op, UNMOVED) and not isinstance(op, CenterHole | NoiseField | MissingTile)


class Builder:
    """Collects steps. keys: of each step; sources: (column, count, view, op, array) of each parameter in a packed row of
    `width`; largest: height and width that any step of a size known beforehand leaves; whole: one may leave all of an image."""

    def __init__(self) -> None:
        self.steps: list[list[int]] = []
        self.constants: list[list[float]] = []
        self.keys: list[Key] = []
        self.sources: list[tuple[int, int, str, Op, str]] = []
        self.width = 0
        self.largest = self.size = (1, 1)
        self.channels = 3
        self.whole = False

    def instance(self, number: int, instance: Instance) -> tuple[int, Op | None]:
        """Append an instance's steps. Returns the parameter that tells when it is cut from the second image, or -1; and the
        first op that has no kernel."""
        begin, other = len(self.steps), -1
        height, width = self.size = instance.size_hw
        self.channels = instance.channels
        self.largest = (max(self.largest[0], height), max(self.largest[1], width))
        ops = instance.ops
        last = next((op for op in reversed(ops) if isinstance(op, Normalize)), None)
        after = ops[ops.index(last) + 1:] if last else ()
        as_it_is = any(isinstance(op, Sobel if last else LabSplit) for op in ops) or not all(map(_leaves_pixels, after))
        if last is None and not as_it_is:
            last = Normalize(kind="none")
            ops = (*ops, last)
        for op in ops:
            if isinstance(op, Occlude):
                other = self.width
                self._take(instance.name, op, "partner")
            known = len(self.steps)
            if isinstance(op, Normalize) and op is last and not as_it_is:
                done = self._store(number, op, instance.channels)
            elif isinstance(op, Normalize):
                done = self._affine(number, op)
            else:
                done = self._op(number, instance.name, op)
            if not done:
                return other, op
            for step in self.steps[known:]:
                alike = None if step[0] == codes.STORE else key(op, instance)
                self.keys.append(("lab",) if step[0] == codes.LAB else alike)
        if as_it_is:
            self._step(codes.STORE, number, (codes.MEAN_STD,), (1.0,) * 3 + (0.0,) * 3)
            self.keys.append(None)
        self._fold_flip(begin)
        return other, None

    def _fold_flip(self, begin: int) -> None:
        """Mirrored taps cost nothing; symmetric blurs and pointwise steps do not notice."""
        rows = self.steps[begin:]
        geometry = [i for i, row in enumerate(rows) if row[0] in GEOMETRY]
        if not geometry:
            return
        for i in range(geometry[-1] + 1, len(rows)):
            if rows[i][0] == codes.FLIP:
                at, flip = begin + geometry[-1], begin + i
                self.steps[at][5] = rows[i][2]
                mine, its = self.keys[at], self.keys[flip]
                self.keys[at] = None if mine is None or its is None else (*mine, *its)
                del self.steps[flip], self.constants[flip], self.keys[flip]
                return
            if rows[i][0] not in COMMUTES_WITH_FLIP:
                return

    def _step(self, code: int, number: int, integers: tuple[int, ...] = (), floats: tuple[float, ...] = ()) -> None:
        """integers: from column 4 on. Geometry: 5 parameter of a flip or -1, 6 and 7 the output's height and width where they
        are known, 8 filter, 9 antialias; floats: the cubic's a."""
        row = [code, number, self.width, 0, *integers]
        self.steps.append(row + [0] * (codes.INTEGERS - len(row)))
        self.constants.append([*floats, *([0.0] * (codes.FLOATS - len(floats)))])

    def _take(self, view: str, op: Op, name: str, count: int = 1) -> None:
        self.sources.append((self.width, count, view, op, name))
        self.width += count

    def _room(self, height: int, width: int) -> tuple[int, int]:
        self.largest = (max(self.largest[0], height), max(self.largest[1], width))
        return height, width

    def _store(self, number: int, op: Normalize, channels: int) -> bool:
        if op.kind in ("tile-mean", "tile-mean-std", "tile-rms"):
            kind = {"tile-mean": codes.TILE_MEAN, "tile-mean-std": codes.TILE_MEAN_STD, "tile-rms": codes.TILE_RMS}[op.kind]
            gain = 1.0 if op.kind == "tile-mean" else op.gain
            assert gain is not None
            self._step(codes.STORE, number, (kind, int(op.channels == "joint")), (gain,))
            return True
        gains, offsets = op.affine(channels)
        room = (0.0,) * (3 - channels)
        self._step(codes.STORE, number, (codes.MEAN_STD,), (*gains, *room, *offsets, *room))
        return True

    def _affine(self, number: int, op: Normalize) -> bool:
        if not op.pixelwise:
            return False
        gains, offsets = op.affine()
        room = (0.0,) * (3 - len(gains))  # of gradients, say
        self._step(codes.AFFINE, number, (), (*gains, *room, *offsets, *room))
        return True

    def _geometry(self, number: int, view: str, op: Op) -> bool:
        match op:
            case Crop():
                assert op.size_px is not None
                if op.filter == "lanczos" and not op.antialias:
                    return False
                height, width = self._room(*((op.size_px, op.size_px) if isinstance(op.size_px, int) else op.size_px))
                self._step(codes.CROP, number, (0, -1, height, width, FILTERS[str(op.filter)], int(bool(op.antialias))),
                           (-0.5 if op.cubic_a is None else op.cubic_a,))
                self._take(view, op, "box", 4)
            case Resize():
                if op.filter == "lanczos" and not op.antialias:
                    return False
                self._step(codes.RESIZE, number, (0, -1, 0, 0, FILTERS[str(op.filter)], int(bool(op.antialias))),
                           (-0.5 if op.cubic_a is None else op.cubic_a,))
                self._take(view, op, "box", 4)
                self._take(view, op, "size", 2)
            case CenterCrop(size_px=None):
                self.whole = True
                self._step(codes.CUT, number, (0, -1, 0, 0))
                self._take(view, op, "box", 4)
            case RandomCrop() | CenterCrop():
                assert op.size_px is not None
                height, width = self._room(*((op.size_px, op.size_px) if isinstance(op.size_px, int) else op.size_px))
                self._step(codes.CUT, number, (0, -1, height, width))
                self._take(view, op, "box", 4)
            case Tiles():
                side, _ = op.output(None, 3)
                assert side is not None
                self._step(codes.CUT, number, (0, -1, *self._room(*side)))
                self._take(view, op, "box", 4)
                if op.layout == "lattice":
                    self._step(codes.BLANK, number)
                    self._take(view, op, "present")
            case _:
                return False
        return True

    def _moving(self, number: int, view: str, op: Op) -> bool:
        match op:
            case Flip():
                self._step(codes.FLIP, number)
                self._take(view, op, "apply")
            case Rotate(kind="exact"):
                self._step(codes.ROTATE, number)
                self._take(view, op, "quarter_turns")
            case Rotate():
                if op.filter != "bilinear":
                    return False
                self._step(codes.TURN, number)
                self._take(view, op, "apply")
                self._take(view, op, "angle_deg")
            case Warp():
                assert op.points is not None
                self._step(codes.WARP, number, (op.points,))
                self._take(view, op, "points", 2 * op.points)
                self._take(view, op, "shift", 2 * op.points)
            case ColourShift():
                assert op.offset_px is not None
                self._step(codes.COLOUR_SHIFT, number, (int(op.offset_px[1]),))
                self._take(view, op, "offset", 6)
            case Subsample():
                assert op.stride is not None
                self._step(codes.SUBSAMPLE, number, (op.stride,))
            case Shrink():
                assert op.restore_px is not None
                self._room(op.restore_px, op.restore_px)
                self._step(codes.SHRINK, number, (op.restore_px, FILTERS[str(op.filter)]))
                self._take(view, op, "apply")
                self._take(view, op, "side_px")
            case Downscale():
                assert op.factor is not None
                drawn = op.filter == "random-choice"
                self._step(codes.DOWNSCALE, number, (op.factor, -1 if drawn else FILTERS[str(op.filter)]))
                if drawn:
                    self._take(view, op, "choice")
            case _:
                return False
        return True

    def _colour(self, number: int, view: str, op: Op) -> bool:
        match op:
            case Jitter():
                self._step(codes.JITTER, number, (
                    int(op.brightness_law == "additive") + 2 * int(op.contrast_pivot == "channel-mean")
                    + 4 * int(op.saturation_law == "hsv-scale") + 8 * int(op.clamp == "each-step"),
                    *(int(s > 0) for s in op.strengths())))
                for name in ("apply", "order", "brightness", "contrast", "saturation", "hue_turns"):
                    self._take(view, op, name, 4 if name == "order" else 1)
            case Grayscale():
                assert op.weights is not None
                self._step(codes.GRAYSCALE, number, (), op.weights)
                self._take(view, op, "apply")
            case Blur():
                if op.kind == "pillow":
                    self._step(codes.PILLOW_BLUR, number)
                    self._take(view, op, "apply")
                    self._take(view, op, "sigma_px")
                else:
                    assert op.taps is not None
                    self._step(codes.GAUSSIAN_BLUR, number, (op.taps, BORDERS[str(op.border)]))
                    self._take(view, op, "apply")
                    self._take(view, op, "sigma_px", op.taps // 2 + 1)
            case Solarize():
                self._step(codes.SOLARIZE, number, (), (op.level,))
                self._take(view, op, "apply")
            case Clip():
                assert op.lo is not None and op.hi is not None
                self._step(codes.CLIP, number, (), (255 * op.lo, 255 * op.hi))
            case ColourMode():
                assert op.gray_weights is not None
                self._step(codes.COLOUR_MODE, number, (), op.gray_weights)
                self._take(view, op, "mode")
            case ColourDrop():
                unit = 255.0 / (op.value_scale or 255.0)
                low, high = op.fill_range or (0.0, 0.0)  # without noise neither need be stated
                self._step(codes.COLOUR_DROP, number, (int(bool(op.subtract_mean)), int(op.fill == "uniform-noise")),
                           (low * unit, high * unit))
                for name, count in (("apply", 1), ("kept", 3), ("seed", 1)):
                    self._take(view, op, name, count)
            case ValueJitter():
                self._step(codes.SHIFT_VALUES, number)
                self._take(view, op, "shift", 3)
            case LabSplit():
                assert op.keep is not None
                kept = tuple("Lab".index(k) for k in op.keep)
                if kept != tuple(sorted(kept)):
                    return False
                self._step(codes.LAB, number)
                self._step(codes.PICK, number, kept + (-1,) * (3 - len(kept)))
            case Sobel():
                assert op.gray_weights is not None
                self._step(codes.SOBEL, number, (), op.gray_weights)
            case Posterize():
                assert op.bits is not None
                self._step(codes.POSTERIZE, number, (op.bits,))
                self._take(view, op, "apply")
            case Sharpness():
                self._step(codes.SHARPNESS, number)
                self._take(view, op, "apply")
                self._take(view, op, "factor")
            case Autocontrast() | Equalize():
                self._step(codes.AUTOCONTRAST if isinstance(op, Autocontrast) else codes.EQUALIZE, number)
                self._take(view, op, "apply")
            case Photometric():
                assert op.choices is not None and op.pick is not None and op.strength is not None
                tones = tuple(TONES.index(choice) for choice in op.choices)
                self._step(codes.PHOTOMETRIC, number, (op.pick, *tones), (op.strength,))
                for name in ("apply", "choice", "level"):
                    self._take(view, op, name, 1 if name == "apply" else op.pick)
            case Noise():
                self._step(codes.NOISE, number)
                for name in ("apply", "std", "seed"):
                    self._take(view, op, name)
            case _:
                return False
        return True

    def _fill(self, number: int, view: str, op: Op) -> bool:
        match op:
            case Cutout():
                assert op.fill is not None
                self._step(codes.ERASE, number, (0,), op.fill)
                self._take(view, op, "apply")
                self._take(view, op, "box", 4)
            case Erase():
                assert op.fill is not None
                noisy = op.value == "noise"
                self._step(codes.ERASE, number, (int(noisy),), op.fill)
                self._take(view, op, "apply")
                self._take(view, op, "box", 4)
                if noisy:
                    self._take(view, op, "seed")
            case CenterHole():
                assert op.hole_px is not None and op.blank_px is not None
                self._step(codes.FILL, number, (op.blank_px,), self._levels(op.fill, op.fill_scale))
            case NoiseField():
                height, width = self.size
                self._step(codes.FILL_MASK, number, (), self._levels(op.fill, op.fill_scale))
                self._take(view, op, "mask", height * width)
            case MissingTile():
                self._step(codes.FILL_MASK, number, (1,), self._levels(op.fill, op.fill_scale))
                self._take(view, op, "missing")
            case _:
                return False
        return True

    def _levels(self, fill: tuple[float, ...] | None, scale: str | None) -> tuple[float, ...]:
        """Of three planes, as masks fill them."""
        assert fill is not None
        white = 1.0 if scale == "uint8" else 100.0 if self.channels == 1 else 255.0
        return tuple(v * white for v in (fill * 3 if len(fill) == 1 else fill + (0.0,) * (3 - len(fill))))

    def _op(self, number: int, view: str, op: Op) -> bool:
        if _leaves_pixels(op):
            return True
        return any(kind(number, view, op) for kind in (self._geometry, self._moving, self._colour, self._fill))

