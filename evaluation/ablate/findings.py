"""What the cells of a study say: accuracies by arm and seed, differences from the reference, effects of factors and of pairs,
each with the interval of a bootstrap paired in seeds and test pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from ...models import method_info
from ..scoreboard.cells import Cell, Made, Store
from ..scoreboard.intervals import Interval, paired
from .planning import Plan
from .study import BASE

Answers = dict[str, dict[int, np.ndarray]]
"""{arm: {seed: (N,) bool over the test pictures}}"""

PROTOCOLS = ("knn", "linear", "finetune", "layers")


@dataclass(frozen=True)
class Effect:
    """A difference of accuracies. of: what of it is, as ("arm", NAME), ("factor", FACTOR, LEVEL) or ("pair", FACTOR, LEVEL,
    FACTOR, LEVEL). accuracy: of the arm, in [0, 1]; of effects None. pairs: of arms that it is the mean of. seeds: that
    count."""

    of: tuple[str, ...]
    protocol: str
    difference: Interval
    seeds: tuple[int, ...]
    accuracy: float | None = None
    pairs: int = 1


@dataclass
class Findings:
    """made: of each arm and seed that is there, its cell. answers: by protocol, of trained networks."""

    plan: Plan
    made: dict[tuple[str, int], Made]
    others: dict[str, Made] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """What the study's method is judged by, named before anything is measured."""
        return method_info(self.plan.study.method).metric

    @property
    def protocols(self) -> list[str]:
        """Those that something was judged by, the metric first."""
        return sorted(self.answers, key=lambda name: (name != self.metric, PROTOCOLS.index(name)))

    def seeds(self, protocol: str, *arms: str) -> tuple[int, ...]:
        """Those that all these arms have answers of, to one number of pictures; with stale cells kept, to the commonest."""
        of = self.answers.get(protocol, {})
        common = sorted(set.intersection(*(set(of.get(arm, {})) for arm in arms)))
        sizes = {seed: {len(of[arm][seed]) for arm in arms} for seed in common}
        most = Counter(size for of_seed in sizes.values() for size in of_seed).most_common(1)
        return tuple(seed for seed in common if sizes[seed] == {most[0][0]})

    def stack(self, protocol: str, arms: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """(seeds, pictures): the mean over arms of whether each picture was answered rightly."""
        mean: np.ndarray = np.mean([[self.answers[protocol][arm][seed] for seed in seeds] for arm in arms], axis=0)
        return mean

    def accuracy(self, protocol: str, arm: str) -> float | None:
        of = self.answers.get(protocol, {}).get(arm)
        return None if not of else float(np.mean([right.mean() for right in of.values()]))

    def difference(self, protocol: str, arm: str, other: str | None = None) -> Effect | None:
        """Of an arm from the reference, or another, over the seeds that both have; None where there is none."""
        other = self.plan.reference if other is None else other
        return self._effect(("arm", arm), protocol, [arm], [other], self.accuracy(protocol, arm))

    def differences(self, protocol: str) -> list[Effect]:
        found = [self.difference(protocol, arm) for arm in self.plan.trials if arm != self.plan.reference]
        return [each for each in found if each is not None]

    def main_effects(self, protocol: str) -> list[Effect]:
        """Of each level against its factor's base level, the mean over all pairs of arms that differ in that alone; of a design
        whose arms change one thing at a time these are the differences themselves, and none are told."""
        if self.plan.study.listed or self.plan.study.design == "one-at-a-time":
            return []
        found = []
        for name, levels in self._levels():
            for level in levels[1:]:
                others = [other for other in self.plan.trials if self.plan.level(other, name) == levels[0]]
                pairs = [(arm, other) for arm in self.plan.trials for other in others
                         if self._settings(arm) == self._settings(other) | {name: level}]
                pairs = [pair for pair in pairs if self.seeds(protocol, *pair)]
                if pairs:
                    effect = self._effect(("factor", name, level), protocol, [a for a, _ in pairs], [b for _, b in pairs])
                    found += [] if effect is None else [effect]
        return found

    def interactions(self, protocol: str) -> list[Effect]:
        """Of each pair of levels: what both do together beyond the sum of what each does alone."""
        arms = {frozenset(self._settings(arm).items()): arm for arm in self.plan.trials}
        base = dict.fromkeys(self.plan.factors, "")
        base |= {name: levels[0] for name, levels in self._levels()}
        found = []
        for (first, ones), (second, twos) in combinations(self._levels(), 2):
            for one in ones[1:]:
                for two in twos[1:]:
                    four = [arms.get(frozenset((base | changed).items())) for changed in (
                        {first: one, second: two}, {}, {first: one}, {second: two})]
                    if all(four):
                        both, none, a, b = (str(arm) for arm in four)
                        effect = self._effect(("pair", first, one, second, two), protocol, [both, none], [a, b], scale=2.0)
                        found += [] if effect is None else [effect]
        return found

    def _levels(self) -> list[tuple[str, list[str]]]:
        """Of each factor, its levels, the base's first; where the base run has none of them, the first is the base."""
        found = []
        for factor in self.plan.study.factors:
            names = [level.name for level in factor.levels]
            base = self.plan.level(self.plan.reference, factor.name)
            full = self.plan.study.design == "full" and base == BASE
            found.append((factor.name, names if full else [base, *(name for name in names if name != base)]))
        return found

    def _settings(self, arm: str) -> dict[str, str]:
        return {factor: self.plan.level(arm, factor) for factor in self.plan.factors}

    def _effect(self, of: tuple[str, ...], protocol: str, arms: Sequence[str], others: Sequence[str],
                accuracy: float | None = None, scale: float = 1.0) -> Effect | None:
        if not all(arm in self.answers.get(protocol, {}) for arm in (*arms, *others)):
            return None
        seeds = self.seeds(protocol, *arms, *others)
        if not seeds:
            return None
        one, two = self.stack(protocol, arms, seeds), self.stack(protocol, others, seeds)
        interval = paired(scale * one, scale * two, resamples=self.plan.settings.config.resamples)
        return Effect(of, protocol, interval, seeds, accuracy, len(arms) if scale == 1.0 else 1)


def findings_of(plan: Plan, cells: Sequence[Cell], store: Store) -> Findings:
    """Of the cells that are there; stale ones only with stale=keep."""
    found = Findings(plan, {})
    counted = ("made", "stale") if plan.settings.config.stale == "keep" else ("made",)
    for cell in cells:
        made = store.load(cell.name) if store.state(cell) in counted else None
        if made is None:
            continue
        if cell.kind != "trained":
            found.others[cell.name] = made
            continue
        arm = arm_of(cell)
        found.made[arm, cell.seed] = made
        for (_, protocol), right in made.correct.items():
            found.answers.setdefault(protocol, {}).setdefault(arm, {})[cell.seed] = right
    return found


def arm_of(cell: Cell) -> str:
    """Whose trained or untrained network it is; "" of the raw pixels."""
    return cell.name.removesuffix(f"-{cell.kind}-{cell.seed}") if cell.kind != "pixels" else ""


def about(made: Made) -> dict[str, Any]:
    """Of a cell, what a table says beside its figures."""
    return {name: made.about.get(name) for name in ("training_s", "making_s", "images_per_s", "data_wait", "pretext", "steps",
                                                    "made", "commit", "viewmill", "torch", "cpu")}
