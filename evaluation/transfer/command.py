"""`viewmill eval transfer ENCODER root=...`: one encoder on several data sets, each by its metric, in one table."""


from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from ... import __version__
from ...models.training import process
from ...models.training.config import describe, key
from ...models.training.manual import rows
from ...models.training.overrides import filled, split
from ..multilabel import open_labelled
from ..resumable import Stopped
from .sets import METRICS, in_root, metric_of

PARTS = ("data", "test_data", "val_data", "metric")


@dataclass(frozen=True)
class TransferConfig:
    root: str | None = key("a folder that holds a folder for each set: its train and test, folders of class folders or shards, "
                           "or what VOC has", None)
    sets: tuple[str, ...] | None = key("of root: these alone; null: all", None)
    by: Literal["logistic", "svm", "knn", "linear", "finetune"] = key("the protocol that each set is judged by; its keys, and "
                                                                      "those of all, hold for every set", "logistic")
    out: str | None = key("folder of the results, transfer.json and transfer/SET/; null: as for other protocols", None)


@dataclass(frozen=True)
class DataSet:
    """metric: what it is reported by; None: what its protocol takes. val_data: see LogisticConfig; other protocols do without."""

    data: str
    test_data: str
    metric: str | None = None
    val_data: str | None = None

    def words(self, by: str) -> list[str]:
        """Its part of the words of an evaluation."""
        own = {"metric": self.metric, "val_data": self.val_data} if by == "logistic" else {}
        return [f"data={self.data}", f"test_data={self.test_data}", *(f"{name}={value}" for name, value in own.items() if value)]


def main(words: Sequence[str]) -> int:
    """Run `viewmill eval transfer WORDS`; under torchrun every rank calls it. All sets are opened before the first is judged.
    The exit status is 130 after SIGINT, else 0. Raises ValueError, one line."""
    from .. import command  # which has this among its own commands

    names = [word for word in words if "=" not in word]
    if len(names) != 1:
        raise ValueError("viewmill eval transfer needs one encoder, a run's folder, a checkpoint, a file of weights or a name of "
                         f"timm's, got {len(names)}: {' '.join(names) or 'none'}")
    config, sets, rest = read(words)
    out = Path(config.out or command.default_out(names[0]))
    jobs = {name: command.read([config.by, names[0], *of.words(config.by), *rest, f"out={out / 'transfer' / name}"])
            for name, of in sets.items()}
    for name, (protocol, _, common, _) in jobs.items():
        command.opened(protocol, common)
        if sets[name].val_data is not None:
            open_labelled(sets[name].val_data)
    world = process.start(next(iter(jobs.values()))[2].device)
    began, found = time.monotonic(), {}
    try:
        for name, (protocol, what, common, own) in jobs.items():
            if world.rank == 0:
                print(f"set        {name}", flush=True)
            result = command.evaluate(protocol, what, common, own, world)
            found[name] = told(sets[name], result)
    except Stopped as stopped:
        if world.rank == 0:
            print(f"{stopped}: viewmill eval transfer {shlex.join(words)}", flush=True)
        return 130 if stopped.signal == signal.SIGINT else 0
    finally:
        process.leave(world)
    if world.rank == 0:
        whole = {"eval": "transfer", "encoder": names[0], "name": result["name"], "fingerprint": result["fingerprint"],
                 "by": config.by, "sets": found, "mean": sum(of["value"] for of in found.values()) / len(found),
                 "seconds": round(time.monotonic() - began, 1), "command": f"viewmill eval transfer {shlex.join(words)}",
                 "viewmill": __version__}
        temporary = out / f".transfer.{os.getpid()}"
        temporary.write_text(json.dumps(whole, indent=1) + "\n")
        os.replace(temporary, out / "transfer.json")
        print(f"{table(found, whole['mean'])}\nresult     {out / 'transfer.json'}", flush=True)
    return 0


