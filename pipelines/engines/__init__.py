"""One meaning, several engines: each is imported only when it is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...augment.levels import as_levels, gains, to_bytes
from ...augment.op import nearest
from ...augment.recipe import Recipe

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ...augment.draw import Params

ENGINES = ("auto", "cpu", "torch", "dali")
DTYPES = ("float32", "float16", "bfloat16", "uint8")
"""What views are written in; half types are kept as uint16 bits wherever NumPy holds them. uint8: see `augment.levels`."""


class Engine(Protocol):
    """What every engine has: a name, and a form of the parameters that it reads."""

    name: str

    def pack(self, params: Params) -> Any:
        """N samples' parameters as N rows that this engine reads; once a batch, vectorized."""


class SampleEngine(Engine, Protocol):
    """Renders samples, from any thread, into their rows of a batch that someone else owns."""

    def target(self, out: dict[str, np.ndarray]) -> Any:
        """A batch's arrays as `render_several` takes them fastest; made once a batch. Keep the arrays as well."""

    def render_several(self, images: Sequence[np.ndarray], packed: Any, out: Any, row: int,
                       partners: Sequence[np.ndarray] | None = None) -> None:
        """As `render_into` for n images and their rows of parameters, into rows row..row + n; out may be a target."""

    def render_into(self, image: np.ndarray, packed_row: Any, out: dict[str, np.ndarray], row: int,
                    partner: np.ndarray | None = None) -> None:
        """All views of image (H, W, 3) uint8 into `out[group][:, row]`; out[group] is (V, B, C, H, W), or (V, B, H, W, C) for an
        engine with channels last. partner: the second image, where the recipe takes one. With decode="scaled" the image is
        the scaled one."""


def engine(name: str, recipe: Recipe, dtype: str = "float32", channels_last: bool = False) -> Engine:
    """The engine of that name for one recipe; "auto": dali where there are a GPU and DALI and it can do the recipe, else cpu.
    Imports only that engine. dtype: of `DTYPES`; channels_last: each pixel's channels lie side by side.

    Raises ValueError for an unknown name or dtype, or for DALI that is not there, UnsupportedRecipe (a ValueError) for a
    recipe that it cannot render, or not as uint8.
    """
    check_names(name, dtype)
    if dtype == "uint8":
        gains(recipe)
    if name == "dali":
        return _dali(recipe, dtype, channels_last)
    if name == "auto" and _has_gpu():
        with contextlib.suppress(ValueError):
            return _dali(recipe, dtype, channels_last)
    return sample_engine(name, recipe, dtype, channels_last)


def sample_engine(name: str, recipe: Recipe, dtype: str = "float32", channels_last: bool = False) -> SampleEngine:
    """"torch", or for any other name "cpu". Raises UnsupportedRecipe for a recipe that it cannot render."""
    if name == "torch":
        from .torch import TorchEngine

        return TorchEngine(recipe, dtype, channels_last)
    from .cpu import CpuEngine

    return CpuEngine(recipe, dtype, channels_last)


def _dali(recipe: Recipe, dtype: str, channels_last: bool) -> Engine:
    from .dali import DaliEngine, missing

    if reason := missing():
        raise ValueError(reason)
    return DaliEngine(recipe, dtype, channels_last=channels_last)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def check_names(name: str, dtype: str) -> None:
    if name not in ENGINES:
        raise ValueError(f"there is no engine {name!r}; {nearest(str(name), list(ENGINES))}")
    if dtype not in DTYPES:
        raise ValueError(f"dtype needs one of {', '.join(DTYPES)}, got {dtype!r}; {nearest(str(dtype), list(DTYPES))}")


def render(images: Sequence[Any] | Tensor, recipe: Recipe, params: Mapping[str, Any], engine: str = "cpu", dtype: str = "float32",
           device: torch.device | str | None = None, partners: Sequence[Any] | Tensor | None = None,
           models: Mapping[str, Any] | None = None, channels_last: bool = False,
           scaled: bool = False) -> dict[str, Tensor]:
    """Images and their parameters -> views, {group: (V, N, C, H, W)}. No chance in here: all of it is in params.

    images: N of (H, W, 3) uint8, of any sizes; for the torch engine also one batch on any device, floats too, as
    `augment.render.render` has it, with parameters as drawn or as tensors. engine "auto": torch for tensors on a GPU or where
    device names one, else cpu. device: where the torch engine works; default: where the images are. partners: the second
    images, where the recipe takes them. models: for ops that need a method's, by type; torch only. dtype "uint8": levels, which
    `normalize` makes views of. channels_last: each view has torch's memory format of that name. scaled: of a
    recipe with decode="scaled", whether the images are those of `decode(data, denominator)`, as in training; else they are whole,
    and become means of blocks where `params[""]["decode"]["denominator"]` says so. Errors as `engine`.
    """
    check_names(engine, dtype)
    if dtype == "uint8":
        gains(recipe)
    if engine == "auto":
        engine = "torch" if _elsewhere(images, device) else "cpu"
    if engine == "torch":
        import torch

        from ...augment.render import render as reference

        bytes_ = dtype == "uint8"
        views = reference(images, as_levels(recipe) if bytes_ else recipe, params, device, partners=partners, models=models,
                          scaled=scaled)
        made = {group: to_bytes(each) if bytes_ else each.to(getattr(torch, dtype)) for group, each in views.items()}
        return {group: side_by_side(each) for group, each in made.items()} if channels_last else made
    if engine == "dali" and models is None:
        from . import dali

        if reason := dali.missing():
            raise ValueError(reason)
        return dali.render([np.ascontiguousarray(image) for image in images], recipe, params, dtype, device,
                           channels_last=channels_last)
    if models is not None or _elsewhere(images, device):
        what = "takes no models" if models is not None else f"works on the CPU, not on {device or _first(images).device}"
        raise ValueError(f"engine {engine!r} {what}; try engine='torch'")
    from .cpu import render as fast

    arrays, others = ([np.ascontiguousarray(image) for image in each] for each in (images, () if partners is None else partners))
    found = fast(arrays, recipe, dict(params), dtype, partners=None if partners is None else others, channels_last=channels_last,
                 scaled=scaled)
    return {group: as_tensor(views, dtype, channels_last) for group, views in found.items()}


def _first(images: Any) -> Any:
    return next(iter(images), None) if isinstance(images, list | tuple) else images


def _elsewhere(images: Any, device: Any) -> bool:
    """Whether the work is to be done on something else than the CPU."""
    where = getattr(_first(images), "device", "cpu") if device is None else device
    return str(where).partition(":")[0] != "cpu"


def as_tensor(array: np.ndarray, dtype: str, channels_last: bool = False) -> Tensor:
    """The same memory as a tensor, which holds on to this array; the bits of half types, int16 or uint16, get their type
    back. Of uint16 the tensor holds the memory only: NumPy lets a view forget the array between. channels_last: the array is
    (V, N, H, W, C), the tensor (V, N, C, H, W)."""
    import torch

    if dtype in ("float32", "uint8"):
        tensor = torch.from_numpy(array)
    else:
        bits = array if array.dtype == np.int16 else array.view(np.int16)
        tensor = torch.from_numpy(bits).view(getattr(torch, dtype))
    return tensor.movedim(-1, 2) if channels_last else tensor


def side_by_side(views: Tensor) -> Tensor:
    """(V, N, C, H, W) with each view's channels last in memory."""
    return views.movedim(2, -1).contiguous().movedim(-1, 2)
