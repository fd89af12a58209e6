"""The text of `viewmill train --help`: every key with its default, generated from the tree, so that each is written once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from textwrap import wrap
from typing import Any

from .. import METHODS, MethodInfo, method_info
from .config import RunConfig, describe, shown

HEAD = """Usage: viewmill train METHOD data=... [KEY=VALUE]...

Pretrain METHOD on images. The same command again goes on from the last checkpoint, within the epoch where it stopped;
SIGTERM, SIGUSR1 and Ctrl-C finish the step and save first. Several processes: torchrun --nproc-per-node N train.py METHOD ...

variant=NAME takes the numbers of another published run of a method, where `train METHOD --help` names one.

  viewmill train simclr data='cifar10/train-{0000..0009}.tar' recipe=simclr_cifar knn.test_data='cifar10/test-*.tar'
"""


def train_manual(method: str | None = None) -> str:
    """All keys of a run; with a method, its published defaults and its own keys too. Raises ValueError for an unknown one."""
    lines = [HEAD, "Methods:", *(f"  {name:<10} {info.paper}" for name, info in METHODS.items()), ""]
    defaults: dict[str, str] = {}
    if method is not None:
        info = method_info(method)
        defaults = {"out": f"runs/{method}"}
        defaults |= _flat(info.published)
        if "schedule.final_share" in defaults:
            defaults["schedule.final_lr"] = f"{defaults['schedule.final_share']} of the peak"
        lines += [f"Keys of {method}:"]
        own = info.config()
        lines += rows([(f"model.{f.name}", shown(getattr(own, f.name)), f.metadata.get("meaning", "")) for f in fields(own)])
        lines += [*_small(info), *_variants(info)]
    lines += ["Keys (without a default: the method's published value stands; `train METHOD --help` shows it):"]
    keys = [(key, defaults.get(key, default), meaning) for key, default, meaning in describe(RunConfig)
            if key not in ("method", "model")]
    return "\n".join([*lines, *rows(keys)])


def _small(info: MethodInfo) -> list[str]:
    text = f"With recipe={info.recipe_32px}, for 32 px images: {_words(info.fields_32px, info.published_32px)}"
    return [*wrap(text, 118, initial_indent="  ", subsequent_indent="    "), ""]


def _variants(info: MethodInfo) -> list[str]:
    lines = []
    for name, variant in info.variants.items():
        text = f"With variant={name}, {variant.about}: {_words(variant.fields, variant.numbers)}"
        lines += wrap(text, 118, initial_indent="  ", subsequent_indent="    ")
    return [*lines, ""] if lines else []


def _words(fields: dict[str, Any], numbers: dict[str, Any]) -> str:
    return " ".join([f"model.{name}={shown(value)}" for name, value in fields.items()]
                    + [f"{key}={value}" for key, value in _flat(numbers).items()])


def _flat(numbers: dict[str, Any]) -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in numbers.items():
        flat |= {f"{key}.{k}": shown(v) for k, v in value.items()} if isinstance(value, dict) else {key: shown(value)}
    return flat


def rows(keys: Sequence[tuple[str, str, str]]) -> list[str]:
    """A line or more for each (key, default, meaning)."""
    lines = []
    for key, default, meaning in keys:
        text = wrap(meaning, 76) or [""]
        lines.append(f"  {f'{key}={default}':<38} {text[0]}".rstrip())
        lines += [" " * 41 + more for more in text[1:]]
    return lines
