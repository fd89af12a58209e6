"""From a study to the arms of a table: each a run that can be made, no two the same, and refused before any is."""


from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from ...augment.op import UnsupportedRecipe
from ...augment.recipe import Recipe
from ...models import build
from ...models.training.config import RunConfig, key
from ...models.training.overrides import filled, plain, split
from ...models.training.schedule import plan
from ...models.training.step import image_side
from ..scoreboard.cells import Read
from ..scoreboard.settings import Arm, Settings, config_of, small
from .designs import title, trials
from .reading import text
from .shaping import kept, with_shape
from .study import BASE, Changes, Study, Trial


@dataclass(frozen=True)
class AblateConfig:
    """What a study is told beside how its arms are judged."""

    budget_minutes: float | None = key("no cell is begun that, taking as long as those before, would exceed so many minutes of "
                                       "making in all; null: none is left out", None)
    stop: Literal["no", "halving", "behind"] = key(
        "of hopeless arms; halving: after seeds 1, 2, 4, ... only the better half goes on; behind: an arm goes on no longer once "
        "it is below the best one by an interval, from two seeds on", "no")
    part: str | None = key("I/N: make every N-th cell alone, the I-th to begin with, 0 to N - 1, and write no results", None)
    slurm: str | None = key("FILE.sh: write a script of a SLURM array that makes the study, and make nothing", None)
    tasks: int = key("of that array", 8)
    check: bool = key("say what the study is and make nothing", False)
    samples: int = key("pictures whose views the report shows of each arm", 2)

    def __post_init__(self) -> None:
        if self.budget_minutes is not None and not self.budget_minutes > 0:
            raise ValueError(f"budget_minutes needs a number above 0, got {self.budget_minutes}")
        for name in ("tasks", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} needs a whole number of at least 1, got {getattr(self, name)}")
        if self.slurm is not None and not self.slurm.endswith(".sh"):
            raise ValueError(f"slurm={self.slurm}: a script of a shell, let its name end in .sh")
        if self.part is not None:
            number, _, count = self.part.partition("/")
            if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
                raise ValueError(f"part needs I/N with I from 0 to N - 1, like 0/4, got {self.part!r}")
            if self.stop != "no" or self.budget_minutes is not None:
                raise ValueError("stop and budget_minutes look at all cells, of which part= makes some; leave one of them out")

    def has(self, number: int) -> bool:
        """Whether the cell of that number, from 0, is of this part."""
        if self.part is None:
            return True
        own, _, count = self.part.partition("/")
        return number % int(count) == int(own)


@dataclass(frozen=True)
class Plan:
    """settings: as of any table, an arm for each trial. trials: by arm; reference: the arm that the others are compared with.
    recipes: of each arm, and runs: its configuration."""

    study: Study
    own: AblateConfig
    settings: Settings
    trials: dict[str, Trial]
    reference: str
    runs: dict[str, RunConfig]
    recipes: dict[str, Recipe]

    @property
    def factors(self) -> list[str]:
        """Names of what the arms' levels are of."""
        return [factor.name for factor in self.study.factors] or ["arm"]

    def level(self, arm: str, factor: str) -> str:
        """An arm's level of a factor: where it sets none, that of the reference, or "base"."""
        base = self.trials[self.reference].levels.get(factor, BASE)
        return self.trials[arm].levels.get(factor, base)


def planned(study: Study, words: Sequence[str], read_run: Read, typed: Sequence[str] = ()) -> Plan:
    """The plan of a study with the words of its command, KEY=VALUE each, train.KEY=VALUE for all trainings. Recipes that have no
    name are written to out/recipes. Raises ValueError, one line, for whatever is wrong with any arm."""
    known = {f.name for f in fields(AblateConfig)}
    mine, for_all, judging = [], [], []
    for word in (*study.settings, *words):
        name, value = split(word)
        if name.startswith("train."):
            for_all.append(f"{name.removeprefix('train.')}={value}")
        elif name in known:
            mine.append((name, value))
        else:
            judging.append(word)
    given = {word.partition("=")[0] for word in judging}
    judging = [*([] if "protocols" in given else ["protocols=[knn,linear]"]),
               *([] if "out" in given else [f"out=runs/{study.name}"]), *judging]
    own: AblateConfig = filled(AblateConfig(), mine)
    config = config_of(judging, ["train.KEY", *known])
    made, runs, recipes = _arms(study, for_all, read_run, Path(config.out) / "recipes")
    first: dict[str, str] = {}
    arms = tuple(Arm(trial.name, runs[trial.name].method, words, first.setdefault(runs[trial.name].method, trial.name))
                 for trial, words in made)
    settings = Settings(config, arms, tuple(judging), tuple(typed), title=study.question)
    by_name = {trial.name: trial for trial, _ in made}
    return Plan(study, own, settings, by_name, made[0][0].name, runs, recipes)


