"""Methods in which a student follows a teacher that is made of it."""

from __future__ import annotations

from ..info import MethodInfo

DISTILLATION: tuple[MethodInfo, ...] = ()
