"""The fast engine: all views of an image in one compiled call, equal to the last bit on any number of threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ....augment.draw import Params
from ....augment.recipe import Recipe
from ....augment.scaled_decode import drawn_denominators, first_resizes, in_scaled_pixels, reduced
from .cache import is_compiled, one_process_at_a_time
from .program import compile_recipe
from .scratch import Scratch
from .several import render_images
from .store import DTYPES

_READY = threading.Event()
_COMPILING = threading.Lock()

__all__ = ["CpuEngine", "is_compiled", "render"]


class Target(NamedTuple):
    """Where a batch is written: bases (groups,) int64, the address of each group's array; batch: its rows."""

    bases: np.ndarray
    batch: int


class CpuEngine:
    """Renders a recipe. dtype: "float32"; "float16" or "bfloat16", which are written as uint16 bits; or "uint8", the levels
    before the recipe's last normalization, rounded half up. channels_last: batches are (V, B, H, W, C).

    Raises UnsupportedRecipe naming the first op that has no kernel. Safe to share between threads.
    """

    name = "cpu"

    def __init__(self, recipe: Recipe, dtype: str = "float32", channels_last: bool = False) -> None:
        self.recipe, self.program, self.dtype, self.channels_last = recipe, compile_recipe(recipe), dtype, channels_last
        self._code = DTYPES[dtype]
        if recipe.decode == "scaled":
            first_resizes(recipe)  # raises
        self._of_thread = threading.local()

    def pack(self, params: Params) -> np.ndarray:
        """(N, P) float64: what `render_into` reads for each sample. Once a batch."""
        return self.program.pack(in_scaled_pixels(self.recipe, params))

    def target(self, out: dict[str, np.ndarray]) -> Target:
        """A batch's arrays, out[group] (V, B, C, H, W), or (V, B, H, W, C) where channels_last, contiguous, in the form that
        rendering writes to fastest: made once a batch. It holds no memory: keep the arrays."""
        arrays = [out[group] for group in self.program.groups]
        return Target(np.array([array.ctypes.data for array in arrays], np.int64), arrays[0].shape[1])

    def render_into(self, image: np.ndarray, packed_row: np.ndarray, out: dict[str, np.ndarray] | Target, row: int,
                    partner: np.ndarray | None = None) -> None:
        """All views of image (H, W, 3) uint8, C-contiguous, into out[group][:, row]; out: a batch's arrays, or their
        target."""
        self.render_several([image], packed_row[None], out, row, None if partner is None else [partner])

    def render_several(self, images: Sequence[np.ndarray], packed: np.ndarray, out: dict[str, np.ndarray] | Target, row: int,
                       partners: Sequence[np.ndarray] | None = None) -> None:
        """As `render_into` for images and packed (n, P), into rows row..row + n of the batch, in one compiled call."""
        program = self.program
        if partners is None and program.takes_partner:
            raise ValueError(f"recipe {self.recipe} takes a second image for each: give render partners")
        target = out if isinstance(out, Target) else self.target(out)
        places = _places(images)
        others = places if partners is None else _places(partners)
        shapes = [image.shape for image in images] + [image.shape for image in partners or ()]
        height, width = max([shape[0] for shape in shapes]), max([shape[1] for shape in shapes])
        tall, wide = program.largest_hw
        if program.whole:
            tall, wide = max(tall, height), max(wide, width)
        for column in program.size_columns:
            tall, wide = max(tall, int(packed[:, column].max())), max(wide, int(packed[:, column + 1].max()))
        if program.turns:
            tall = wide = max(tall, wide)
        try:
            scratch = self._of_thread.scratch
        except AttributeError:
            scratch = self._of_thread.scratch = Scratch(program)
        call = (places, others, program.steps, program.constants, program.instances, packed, target.bases, target.batch, row,
                self._code, self.channels_last, *scratch.of((height, width), (tall, wide)))
        if _READY.is_set():
            render_images(*call)
            return
        with _COMPILING, one_process_at_a_time():
            render_images(*call)
            _READY.set()

    def __getstate__(self) -> dict[str, object]:
        return {"recipe": self.recipe, "dtype": self.dtype, "channels_last": self.channels_last}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _places(images: Sequence[np.ndarray]) -> np.ndarray:
    """(n, 3) int64: address, height and width, as the kernel takes images. Raises ValueError for what it would misread."""
    for image in images:
        if not image.flags.c_contiguous or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"an image is uint8 (H, W, 3), C-contiguous, got {image.dtype} {image.shape}")
    return np.array([(image.__array_interface__["data"][0], *image.shape[:2]) for image in images], np.int64)


def render(images: Sequence[np.ndarray], recipe: Recipe, params: Params, dtype: str = "float32", threads: int = 1,
           partners: Sequence[np.ndarray] | None = None, channels_last: bool = False,
           scaled: bool = False) -> dict[str, np.ndarray]:
    """{group: (V, N, C, H, W)}, or (V, N, H, W, C) where channels_last, of N images (H, W, 3) uint8, and as many second ones.
    Half types come as uint16 bits. scaled: the images are scaled as params say; else they are whole."""
    engine = CpuEngine(recipe, dtype, channels_last)
    for image in (*images, *(partners or ())):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"an image is uint8 (H, W, 3), got {image.dtype} {image.shape}")
    kind = {"float32": np.float32, "uint8": np.uint8}.get(dtype, np.uint16)
    out: dict[str, np.ndarray] = {}
    for name, g in recipe.groups.items():
        shape = (g.height, g.width, g.channels) if channels_last else (g.channels, g.height, g.width)
        out[name] = np.empty((g.count, len(images), *shape), kind)
    packed = engine.pack(params)
    by = None if scaled else drawn_denominators(recipe, params)

    def make(row: int) -> None:
        partner = None if partners is None else np.ascontiguousarray(partners[row])
        image = images[row] if by is None else reduced(images[row], int(by[row]))
        engine.render_into(np.ascontiguousarray(image), packed[row], out, row, partner)

    if threads == 1:
        for row in range(len(images)):
            make(row)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(make, range(len(images))))
    return out