def fit(plan_: Plan, images: int) -> None:
    """Raise ValueError, one line, where an arm cannot be trained on so many images: a batch that they do not fill, a network that
    cannot be built. Each network is built once."""
    built = set()
    for name, run in plan_.runs.items():
        try:
            plan(run, images)
            network = json.dumps([run.method, plain(run.model), image_side(plan_.recipes[name])])
            if network not in built:
                build(run.method, run.model, image_px=image_side(plan_.recipes[name]), images=images)
            built.add(network)
        except ValueError as error:
            raise ValueError(f"arm {name}: {error}") from error


_Made = list[tuple[Trial, tuple[str, ...]]]


def _arms(study: Study, for_all: Sequence[str], read_run: Read, folder: Path
          ) -> tuple[_Made, dict[str, RunConfig], dict[str, Recipe]]:
    """Trials with their words, the reference first; of levels that are the base run's own value no arm is made twice."""
    def words_of(trial: Trial) -> tuple[str, ...]:
        method = trial.method or study.method
        begin = list(small(method)) if study.small else []
        if study.recipe is not None:
            begin.append(f"recipe={kept(Recipe.from_dict(dict(study.recipe)), folder)}")
        changes = with_shape((*study.base, *trial.changes), begin, folder, f"{study.name}, {trial.name}")
        return (*begin, *_typed(changes), *for_all)

    known_runs: dict[str, tuple[tuple[str, ...], RunConfig, Recipe, str]] = {}

    def resolved(trial: Trial) -> tuple[tuple[str, ...], RunConfig, Recipe, str]:
        """Words, run, recipe, and what tells two runs apart; of the same changes once, as a level alone may be an arm too."""
        asked = json.dumps([trial.name, trial.method, trial.changes])
        if asked not in known_runs:
            known_runs[asked] = read_of(trial)
        return known_runs[asked]

    def read_of(trial: Trial) -> tuple[tuple[str, ...], RunConfig, Recipe, str]:
        try:
            words = words_of(trial)
            run, recipe = read_run((trial.method or study.method, "data=unset", *words, "seed=0"))
            recipe.groups  # noqa: B018 (what it leaves open is said now)
        except (ValueError, UnsupportedRecipe) as error:
            raise ValueError(f"arm {trial.name}: {error}") from error
        known = {name: value for name, value in plain(run).items() if name not in ("data", "out", "recipe")}
        return words, run, recipe, json.dumps(_same_numbers([known, recipe.to_dict() | {"name": ""}]), sort_keys=True)

    of_base = resolved(Trial(BASE, {}, ()))[3]
    same = {(factor.name, level.name) for factor in study.factors for level in factor.levels
            if resolved(Trial(title(factor, level), {}, level.changes))[3] == of_base}
    merged: dict[frozenset[tuple[str, str]], Trial] = {}
    for trial in trials(study):
        sets = frozenset(trial.levels.items()) - same
        before = merged.get(sets)
        merged[sets] = trial if before is None else replace(before, levels={**trial.levels, **before.levels})
    made: _Made = []
    runs: dict[str, RunConfig] = {}
    recipes: dict[str, Recipe] = {}
    seen: dict[str, str] = {}
    for trial in merged.values():
        words, run, recipe, identity = resolved(trial)
        if identity in seen:
            raise ValueError(f"arms {seen[identity]} and {trial.name} are the same run; leave one of them out")
        if trial.name in runs:
            raise ValueError(f"two arms would be called {trial.name}; give a factor another name")
        seen[identity], runs[trial.name], recipes[trial.name] = trial.name, run, recipe
        made.append((trial, words))
    if len(made) < 2:
        raise ValueError("all levels are the base run's own values; a study needs at least two arms")
    return made, runs, recipes


def _same_numbers(said: Any) -> Any:
    """With whole numbers as floats, since p=0 and p=0.0 are one setting."""
    if isinstance(said, dict):
        return {name: _same_numbers(value) for name, value in said.items()}
    if isinstance(said, list):
        return [_same_numbers(value) for value in said]
    return float(said) if isinstance(said, int) and not isinstance(said, bool) else said


def _typed(changes: Changes) -> tuple[str, ...]:
    return tuple(f"{name}={text(value)}" for name, value in changes)
