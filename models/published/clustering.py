"""Methods that group images, and tell the groups of their views."""

from __future__ import annotations

from ..info import MethodInfo

CLUSTERING: tuple[MethodInfo, ...] = ()
