"""The commands that make again what a report shows, as short as they can be; each is read back, and says the same."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ...augment.recipe import Recipe
from ...models.training.config import RunConfig, shown
from ...models.training.overrides import plain
from .recipes import expanded, together
from .runs import Run, flat

Read: TypeAlias = Callable[[Sequence[str]], tuple[RunConfig, Recipe]]
"""What turns the words of `viewmill train` into a run."""

ReadBack: TypeAlias = Callable[[Sequence[str]], Mapping[str, Any]]

_TRIES = 3
"""A key that is given may change what others come to, and those are given next."""


@dataclass(frozen=True)
class Command:
    """line: as a shell takes it. refused: keys of what it should make that this version of the program does not take, so that it
    makes nearly that."""

    line: str
    refused: tuple[str, ...] = ()


def training(run: Run, read: Read) -> Command:
    """The command that trains a run anew."""
    config = flat(run.config)
    base = [run.method, *_given(config, "data", "out", "recipe", "epochs")]

    def read_back(words: Sequence[str]) -> dict[str, Any]:
        found, views = read(words)
        return flat(plain(found)) | expanded(views.to_dict())

    return _command("train", base, run.flat(), read_back)


def published(run: Run, read: Read) -> dict[str, Any] | None:
    """Every key as it would be, had nothing been given but data, folder and recipe; None where this program cannot say, because
    it does not know the method."""
    config = run.config
    try:
        base, recipe = read([run.method, "data=unset", *([f"recipe={config['recipe']}"] if config.get("recipe") else [])])
    except ValueError:
        return None
    return flat(plain(base)) | expanded(recipe.to_dict())


def evaluating(result: Mapping[str, Any]) -> Command:
    """The command of a result that `viewmill eval` kept."""
    from ..command import read

    if isinstance(result.get("command"), str):
        return Command(result["command"])
    name, what, config = str(result["eval"]), str(result.get("encoder", "ENCODER")), flat(result["config"])
    base = [name, what, *_given(config, "data", "test_data", "protocol")]

    def read_back(words: Sequence[str]) -> dict[str, Any]:
        found = read(words)
        return flat(plain(found[2])) | flat(plain(found[3]))

    return _command("eval", base, config, read_back)


def again(run: Run, *more: str) -> str:
    """The command that draws what a run saw."""
    return line("preview", str(run.folder), *more)


def line(*words: str) -> str:
    return shlex.join(["viewmill", *words])


def _command(name: str, base: list[str], wanted: Mapping[str, Any], read_back: ReadBack) -> Command:
    try:
        words, refused = closing(base, wanted, read_back)
    except ValueError:  # of a method or a protocol that this version does not have
        given = {word.partition("=")[0] for word in base} | {"method"}
        words = [*base, *(f"{key}={shown(value)}" for key, value in wanted.items() if key not in given and value is not None)]
        refused = ()
    return Command(line(name, *words), refused)


def closing(base: Sequence[str], wanted: Mapping[str, Any], read_back: ReadBack) -> tuple[list[str], tuple[str, ...]]:
    """base and the fewest words after it that read_back takes for what is wanted; and the keys that it does not take. Keys that
    only one of the two knows are another version's, and left alone. Raises ValueError where base itself is refused."""
    more: dict[str, str] = {}
    refused: list[str] = []
    have = read_back(base)
    for _ in range(_TRIES):
        other = {key: f"{key}={shown(value)}" for key, value in _missing(wanted, have).items() if key not in refused}
        if not other:
            break
        try:
            have = read_back([*base, *(more | other).values()])
            more |= other
        except ValueError:  # of one of them; which, only trying each of them tells
            for key, word in other.items():
                try:
                    have = read_back([*base, *(more | {key: word}).values()])
                    more[key] = word
                except ValueError:
                    refused.append(key)
            have = read_back([*base, *more.values()])
    return [*base, *more.values()], tuple(dict.fromkeys([*refused, *_missing(wanted, have)]))


def _missing(wanted: Mapping[str, Any], have: Mapping[str, Any]) -> dict[str, Any]:
    """What is wanted, and had otherwise; of views, by their group where that will do. An op that a recipe does not have is no
    other version's."""
    wanted, have = together([wanted, have])
    return {key: value for key, value in wanted.items()
            if (have[key] != value if key in have else key.startswith("recipe."))}


def _given(config: Mapping[str, Any], *names: str) -> list[str]:
    return [f"{name}={shown(config[name])}" for name in names if config.get(name) is not None]


def relative(path: Path, folder: Path) -> str:
    """A file as it is called from the folder of its run."""
    try:
        return str(path.relative_to(folder))
    except ValueError:
        return str(path)
