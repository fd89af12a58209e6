"""What a method refuses of its own fields, in one line each, as `model.NAME`. A field of None is left to its default."""

from __future__ import annotations

from typing import Any


def whole(config: Any, *names: str, least: int = 1) -> None:
    """Raise ValueError where one of these fields is less than `least`."""
    for name, value in _given(config, names):
        if value < least:
            raise ValueError(f"model.{name} needs a whole number of at least {least}, got {value}")


def above_zero(config: Any, *names: str) -> None:
    for name, value in _given(config, names):
        if not value > 0:
            raise ValueError(f"model.{name} needs a number above 0, got {value}")


def not_negative(config: Any, *names: str) -> None:
    for name, value in _given(config, names):
        if not value >= 0:
            raise ValueError(f"model.{name} needs a number of at least 0, got {value}")


def from_0_to_1(config: Any, *names: str) -> None:
    for name, value in _given(config, names):
        if not 0 <= value <= 1:
            raise ValueError(f"model.{name} needs a number in [0, 1], got {value}")


def _given(config: Any, names: tuple[str, ...]) -> list[tuple[str, Any]]:
    return [(name, value) for name in names if (value := getattr(config, name)) is not None]
