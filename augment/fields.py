"""Declarations of op fields: a default, the values allowed, and how an error says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


def _field(default: Any, needs: str, check: Callable[[Any], bool]) -> Any:
    return dataclasses.field(default=default, metadata={"needs": needs, "check": check})


def _number(v: Any) -> bool:
    return isinstance(v, int | float) and not isinstance(v, bool)


def _whole(v: Any, least: int) -> bool:
    return isinstance(v, int) and not isinstance(v, bool) and v >= least


def _numbers(v: Any, length: int | None = None) -> bool:
    return isinstance(v, tuple) and len(v) > 0 and all(map(_number, v)) and length in (None, len(v))


def number(default: Any = None, low: float = float("-inf"), high: float = float("inf")) -> Any:
    return _field(default, f"a number from {low} to {high}", lambda v: _number(v) and low <= v <= high)


def probability(default: Any = None) -> Any:
    return _field(default, "0 <= p <= 1 (the chance that it is applied)", lambda v: _number(v) and 0 <= v <= 1)


def fraction(default: Any = None) -> Any:
    return _field(default, "a fraction from 0 to 1", lambda v: _number(v) and 0 <= v <= 1)


def strength(default: Any = None) -> Any:
    return _field(default, "a strength >= 0", lambda v: _number(v) and v >= 0)


def whole(default: Any = None, least: int = 1) -> Any:
    return _field(default, f"a whole number >= {least}", lambda v: _whole(v, least))


def odd(default: Any = None) -> Any:
    return _field(default, "an odd whole number", lambda v: _whole(v, 1) and v % 2 == 1)


def flag(default: Any = None) -> Any:
    return _field(default, "true or false", lambda v: isinstance(v, bool))


def text(default: Any = None) -> Any:
    return _field(default, "a name", lambda v: isinstance(v, str) and v != "")


def one_of(default: Any, *choices: str) -> Any:
    return _field(default, "one of " + ", ".join(choices), lambda v: v in choices)


def scope(default: Any = "sample") -> Any:
    """sample: afresh for each image and copy; image: once an image, for all copies; batch-view: once a view for an
    aligned block of the recipe's `block` positions; batch: once for that block and all views."""
    return one_of(default, "sample", "image", "batch-view", "batch")


def span(default: Any = None, low: float = float("-inf"), high: float = float("inf"), above: bool = False) -> Any:
    """An inclusive range (low, high); above: its low end lies strictly above `low`."""
    bound = f"{low} {'<' if above else '<='} low <= high <= {high}"
    return _field(default, bound, lambda v: _numbers(v, 2) and low <= v[0] <= v[1] <= high and not (above and v[0] == low))


def area(default: Any = None) -> Any:
    return _field(default, "0 < low <= high <= 1 (area fractions)", lambda v: _numbers(v, 2) and 0 < v[0] <= v[1] <= 1)


def ratio(default: Any = None, of: str = "width / height") -> Any:
    return _field(default, f"0 < low <= high ({of})", lambda v: _numbers(v, 2) and 0 < v[0] <= v[1])


def vector(default: Any = None, length: int | None = None) -> Any:
    return _field(default, f"{length or 'some'} numbers", lambda v: _numbers(v, length))


def weights(default: Any = None) -> Any:
    return _field(default, "three weights that add up to 1", lambda v: _numbers(v, 3) and abs(sum(v) - 1) < 2e-3)


def size(default: Any = None) -> Any:
    """Pixels: one side, or (height, width)."""
    return _field(default, "a side >= 1, or (height, width)", is_size)


def grid(default: Any = None) -> Any:
    return _field(default, "(rows, columns), both >= 1", lambda v: isinstance(v, tuple) and is_size(v))


def pairs(default: Any = None) -> Any:
    return _field(default, "pairs of numbers", lambda v: isinstance(v, tuple) and all(_numbers(x, 2) for x in v))


def words(default: Any = None) -> Any:
    return _field(default, "names", lambda v: isinstance(v, tuple) and all(isinstance(x, str) for x in v))


def target(default: Any = None) -> Any:
    return _field(default, "a whole number >= 1, or 'target'", lambda v: v == "target" or _whole(v, 1))


def is_size(v: Any) -> bool:
    return _whole(v, 1) or (isinstance(v, tuple) and len(v) == 2 and all(_whole(x, 1) for x in v))


def pair_of(size_px: int | tuple[int, int]) -> tuple[int, int]:
    """A size as (height, width)."""
    return (size_px, size_px) if isinstance(size_px, int) else size_px
