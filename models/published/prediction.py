"""Methods in which one view's embedding predicts the other's, without negatives."""

from __future__ import annotations

from ..info import MethodInfo

PREDICTION: tuple[MethodInfo, ...] = ()
