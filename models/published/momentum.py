"""Methods that compare views with keys of an encoder that slowly follows."""

from __future__ import annotations

from ..info import MethodInfo

MOMENTUM: tuple[MethodInfo, ...] = ()
