"""From `METHOD key=value ...` to a run: the published numbers, then the user's, each key and type checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ...augment.op import nearest
from ...augment.presets import recipe as named_recipe
from ...augment.recipe import Recipe, View
from .config import OptimizerConfig, RunConfig, ScheduleConfig, shown
from .schedule import peak_rate

PATHS = frozenset({"data", "test_data", "out", "resume", "knn.data", "knn.test_data"})


def resolve(method: str, assignments: Sequence[str], published: Mapping[str, Any], model: Any) -> tuple[RunConfig, Recipe]:
    """The run and its recipe. published: {"epochs", "batch_size", "recipe", "clip_grad", "optimizer": {...}, "schedule":
    {...}} of the method, where schedule's "final_share" may stand for final_lr: the last rate over the peak; model: its Config
    with the published values. assignments: "key=value", the last of a key wins.

    Raises ValueError, one line: an unknown key with the nearest known one, a value of the wrong type, no data.
    """
    pairs = [split(assignment) for assignment in assignments]
    numbers = {key: value for key, value in published.items() if key not in ("optimizer", "schedule")}
    schedule = dict(published["schedule"])
    final_share = schedule.pop("final_share", None)
    base = RunConfig(
        **{"method": method, "data": "unset", "out": f"runs/{method}", "model": model, **numbers},
        optimizer=OptimizerConfig(**published["optimizer"]),
        schedule=ScheduleConfig(**schedule),
    )
    config = filled(base, [(key, text) for key, text in pairs if not key.startswith("recipe.")], ["variant"])
    if "data" not in (key for key, _ in pairs):
        raise ValueError(f"{method} needs images: data=PATTERN, for example data='train-{{0000..0009}}.tar' or data=FOLDER")
    asked = {key for key, _ in pairs}
    _refuse_unused(config, asked)
    config = _end_below_peak(config, None if "schedule.final_lr" in asked else final_share)
    config = _fit_steps(_shorter_warmup(config, "schedule.warmup_epochs" in asked), "schedule.steps_at" in asked, base)
    recipe = named_recipe(config.recipe)
    for key, text in pairs:
        if key.startswith("recipe."):
            recipe = with_assignment(recipe, key.removeprefix("recipe."), text)
    return config, recipe


def split(assignment: str) -> tuple[str, str]:
    """(key, text) of "key=text". Raises ValueError where it is none."""
    key, equals, text = assignment.partition("=")
    key = key.strip().removeprefix("--")
    if not equals or not key:
        raise ValueError(f"{assignment!r} is not key=value")
    return key, text


def filled(base: Any, pairs: Sequence[tuple[str, str]], also: Sequence[str] = ()) -> Any:
    """The dataclass `base` with the texts of some keys ("part.field") in place, each checked for its type, and built anew so
    that every check of its construction runs. also: further keys that are known elsewhere, to name the nearest of.

    Raises ValueError, one line: an unknown key with the nearest known one, a value of the wrong type.
    """
    tree = OmegaConf.structured(base)
    _unlock(tree)
    for key, text in pairs:
        _assign(tree, key, text, also)
    return _plain(OmegaConf.to_container(tree), base)


def with_assignment(recipe: Recipe, key: str, text: str) -> Recipe:
    """The recipe with one field changed. key: "VIEW.OP.FIELD" as Recipe.with_op takes them; or "GROUP.size_px", which
    also sets the crops that made that size; or "block", "decode" or "repeats", the recipe's own."""
    value = _value(text)
    if key in ("block", "decode", "repeats"):
        return replace(recipe, **{key: value})
    view, _, rest = key.partition(".")
    op, _, name = rest.rpartition(".")
    if rest == "size_px":
        groups = sorted({v.group for v in recipe.views})
        if view not in groups:
            raise ValueError(f"recipe {recipe} has no group {view!r}; {nearest(view, groups)}")
        size = tuple(value) if isinstance(value, list) else value
        return replace(recipe, views=tuple(_resized(v, size) if v.group == view else v for v in recipe.views))
    if not (view and op and name):
        raise ValueError(f"recipe.{key}: use recipe.VIEW.OP.FIELD=value, for example recipe.global/0.blur.p=0, "
                         "or recipe.GROUP.size_px, recipe.block, recipe.decode, recipe.repeats")
    try:
        return recipe.with_op(view, op, **{name: value})
    except TypeError as error:
        raise ValueError(f"recipe.{key} cannot be {text!r}: {error}") from error


def plain(config: Any) -> dict[str, Any]:
    """A tree of configuration as JSON-able data; `resolve` is not needed to read it."""
    return _lists(config)


def _resized(view: View, size: Any) -> View:
    old = view.size_px
    ops = tuple(
        op.with_fields(**{f.name: size for f in fields(op) if f.name in ("size_px", "side_px") and getattr(op, f.name) == old})
        for op in view.ops or ()
    )
    return replace(view, size_px=size, ops=ops if view.ops is not None else None)


def _shorter_warmup(config: RunConfig, asked: bool) -> RunConfig:
    # A published warm-up of 10 epochs makes no run of 5; a tenth of the run is shown and saved instead. One that the user
    # asked for is never changed silently.
    if config.schedule.warmup_epochs < config.epochs:
        return config
    if asked:
        raise ValueError(f"schedule.warmup_epochs={config.schedule.warmup_epochs:g} needs to be below epochs={config.epochs}")
    return replace(config, schedule=replace(config.schedule, warmup_epochs=config.epochs / 10))


