"""A study's file, each of its keys and types checked before anything is made of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from omegaconf import OmegaConf

from ...augment.op import nearest
from ...augment.recipe import Recipe
from ...models import method_info
from .study import Changes, Design, Factor, Level, Study, Trial

STUDIES = Path(__file__).parent / "studies"
"""Those that come with the package, NAME.yaml each."""

_KEYS = ("question", "source", "method", "small", "base", "recipe", "factors", "design", "arms", "settings")
_NAME = r"[\w.+-]+"


def names() -> list[str]:
    """The studies that come with the package."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def load(asked: str) -> Study:
    """A study by its file, or by the name of one that comes with the package. Raises ValueError, one line: what is wrong, where,
    and the way out."""
    path = Path(asked)
    if path.suffix not in (".yaml", ".yml"):
        if asked not in names():
            raise ValueError(f"unknown study {asked!r}; {nearest(asked, names())}; or give a file, STUDY.yaml")
        path = STUDIES / f"{asked}.yaml"
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: this study cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        said = OmegaConf.to_container(OmegaConf.create(text), resolve=True)
    except Exception as error:  # of the parser, whichever YAML's mistake raises; duplicate keys among them
        raise ValueError(f"{path}: not YAML that makes sense: {' '.join(str(error).split())}") from error
    try:
        return parsed(path.stem, said)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parsed(name: str, said: Any) -> Study:
    """The study that a file's data say. Raises ValueError, one line, without the file's name."""
    if not isinstance(said, Mapping) or not said:
        raise ValueError(f"a study is a mapping of {', '.join(_KEYS)}, got {type(said).__name__}")
    for key in said:
        if key not in _KEYS:
            raise ValueError(f"unknown key {key!r}; {nearest(str(key), list(_KEYS))}")
    question, method = _text(said, "question"), _text(said, "method")
    method_info(method)
    small = said.get("small", True)
    if not isinstance(small, bool):
        raise ValueError("small needs true (begin with the method's small run) or false (with its published numbers), got "
                         f"{small!r}")
    if ("factors" in said) == ("arms" in said):
        raise ValueError("a study needs either factors, whose levels a design puts together, or arms, each by its name")
    if "arms" in said and "design" in said:
        raise ValueError("design is for factors; this study lists its arms")
    design = said.get("design", "one-at-a-time")
    if design not in get_args(Design):
        raise ValueError(f"unknown design {design!r}; {nearest(str(design), list(get_args(Design)))}")
    factors = _factors(said["factors"]) if "factors" in said else ()
    _fits(design, factors)
    return Study(name, question, method, _changes(said.get("base"), "base"), small, _text(said, "source", ""), factors, design,
                 _listed(said["arms"]) if "arms" in said else (), _settings(said.get("settings")), _recipe(said.get("recipe")))


def text(value: Any) -> str:
    """A value as it is typed after key=."""
    return value if isinstance(value, str) else json.dumps(value)


def _fits(design: str, factors: Sequence[Factor]) -> None:
    if design in ("pairwise", "full") and len(factors) == 1:
        raise ValueError(f"design {design} needs at least two factors, got {factors[0].name} alone; use one-at-a-time")
    for factor in factors:
        if design == "leave-one-out" and len(factor.levels) != 1:
            raise ValueError(f"factors.{factor.name}: leave-one-out needs one level a factor, what it is to be left out by, got "
                             f"{len(factor.levels)}; use one-at-a-time")
    keys = Counter(key for factor in factors for key in {key for level in factor.levels for key, _ in level.changes})
    twice = [key for key, count in keys.items() if count > 1]
    if twice and design != "one-at-a-time":
        raise ValueError(f"{twice[0]} is changed by two factors, and an arm of design {design} would have both; make one factor "
                         "of them")


def _factors(said: Any) -> tuple[Factor, ...]:
    if not isinstance(said, Mapping) or not said:
        raise ValueError(f"factors needs at least one, NAME: {{key: KEY, levels: [...]}} or KEY: [...], got {said!r}")
    factors = tuple(_factor(str(name), each) for name, each in said.items())
    for name, count in Counter(factor.name for factor in factors).items():
        if count > 1:
            raise ValueError(f"two factors would be called {name!r}; name them: NAME: {{key: KEY, levels: [...]}}")
    return factors


