"""Methods that remember every image of the data set, and tell each from those."""

from __future__ import annotations

from ..info import MethodInfo

MEMORY: tuple[MethodInfo, ...] = ()
