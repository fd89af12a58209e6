"""torchvision's transforms, v1 and v2, and lightly's of the same make, as ops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ..op import Op, UnsupportedRecipe
from ..ops import (
    Autocontrast,
    Blur,
    CenterCrop,
    Crop,
    Equalize,
    Erase,
    Flip,
    Grayscale,
    Jitter,
    Normalize,
    Posterize,
    RandomCrop,
    Resize,
    Sharpness,
    Solarize,
)
from . import lightly

FILTERS = ("bilinear", "bicubic", "lanczos")
NOTHING = ("ToImage", "PILToTensor", "ToPureTensor", "ToPILImage", "Identity", "RGB", "SanitizeBoundingBoxes")
"""Change the container, not the picture."""
AS_FLOATS = ("flip", "erase", "normalize")
"""What means the same on floats as on levels."""


@dataclass
class Equals:
    """given: for classes, what one of their objects is as an op."""

    given: dict[type, Callable[[Any], Op]] = field(default_factory=dict)


def ops_of(transform: Any, equals: Equals) -> tuple[Op, ...]:
    """The ops of one view, a normalization last. Raises UnsupportedRecipe, naming the transform."""
    ops: list[Op] = []
    normalize: Normalize | None = None
    floats = False
    for step in _flat(transform):
        if _turns_to_floats(step):
            floats = True
            continue
        for op in _ops(step, equals, normalize, floats):
            if (floats or normalize) and op.type not in AS_FLOATS:
                raise _refused(step, "has no equal on floats: put it before the conversion, where it works on levels")
            if normalize and isinstance(op, Normalize):
                raise _refused(step, "is the second normalization, and a view has one")
            if isinstance(op, Normalize):
                normalize = op
            else:
                ops.append(op)
    if not ops:
        raise ValueError(f"import_recipe: {_told(transform)} makes no view: it has no op")
    return (*ops, normalize or Normalize(kind="none"))


def library_of(transform: Any) -> str:
    return type(transform).__module__.partition(".")[0]


def _flat(transform: Any) -> list[Any]:
    """The steps of nested Compose, and of views that hold one."""
    kind = type(transform).__name__
    if kind in ("Compose", "Sequential"):
        steps = transform.transforms if kind == "Compose" else list(transform)
        return [inner for step in steps for inner in _flat(step)]
    if library_of(transform) == "lightly" and type(getattr(transform, "transform", None)).__name__ == "Compose":
        return _flat(transform.transform)
    return [transform]


def _turns_to_floats(step: Any) -> bool:
    if type(step).__name__ in ("ToTensor", "ConvertImageDtype"):
        return "uint8" not in str(getattr(step, "dtype", ""))
    if type(step).__name__ != "ToDtype" or "float" not in str(step.dtype):
        return False
    if not step.scale:
        raise _refused(step, "with scale=False leaves levels up to 255: give scale=True")
    return True


def _ops(step: Any, equals: Equals, normalize: Normalize | None, floats: bool) -> list[Op]:
    """Of one step: one op, or none where it never acts."""
    kind = type(step).__name__
    given = equals.given.get(type(step))
    if given is not None:
        return [given(step)]
    if kind == "RandomApply":
        inner = [op for each in step.transforms for op in _ops(each, equals, normalize, floats)]
        if len(inner) > 1:
            raise _refused(step, f"tosses one coin for {', '.join(op.type for op in inner)}, and here each op has its own: "
                                 "give each a RandomApply")
        if inner and not hasattr(inner[0], "p"):
            raise _refused(step, f"tosses a coin for {inner[0].type}, which always acts here")
        return [_with_chance(op, float(step.p)) for op in inner if step.p]
    if kind in NOTHING or getattr(step, "p", None) == 0:
        return []
    own = library_of(step)
    if own == "lightly":
        op = lightly.op_of(step)
    elif own != "torchvision":
        op = None
    elif kind == "RandomErasing":
        op = _erase(step, normalize, floats)
    else:
        op = _CLASSES[kind](step) if kind in _CLASSES else None
    if op is None:
        raise _refused(step, "has no equal here: leave it out, or say what it is by equals={" + kind + ": lambda step: OP}")
    return [] if getattr(op, "p", None) == 0 else [op]


def _with_chance(op: Op, p: float) -> Op:
    own = getattr(op, "p", None)
    return replace(op, p=p if own in (None, 1.0) else p * float(own))  # type: ignore[call-arg]


def _crop(step: Any) -> Op:
    name, antialias = _filter(step)
    scale, ratio = (tuple(map(float, each)) for each in (step.scale, step.ratio))
    return Crop(size_px=_side(step.size), scale=scale, ratio=ratio, filter=name, antialias=antialias,  # type: ignore[arg-type]
                cubic_a=-0.5 if name == "bicubic" else None)


def _filter(step: Any) -> tuple[str, bool]:
    name = str(getattr(step.interpolation, "value", step.interpolation))
    if name not in FILTERS:
        raise _refused(step, f"with the filter {name} has no equal: give one of {', '.join(FILTERS)}")
    if getattr(step, "antialias", True) is False:
        raise _refused(step, "with antialias=False has no equal: Pillow always smooths; give antialias=True")
    return name, True


def _jitter(step: Any) -> Op:
    strengths: dict[str, Any] = {}
    for name, one in (("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0.0)):
        low, high = (one, one) if getattr(step, name) is None else map(float, getattr(step, name))
        strength = round(high - one, 12)
        least = max(0.0, one - strength) if one else -strength
        if strength < 0 or abs(low - least) > 1e-9:
            raise _refused(step, f"with {name} from {low:g} to {high:g} has no equal: a strength is the same both ways")
        strengths["hue_turns" if name == "hue" else name] = strength
    return Jitter(p=1.0, **strengths)


def _blur(step: Any) -> Op:
    taps = {int(each) for each in _pair(step.kernel_size)}
    if len(taps) > 1:
        raise _refused(step, f"with a kernel of {tuple(step.kernel_size)} has no equal: give one odd side")
    low, high = map(float, _pair(step.sigma))
    return Blur(p=1.0, kind="gaussian", taps=taps.pop(), sigma_px=(low, high), border="reflect")


def _resize(step: Any) -> Op:
    if getattr(step, "max_size", None) is not None:
        raise _refused(step, "with max_size has no equal")
    name, antialias = _filter(step)
    sides = list(step.size) if isinstance(step.size, list | tuple) else [step.size]
    if len(sides) > 1 and sides[0] != sides[1]:
        raise _refused(step, f"to {tuple(sides)} has no equal: give one side")
    return Resize(mode="short-side" if len(sides) == 1 else "exact", side_px=int(sides[0]), filter=name, antialias=antialias,
                  cubic_a=-0.5 if name == "bicubic" else None)


def _random_crop(step: Any) -> Op:
    pads = {0} if step.padding is None else set(step.padding if isinstance(step.padding, list | tuple) else [step.padding])
    fill = step.fill if not isinstance(step.fill, dict) else any(step.fill.values())
    if len(pads) > 1 or step.pad_if_needed or fill not in (0, None, False) or step.padding_mode != "constant":
        raise _refused(step, "with other padding than zeros, as many on each side, has no equal")
    return RandomCrop(size_px=_side(step.size), pad_px=int(pads.pop()))


def _grayscale(step: Any) -> Op:
    if step.num_output_channels != 3:
        raise _refused(step, f"to {step.num_output_channels} channel has no equal: give num_output_channels=3")
    return Grayscale(p=1.0)


def _erase(step: Any, normalize: Normalize | None, floats: bool) -> Op:
    value = step.value
    value = [value] if isinstance(value, int | float) else value
    if isinstance(value, str) or value is None:
        raise _refused(step, "with random values has no equal: its noise is of another spread; give value=0")
    if not (floats or normalize):
        raise _refused(step, "works on tensors of floats: put it after ToTensor")
    values = [float(each) for each in value] * (3 if len(value) == 1 else 1)
    mean, std = ((normalize.mean or (0.0,) * 3), (normalize.std or (1.0,) * 3)) if normalize else ((0.0,) * 3, (1.0,) * 3)
    fill = tuple(255 * (v * s + m) for v, s, m in zip(values, std, mean, strict=True))
    return Erase(p=float(step.p), scale=tuple(step.scale), ratio=tuple(step.ratio), value="constant", fill=fill)


def _normalize(step: Any) -> Op:
    return Normalize(kind="mean-std", mean=tuple(map(float, step.mean)), std=tuple(map(float, step.std)), space="unit")


_CLASSES: dict[str, Callable[[Any], Op]] = {
    "RandomResizedCrop": _crop,
    "RandomHorizontalFlip": lambda step: Flip(p=float(step.p)),
    "ColorJitter": _jitter,
    "RandomGrayscale": lambda step: Grayscale(p=float(step.p)),
    "Grayscale": _grayscale,
    "GaussianBlur": _blur,
    "RandomSolarize": lambda step: Solarize(p=float(step.p), threshold=float(step.threshold)),
    "Resize": _resize,
    "CenterCrop": lambda step: CenterCrop(size_px=_side(step.size)),
    "RandomCrop": _random_crop,
    "RandomEqualize": lambda step: Equalize(p=float(step.p)),
    "RandomAutocontrast": lambda step: Autocontrast(p=float(step.p)),
    "RandomPosterize": lambda step: Posterize(p=float(step.p), bits=int(step.bits)),
    "RandomAdjustSharpness": lambda step: Sharpness(p=float(step.p), factor=(float(step.sharpness_factor),) * 2),
    "Normalize": _normalize,
}


def _pair(value: Any) -> tuple[Any, Any]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    return values[0], values[-1]


def _side(size: Any) -> int | tuple[int, int]:
    height, width = map(int, _pair(size))
    return height if height == width else (height, width)


def _refused(step: Any, why: str) -> UnsupportedRecipe:
    return UnsupportedRecipe(f"import_recipe: {_told(step)} {why}")


def _told(step: Any) -> str:
    return f"{library_of(step)}'s {type(step).__name__}"
