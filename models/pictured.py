"""Methods that can show what they make of an image, and what they are shown for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

from ..augment.op import Op
from ..augment.pixels import as_levels_of_rgb, before_normalization
from ..augment.recipe import Recipe
from .views import Views

if TYPE_CHECKING:
    from ..augment.render import Model


@runtime_checkable
class Pictured(Protocol):
    """A method that paints. A run writes its pictures of a few images, the same ones at every time; `viewmill preview` too."""

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """Columns of pictures by title, from left to right: of each of the batch's B images one, (B, 3, H, W) in [0, 1]; what
        lies outside is clamped. Columns may differ in size.

        Asked in evaluation mode, without a gradient, of one rank alone, so that nothing may be gathered; what is drawn at random
        is the same each time, and missing from no one's stream.
        """


@dataclass(frozen=True)
class Shown:
    """A batch of a recipe's views, and what their values mean, which a method need not know to learn. It is `Views` itself."""

    batch: Views
    recipe: Recipe

    @property
    def views(self) -> dict[str, Tensor]:
        return self.batch.views

    @property
    def index(self) -> Tensor:
        return self.batch.index

    def masks(self, group: str, attention: Tensor | None = None) -> Tensor:
        return self.batch.masks(group, attention)

    def drawn(self, group: str, name: str) -> Tensor:
        return self.batch.drawn(group, name)

    def finished(self, group: str, models: Mapping[str, Model] | None = None) -> Tensor:
        return self.batch.finished(group, models)

    def left(self, group: str) -> list[tuple[Op, dict[str, Tensor]] | None]:
        return self.batch.left(group)

    def view_labels(self, group: str) -> tuple[int, ...]:
        return self.batch.view_labels(group)

    def rgb(self, group: str, values: Tensor) -> Tensor:
        """values (..., C, H, W) as the views of a group have them, for example what was painted in their place, to pictures
        (..., 3, H, W) in [0, 1]; how, of views of other than red, green and blue: `augment.pixels`."""
        return (as_levels_of_rgb(values.float(), self._ops(group)) / 255).clamp(0, 1).float()

    def plain(self, group: str, values: Tensor) -> Tensor:
        """values (..., C, H, W) as the views of a group have them, to what they were before normalization: levels 0..255, or L,
        a and b in Lab's units."""
        return before_normalization(values.float(), self._ops(group)).float()

    def _ops(self, group: str) -> tuple[Op, ...]:
        return next(instance.ops for instance in self.recipe.instances if instance.group == group)
