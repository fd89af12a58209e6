"""Several images in one call: for small ones, calling and taking the interpreter's lock again would cost more than rendering."""

from __future__ import annotations

from typing import Any

from numba import carray, types
from numba.extending import intrinsic

from .cache import entry
from .kernel import render_image


@intrinsic
def _pointer_uint8(context: Any, address: Any) -> Any:
    return types.CPointer(types.uint8)(address), lambda c, b, s, a: b.inttoptr(a[0], c.get_value_type(s.return_type))


@entry
def render_images(images: Any, partners: Any, steps: Any, constants: Any, instances: Any, params: Any, bases: Any, batch: int,
                  row: int, dtype: int, channels_last: bool, tables: Any, columns: Any, columns_b: Any, bytes_a: Any,
                  bytes_b: Any, stage: Any, base: Any, first: Any, count: Any, weights: Any, floats: Any, line: Any,
                  weights_of_blur: Any, levels: Any, pixels: Any, spare: Any) -> None:
    """images, partners (n, 3) int64: address, height and width of each image (H, W, 3) uint8; params (n, P): their packed rows;
    they go into the rows of the batch from `row` on. The rest as `kernel.render_image` has it."""
    for i in range(images.shape[0]):
        image = carray(_pointer_uint8(images[i, 0]), (images[i, 1], images[i, 2], 3))
        partner = carray(_pointer_uint8(partners[i, 0]), (partners[i, 1], partners[i, 2], 3))
        render_image(image, partner, steps, constants, instances, params[i], bases, batch, row + i, dtype, channels_last,
                     tables, columns, columns_b, bytes_a, bytes_b, stage, base, first, count, weights, floats, line,
                     weights_of_blur, levels, pixels, spare)
