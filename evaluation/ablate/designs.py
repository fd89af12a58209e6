"""Factors into arms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

from .study import BASE, WITHOUT_ALL, Factor, Level, Study, Trial

Setting = tuple[Factor, Level]


def trials(study: Study) -> tuple[Trial, ...]:
    """The arms of a study, the one that the others are compared with first.

    one-at-a-time: the base run, and each level of each factor alone. pairwise: also each pair of levels of two factors.
    leave-one-out: the base run, each factor's only level alone, which is its absence, and all of them together. full: the
    base run, and every combination of levels, one of each factor.
    """
    if study.listed:
        return study.listed
    base, alone = Trial(BASE, {}, ()), [[(factor, level)] for factor in study.factors for level in factor.levels]
    if study.design == "one-at-a-time":
        return (base, *map(_trial, alone))
    if study.design == "pairwise":
        return (base, *map(_trial, alone), *(_trial(pair) for pair in _pairs(study.factors)))
    if study.design == "leave-one-out":
        everything = [setting for settings in alone for setting in settings]
        changes = tuple(change for _, level in everything for change in level.changes)
        left_out = Trial(WITHOUT_ALL, {factor.name: level.name for factor, level in everything}, changes)
        return (base, *map(_trial, alone), *([left_out] if len(study.factors) > 1 else []))
    choices = [[(factor, level) for level in factor.levels] for factor in study.factors]
    return (base, *(_trial(list(settings)) for settings in product(*choices)))


def _pairs(factors: Sequence[Factor]) -> list[list[Setting]]:
    return [[(first, one), (second, two)] for first, second in combinations(factors, 2)
            for one in first.levels for two in second.levels]


def _trial(settings: Sequence[Setting]) -> Trial:
    return Trial("_".join(title(factor, level) for factor, level in settings),
                 {factor.name: level.name for factor, level in settings},
                 tuple(change for _, level in settings for change in level.changes))


def title(factor: Factor, level: Level) -> str:
    """How an arm calls a level: "temperature-0.1"; by the factor alone where its only level has no other name."""
    return factor.name if len(factor.levels) == 1 and level.name == factor.name else f"{factor.name}-{level.name}"
