"""Which arms go on: rules that look at what is there, always from the beginning, so that they say the same after a stop or a
crash.

The resource is seeds: an arm trains whole or not at all, since of most schedules a shorter run is no part of a longer one. The
reference goes on always, as everything is compared with it. Who stops arms by the test pictures chooses by them: of what is left,
the best looks better than it is. `split=dev` chooses on training pictures.

halving: successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943) with eta 2. After 1, 2, 4, ... seeds, of the arms
still going, the reference aside, the better half by mean accuracy over those seeds goes on, rounded up. behind: a race (Maron
and Moore 1994, "Hoeffding races", with the paired bootstrap in place of the bound). From two seeds on, after each, an arm stops
whose paired difference from the best arm has an interval wholly below zero. """

from __future__ import annotations

from .findings import Findings

LEAST_SEEDS = 2
"""Of one seed no interval knows what another would have said."""


def stopped(found: Findings, rule: str, seeds: int) -> dict[str, int]:
    """{arm: after how many seeds it stopped}, by the study's metric. Where an arm still going lacks a cell of earlier seeds,
    nothing is decided from there on. seeds: those that are asked for."""
    if rule == "no":
        return {}
    out: dict[str, int] = {}
    of = found.answers.get(found.metric, {})
    reference = found.plan.reference
    judged = [arm for arm in found.plan.trials if found.plan.runs[arm].method == found.plan.runs[reference].method]
    for done in range(1, seeds):
        going = [arm for arm in judged if arm not in out]
        if any(seed not in of.get(arm, {}) for arm in going for seed in range(done)):
            break
        means = {arm: sum(float(of[arm][seed].mean()) for seed in range(done)) / done for arm in going}
        if rule == "halving" and done & (done - 1) == 0:
            others = sorted((arm for arm in going if arm != reference), key=lambda arm: -means[arm])
            out |= dict.fromkeys(others[-(-len(others) // 2):], done)
        elif rule == "behind" and done >= LEAST_SEEDS:
            best = max(going, key=lambda arm: means[arm])
            for arm in going:
                if arm not in (best, reference) and (effect := _until(found, arm, best, done)) is not None and effect < 0:
                    out[arm] = done
    return out


def _until(found: Findings, arm: str, best: str, seeds: int) -> float | None:
    """The upper end of the interval of arm - best over the first so many seeds."""
    of = found.answers[found.metric]
    answers = {name: {seed: right for seed, right in of[name].items() if seed < seeds} for name in (arm, best)}
    effect = Findings(found.plan, {}, answers={found.metric: answers}).difference(found.metric, arm, best)
    return None if effect is None else effect.difference.high