def _end_below_peak(config: RunConfig, final_share: float | None) -> RunConfig:
    of, peak = config.schedule, peak_rate(config.optimizer, config.batch_size)
    if of.law != "cosine":
        return config
    if final_share is not None:
        return replace(config, schedule=replace(of, final_lr=final_share * peak))
    if of.final_lr > peak:
        raise ValueError(f"schedule.final_lr={of.final_lr:g}, where the cosine ends, needs to be at most its peak, here {peak:g} "
                         "(optimizer.lr, scaled to the batch); use for example schedule.final_lr=0")
    return config


def _fit_steps(config: RunConfig, asked: bool, published: RunConfig) -> RunConfig:
    # Published falls of the rate that a shorter run would not live to see keep their places in proportion: at 30, 60 and 90
    # of 100 epochs become 3, 6 and 9 of 10. Those that the user asked for are never changed silently.
    of = config.schedule
    if of.law != "steps" or not of.steps_at or of.steps_at[-1] < config.epochs:
        return config
    if asked:
        raise ValueError(f"schedule.steps_at={shown(of.steps_at)} needs to end below epochs={config.epochs}")
    shares = (epoch / published.epochs for epoch in of.steps_at)
    return replace(config, schedule=replace(of, steps_at=tuple(round(share * config.epochs, 6) for share in shares)))


def _refuse_unused(config: RunConfig, asked: set[str]) -> None:
    other = "steps" if config.schedule.law == "cosine" else "cosine"
    unused = {"steps": ("schedule.steps_at", "schedule.step_factor", "schedule.step_factors"),
              "cosine": ("schedule.final_lr", "schedule.per")}[other]
    for name in unused:
        if name in asked:
            raise ValueError(f"{name} is for schedule.law={other}, this run has schedule.law={config.schedule.law}; "
                             "leave one of the two out")
    if "schedule.step_factor" in asked and config.schedule.step_factors:
        raise ValueError("schedule.step_factor has no effect beside "
                         f"schedule.step_factors={shown(config.schedule.step_factors)}; give schedule.step_factors=[] too")


def _value(text: str) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]  # type: ignore[index,call-overload]
    except Exception:  # what YAML cannot read is a word, for example *.tar
        return text


def _assign(tree: DictConfig, key: str, text: str, also: Sequence[str] = ()) -> None:
    known = _keys(tree)
    if key not in known:
        below = [k for k in known if k.startswith(f"{key}.")]
        if below:
            raise ValueError(f"{key} has keys of its own: {', '.join(below)}")
        raise ValueError(f"unknown key {key!r}; {nearest(key, [*known, *also])}")
    if key == "method":
        raise ValueError("the method is the first word, not a key: viewmill train METHOD data=...")
    value = text if key in PATHS and not text.startswith("[") else _value(text)
    if key in PATHS and text in ("null", "None"):
        value = None
    if not isinstance(value, list) and value is not None and _is_open_list(_hint(tree, key)):
        value = [value]  # k=20 is k=[20]
    try:
        OmegaConf.update(tree, key, value)
        OmegaConf.to_container(tree, resolve=True)
    except OmegaConfBaseException as error:
        raise ValueError(f"{key} needs {_wanted(tree, key)}, got {text!r}") from error


def _wanted(tree: DictConfig, key: str) -> str:
    return _named(_hint(tree, key))


def _hint(tree: DictConfig, key: str) -> Any:
    """The annotation of a key."""
    parent = tree
    *path, name = key.split(".")
    for part in path:
        parent = parent._get_node(part)  # type: ignore[assignment]
    kind = OmegaConf.get_type(parent)
    return get_type_hints(kind).get(name, Any) if is_dataclass(kind) else Any


def _is_open_list(hint: Any) -> bool:
    """Whether it may be a tuple of any length."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return any(get_origin(part) is tuple and Ellipsis in get_args(part) for part in parts)


def _named(hint: Any) -> str:
    words = {int: "a whole number (int)", float: "a number (float)", bool: "true or false (bool)", str: "text (str)",
             type(None): "null"}
    if hint in words:
        return words[hint]
    if get_origin(hint) is Literal:
        return f"one of {list(get_args(hint))}"
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_named(part) for part in get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list like [{', '.join(part.__name__ for part in get_args(hint) if part is not Ellipsis)}]"
    return str(hint)


def _keys(tree: DictConfig, prefix: str = "") -> list[str]:
    found = []
    for name in map(str, tree):
        node = tree._get_node(name)
        found += _keys(node, f"{prefix}{name}.") if isinstance(node, DictConfig) and not node._is_none() else [f"{prefix}{name}"]
    return found


def _unlock(tree: DictConfig) -> None:
    """Frozen dataclasses become read-only nodes; the user's values go in before the tree is frozen data again."""
    OmegaConf.set_readonly(tree, False)
    for name in tree:
        node = tree._get_node(name)
        if isinstance(node, DictConfig) and not node._is_none():
            _unlock(node)


def _plain(values: Any, like: Any) -> Any:
    """The dataclass `like` with the tree's values, built anew so that every check of its construction runs."""
    if not is_dataclass(like) or isinstance(like, type):
        return tuple(values) if isinstance(like, tuple) and isinstance(values, list) else values
    return type(like)(**{f.name: _plain(values[f.name], getattr(like, f.name)) for f in fields(like) if f.init})


def _lists(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _lists(getattr(value, f.name)) for f in fields(value)}
    return [_lists(v) for v in value] if isinstance(value, list | tuple) else value
