"""Methods that guess what was done to an image: its turn, the order or place of its parts, its colours."""

from __future__ import annotations

from ..info import MethodInfo

CONTEXTUAL: tuple[MethodInfo, ...] = ()