def _factor(name: str, said: Any) -> Factor:
    """`KEY: [...]`; `NAME: {key: KEY, levels: [...]}`; `NAME: {levels: {NAME: {KEY: value}}}`; or `NAME: {KEY: value}`, whose
    only level is that."""
    where = f"factors.{name}"
    if isinstance(said, list):
        if "." not in name and not re.fullmatch(_NAME, name):
            raise ValueError(f"{where}: a factor's name becomes part of a file's: use letters, digits and . + -")
        return Factor(_short(name), _levels(where, name, said))
    if not isinstance(said, Mapping) or not said:
        raise ValueError(f"{where} needs a list of levels, or key and levels, got {said!r}")
    _file_name(where, name)
    if "levels" not in said:
        if "key" in said:
            raise ValueError(f"{where}: there are no levels; use {{key: {said['key']}, levels: [...]}}")
        return Factor(name, (Level(name, _changes(said, where)),))
    for key in said:
        if key not in ("key", "levels"):
            raise ValueError(f"{where} has key and levels, and no {key!r}")
    levels, key = said["levels"], said.get("key")
    if isinstance(levels, list):
        if not isinstance(key, str) or not key:
            raise ValueError(f"{where}: a list of levels needs key, the key that takes them, got {key!r}")
        return Factor(name, _levels(where, key, levels))
    if key is not None:
        raise ValueError(f"{where}: named levels have keys of their own; leave key={key} out")
    if not isinstance(levels, Mapping) or not levels:
        raise ValueError(f"{where}.levels needs at least one level, got {levels!r}")
    for level in levels:
        _file_name(f"{where}.levels", str(level))
    return Factor(name, tuple(Level(str(level), _changes(changes, f"{where}.levels.{level}"))
                              for level, changes in levels.items()))


def _levels(where: str, key: str, values: list[Any]) -> tuple[Level, ...]:
    if not values:
        raise ValueError(f"{where} needs at least one level, got none")
    for value in values:
        _value(where, value)
    named = [re.sub(r"[^\w.+-]+", "-", text(value)).strip("-") or "empty" for value in values]
    for name, count in Counter(named).items():
        if count > 1:
            raise ValueError(f"{where}: the level {name} is there twice")
    return tuple(Level(name, ((key, value),)) for name, value in zip(named, values, strict=True))


def _listed(said: Any) -> tuple[Trial, ...]:
    if not isinstance(said, Mapping) or len(said) < 2:
        raise ValueError(f"arms needs at least two, NAME: {{KEY: value}}, got {said!r}")
    found = []
    for name, changes in said.items():
        where = f"arms.{name}"
        _file_name("arms", str(name))
        own = _changes(changes, where, also=("method",))
        method = next((value for key, value in own if key == "method"), None)
        if method is not None:
            method_info(str(method))
        found.append(Trial(str(name), {"arm": str(name)}, tuple(each for each in own if each[0] != "method"), method))
    return tuple(found)


def _changes(said: Any, where: str, also: Sequence[str] = ()) -> Changes:
    if said is None:
        return ()
    if not isinstance(said, Mapping):
        raise ValueError(f"{where} needs KEY: value, as `viewmill train` has them, got {said!r}")
    for key, value in said.items():
        if not isinstance(key, str) or key in {"data", "out", "seed", "method", "variant"} - {"variant", *also}:
            raise ValueError(f"{where}: {key} is not a key that a study can set; data=, out= and seeds= are given to the "
                             "command, and arms name their method")
        _value(f"{where}.{key}", value)
    return tuple(said.items())


def _value(where: str, value: Any) -> None:
    if isinstance(value, Mapping):
        raise ValueError(f"{where} needs a value, got a mapping of {', '.join(map(str, value))}; nested keys are written as one, "
                         "like model.temperature")


def _settings(said: Any) -> tuple[str, ...]:
    if said is None:
        return ()
    if not isinstance(said, Mapping):
        raise ValueError(f"settings needs KEY: value, as `viewmill ablate --help` lists them, got {said!r}")
    for key, value in said.items():
        _value(f"settings.{key}", value)
    return tuple(f"{key}={text(value)}" for key, value in said.items())


def _recipe(said: Any) -> Mapping[str, Any] | None:
    if said is None:
        return None
    if not isinstance(said, Mapping) or "views" not in said:
        raise ValueError(f"recipe needs views, as a run's config.json has them, got {said!r}; a recipe that has a name is "
                         "base: {recipe: NAME}")
    try:
        recipe = Recipe.from_dict(dict(said))
        recipe.groups  # noqa: B018 (what it leaves open is found now)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"recipe: {error}") from error
    return recipe.to_dict()


def _text(said: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = said.get(key, default)
    if not isinstance(value, str) or (not value and default is None):
        raise ValueError(f"{key} needs a text, got {value!r}" if key in said else f"a study needs {key}: there is none")
    return value


def _file_name(where: str, name: str) -> None:
    if not re.fullmatch(_NAME, name):
        raise ValueError(f"{where}: a name becomes part of a file's: use letters, digits and . + -, got {name!r}")


def _short(key: str) -> str:
    """A factor's name from its key: "temperature" of model.temperature, "grayscale.p" of recipe.global.grayscale.p."""
    parts = key.split(".")
    kept = parts[2:] if key.startswith("recipe.") and len(parts) > 2 else parts[-1:]
    return re.sub(r"[^\w.+-]+", "-", ".".join(kept))
