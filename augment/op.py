"""What every op is: frozen data with stated fields, a draw without pixels, a torch form without chance."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from .chance import Chance

    Images = Tensor | list[Tensor]
    OpParams = dict[str, np.ndarray]


class UnsupportedRecipe(ValueError):
    """This engine cannot draw or render the recipe; the message names the op and what can."""


@dataclass(frozen=True, kw_only=True)
class Op:
    """One step of a view. A field that is None is *not stated*: the recipe can be built, kept and compared, not drawn.

    name: the op's own stream of random numbers within its view; empty: the op's type. Two ops of one type in a view
    need different names, and get `type.2`, `type.3` where none are given.
    """

    type: ClassVar[str]
    optional: ClassVar[frozenset[str]] = frozenset()
    """Fields whose None has a meaning of its own (it is not "not stated")."""
    joins: ClassVar[bool] = False
    """Whether the copies of a view depend on each other by this op: `join` is called once all have been drawn."""
    by_siblings: ClassVar[bool] = False
    """Whether what is drawn for one view depends on how many its group has."""
    takes_partner: ClassVar[bool] = False
    """Whether pixels of a second image come in."""
    needs: ClassVar[str] = ""
    """What only a method can supply ("the method's inpainter"): no engine goes past such an op by itself."""

    name: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):
                value = _tuples(value)
                object.__setattr__(self, field.name, value)
            check: Callable[[Any], bool] | None = field.metadata.get("check")
            if value is not None and check is not None and not check(value):
                raise ValueError(f"{self.type}.{field.name} needs {field.metadata['needs']}, got {value!r}")
        if not self.name:
            object.__setattr__(self, "name", self.type)

    def unstated(self) -> tuple[str, ...]:
        """The fields that must be stated before this op can be drawn."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) is None and f.name not in self.optional)

    def with_fields(self, **changes: Any) -> Self:
        """The same op with other values. Raises ValueError for a name it does not have, naming the nearest."""
        known = [f.name for f in fields(self)]
        for name in changes:
            if name not in known:
                raise ValueError(f"{self.type} has no field {name!r}; {nearest(name, known)}")
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with the key "op"; from_dict takes it back."""
        items = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "name"}
        own_name = {"name": self.name} if self.name != self.type else {}
        return {"op": self.type, **own_name, **{k: _lists(v) for k, v in items.items()}}

    def output(self, size_hw: tuple[int, int] | None, channels: int) -> tuple[tuple[int, int] | None, int]:
        """Height, width and channels after this op; size None where it differs from image to image."""
        return size_hw, channels

    def draw(self, chance: Chance, size_hw: np.ndarray) -> tuple[OpParams, np.ndarray]:
        """Parameters, leading dimension N, and the sizes after the op. size_hw (N, 2): of the op's input."""
        raise UnsupportedRecipe(f"{self.type} can be built and kept, but no engine of this version draws or renders it")

    def join(self, chance: Chance, copies: list[dict[str, OpParams]], earlier: tuple[str, ...],
             partners: list[dict[str, OpParams]]) -> None:
        """Change the drawn parameters of a view's copies, in place. copies[s]: of slot s, by op name; earlier: names of the
        ops before this one; partners[c]: what copy c would be, up to this op, if it were cut from the partner image."""

    def caption(self, params: OpParams, row: int) -> str:
        """What was drawn for one sample, in a few words; empty where nothing acts."""
        return self.type if "apply" in params and params["apply"][row] else ""

    def apply(self, images: Images, params: OpParams) -> Images:
        """images: levels 0..255, float32 (N, C, H, W), or a list of (C, H, W) of different sizes -> the same.

        params: as drawn, NumPy arrays or tensors on any device.
        """
        raise UnsupportedRecipe(f"{self.type} can be built and kept, but no engine of this version draws or renders it")


def nearest(word: str, known: list[str]) -> str:
    """The way out of a misspelt name: the closest known one, else all of them."""
    close = difflib.get_close_matches(word, known, 1, 0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value


def _lists(value: Any) -> Any:
    return [_lists(v) for v in value] if isinstance(value, list | tuple) else value
