"""Methods that make the coordinates of embeddings agree between views, and tell different things."""

from __future__ import annotations

from ..info import MethodInfo

REDUNDANCY: tuple[MethodInfo, ...] = ()
