"""A study is data: a base run, factors with their levels, and the design that makes arms of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Design = Literal["one-at-a-time", "pairwise", "leave-one-out", "full"]
Changes = tuple[tuple[str, Any], ...]
"""(key, value) as `viewmill train` has them, in order; and the keys of `shaping`, which no single field can say."""

BASE, WITHOUT_ALL = "base", "without-all"
"""Names of arms: the base run, and of leave-one-out the one where everything is left out."""


@dataclass(frozen=True)
class Level:
    """One setting of a factor. name: as arms and tables call it."""

    name: str
    changes: Changes


@dataclass(frozen=True)
class Factor:
    """What is varied: at least one level, each another setting than the base run's, or the base run's own."""

    name: str
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Trial:
    """An arm as a study means it, before it is a run. levels: of each factor that it sets, the level's name; where it sets
    none, the base run's value stands. changes: over the base run. method: None for the study's."""

    name: str
    levels: Mapping[str, str]
    changes: Changes
    method: str | None = None


@dataclass(frozen=True)
class Study:
    """question: what is asked, in a sentence or two. source: where the experiment comes from, or "". small: whether the base run
    begins with the method's small run, or with its published numbers. base: changes over that. factors and design make the arms;
    or `listed` has them, the first of which the others are compared with. settings: of how arms are judged, in words."""

    name: str
    question: str
    method: str
    base: Changes = ()
    small: bool = True
    source: str = ""
    factors: tuple[Factor, ...] = ()
    design: Design = "one-at-a-time"
    listed: tuple[Trial, ...] = ()
    settings: tuple[str, ...] = ()
    recipe: Mapping[str, Any] | None = field(default=None, repr=False)