def read(words: Sequence[str]) -> tuple[TransferConfig, dict[str, DataSet], list[str]]:
    """(own keys, the sets by name, the words that every set's evaluation gets). Raises ValueError, one line."""
    pairs = [split(word) for word in words if "=" in word]
    mine = {f.name for f in fields(TransferConfig)}
    config = filled(TransferConfig(), [pair for pair in pairs if pair[0] in mine])
    if config.sets is not None and config.root is None:
        raise ValueError("sets= are folders of root=; give it too, or each set's SET.data= and SET.test_data=")
    parts = in_root(Path(config.root), config.sets) if config.root is not None else {}
    rest = []
    for name, text in pairs:
        of, _, part = name.rpartition(".")
        if of and part in PARTS:
            parts.setdefault(of, {})[part] = text
        elif name in PARTS:
            raise ValueError(f"viewmill eval transfer takes {name} of each set: SET.{name}=..., for example cifar10.{name}=...")
        elif name not in mine:
            rest.append(f"{name}={text}")
    if not parts:
        raise ValueError("viewmill eval transfer needs data sets: root=FOLDER, or SET.data=... SET.test_data=... for each")
    return config, {name: _data_set(name, own, config.by) for name, own in parts.items()}, rest


def _data_set(name: str, own: dict[str, str], by: str) -> DataSet:
    missing = next((part for part in ("data", "test_data") if part not in own), None)
    if missing is not None:
        raise ValueError(f"set {name} has no {missing}; give {name}.{missing}=PATTERN")
    metric = own.get("metric") or metric_of(name)
    if metric is not None and metric not in METRICS:
        raise ValueError(f"{name}.metric needs one of {', '.join(METRICS)}, got {metric!r}")
    if metric == "map_11_point" and by not in ("logistic", "svm"):
        raise ValueError(f"set {name} is reported by mean average precision, which by={by} does not give; use by=logistic or "
                         f"by=svm, or {name}.metric=top1")
    return DataSet(own["data"], own["test_data"], metric, own.get("val_data"))


def told(of: DataSet, result: dict[str, Any]) -> dict[str, Any]:
    """A set's line: "metric", "value", and what it came from."""
    metric = of.metric or result.get("metric") or ("top1" if "top1" in result else "map_11_point")
    return {"metric": metric, "value": result[metric],
            **{name: result[name] for name in ("chosen", "pictures", "test_pictures", "seconds") if name in result},
            "data": of.data, "test_data": of.test_data, **({} if of.val_data is None else {"val_data": of.val_data})}


def table(found: dict[str, dict[str, Any]], mean: float) -> str:
    width = max(9, *(len(name) for name in found))
    lines = [f"{'set':<{width}}  {'metric':<14}  value   test pictures",
             *(f"{name:<{width}}  {of['metric'].replace('_', ' '):<14}  {of['value']:.4f}  {of['test_pictures']:>13,}"
               for name, of in found.items()), f"{f'mean of {len(found)}':<{width}}  {'':<14}  {mean:.4f}"]
    return "\n".join(lines)


def manual() -> str:
    return "\n".join([HEAD, *rows(describe(TransferConfig)), "", "All other keys: those of eval PROTOCOL, viewmill eval "
                      "logistic --help."])


HEAD = """Usage: viewmill eval transfer ENCODER root=FOLDER [KEY=VALUE]...
       viewmill eval transfer ENCODER SET.data=... SET.test_data=... [SET.metric=...] ... [KEY=VALUE]...

Judge one encoder on several data sets, and print one table. A set of the field's twelve, by its name, is reported by its metric
there: mean_per_class for Aircraft, Pets, Caltech-101 and Flowers, map_11_point for VOC2007, top1 for the others. Any other set
has top1, map_11_point where a picture may show several classes, or SET.metric=. Each set's own result is in out/transfer/SET.

  viewmill eval transfer runs/simclr root=datasets
  viewmill eval transfer runs/simclr cifar10.data='c10/train-*.tar' cifar10.test_data='c10/test-*.tar' \\
      voc2007.data=VOC2007/ImageSets/Main/trainval.txt voc2007.test_data=VOC2007/ImageSets/Main/test.txt
"""
