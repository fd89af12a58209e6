"""Linear support vector machines on frozen features, one class against the rest: VOC07's mAP, as FAIR's benchmark has it."""

from __future__ import annotations

import json
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC

from ..models.training import process
from ..models.training.config import key
from .average_precision import mean_average_precision
from .multilabel import MultiLabelSource, targets
from .pseudo_labels import ClusterConfig, seen_by
from .resumable import folder_of
from .task import Task

TENS = tuple(10.0**power for power in range(-7, 3))
TWOS = tuple(0.5**power for power in range(4, 20))
GRIDS = {"code": (0.01, 0.1, *TWOS), "paper": (*TENS, *TWOS), "tens": TENS}


@dataclass(frozen=True)
class SvmConfig:
    """Defaults are facebookresearch/fair_self_supervision_benchmark's tools/svm, arXiv:1905.01235."""

    costs: tuple[float, ...] | None = key("C of each machine, of which every class chooses by itself; null: grid", None)
    grid: Literal["code", "paper", "tens"] = key("code: 0.01, 0.1 and 2^-4 to 2^-19, as the benchmark's script has it; paper: "
                                                 "those of two, and ten's powers from -7 to 2; tens: the latter alone", "code")
    folds: int = key("of the cross-validation on training pictures that chooses", 3)
    positive_weight: float = key("weight of a picture that shows the class; of others 1", 2.0)
    normalize: bool = key("features of length 1", True)
    difficult: Literal["negative", "ignored"] = key("training pictures where a class is only difficult: against it, as in the "
                                                    "benchmark's script, or left out of its training; test pictures never count",
                                                    "negative")
    max_iter: int = key("passes of a fit at most", 2000)
    layer: str | None = key("whose map the machines stand on, as eval layers names them, for example stage3; null: the encoder's "
                            "features", None)
    pool: Literal["max", "average"] = key("how a map is reduced", "average")
    values: int = key("to about so many values", 9000)

    def __post_init__(self) -> None:
        if self.costs is not None and (not self.costs or min(self.costs) <= 0):
            raise ValueError(f"costs needs numbers above 0, got {list(self.costs)}")
        if self.folds < 2 or self.max_iter < 1:
            raise ValueError("folds needs a whole number of at least 2, max_iter of at least 1, got "
                             f"{self.folds}, {self.max_iter}")
        if not self.positive_weight > 0:
            raise ValueError(f"positive_weight needs a number above 0, got {self.positive_weight}")
        if self.values < 1:
            raise ValueError(f"values needs a whole number of at least 1, got {self.values}")


def run(task: Task, config: SvmConfig) -> dict[str, Any]:
    """{"map_11_point", "map_all_point", "map_summed": means over classes, "by_class": each class's, None where no test picture
    shows it, and its "cost"; "converged": whether all fits did, "arrays": {"score", "target"} of the test pictures; where each
    shows one class "top1" and "correct" too, the highest score's}. A class that no picture shows has no machine. VOC07's
    published figure is map_all_point.

    Ranks share the classes. Choices of an interrupted evaluation are kept. Raises ValueError, one line, for what the user can
    mend.
    """
    width = max(targets(pictures).shape[1] for pictures in (task.train, task.test))
    wanted = targets(task.test, width)
    of_layer = ClusterConfig("unset", layer=config.layer, pool=config.pool, values=config.values)
    seen = seen_by(task.encoder.to(task.device), of_layer)
    kind = "features" if seen is None else f"{config.layer} {config.pool} {config.values}"
    train, test = (task.features(part, see=seen, kind=kind) for part in ("train", "test"))
    shown = targets(task.train, width)[np.searchsorted(task.train.index, train.index.numpy())]
    known = (shown != -1).any(1)  # the others have no label at all: they stand against no class
    rows, asked = (unit(part.x.double().numpy()) if config.normalize else part.x.double().numpy() for part in (train, test))
    rows, shown = rows[known], shown[known]
    costs = config.costs or GRIDS[config.grid]
    _check(task, shown, wanted, config, len(costs))
    job = {"encoder": task.encoder.fingerprint, "images": task.train.subset().fingerprint, "costs": list(costs),
           "folds": config.folds, "positive_weight": config.positive_weight, "normalize": config.normalize,
           "difficult": config.difficult, "max_iter": config.max_iter, "kind": kind}
    folder = folder_of(job, task.out, "svm")

    def one(number: int) -> tuple[float, bool, np.ndarray]:
        return of_class(rows, shown[:, number], asked, config, costs, folder / f"{number:05d}.json")

    used = np.flatnonzero((shown == 1).any(0) | (wanted == 1).any(0)).tolist()
    own = used[task.world.rank :: task.world.size]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # large costs seldom converge, and are seldom chosen
        with ThreadPoolExecutor(max(task.threads, torch.get_num_threads())) as pool:  # LinearSVC computes without Python's lock
            found = dict(zip(own, pool.map(one, own), strict=True))
    found = {number: of for each in process.gather(task.world, found) for number, of in each.items()}
    score = np.full((len(task.test), width), -np.inf)  # of a picture that cannot be read: behind all others
    for number in used:
        score[np.searchsorted(task.test.index, test.index.numpy()), number] = found[number][2]
    means, by_class = mean_average_precision(score, wanted)
    names = getattr(task.train.source, "names", ())
    names = names if len(names) == width else [str(number) for number in range(width)]
    told = {kind: {name: None if np.isnan(value) else value for name, value in zip(names, values, strict=True)}
            for kind, values in by_class.items()}
    result: dict[str, Any] = {
        **means, "by_class": {**told, "cost": {names[number]: found[number][0] for number in used}},
        "chosen_on": f"{config.folds}-fold cross-validation" if len(costs) > 1 else "nothing to choose",
        "converged": all(converged for _, converged, _ in found.values()), "classes": width, "train_images": len(rows),
        "test_images": len(test), "arrays": {"score": score.astype(np.float32), "target": wanted}}
    if not isinstance(task.test.source, MultiLabelSource):
        result["correct"] = np.isfinite(score).any(1) & (score.argmax(1) == task.test.label)
        result["top1"] = float(result["correct"].mean())
    return result


def unit(rows: np.ndarray) -> np.ndarray:
    """(N, D) of length 1, as the benchmark has it: divided by their length plus 1e-5."""
    return np.asarray(rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5))


def of_class(rows: np.ndarray, shown: np.ndarray, asked: np.ndarray, config: SvmConfig, costs: tuple[float, ...],
             kept: Path) -> tuple[float, bool, np.ndarray]:
    """(the cost of the best cross-validated average precision, the first of equals, whether the fit converged, scores (M,)) of a
    class: trained on rows (N, D) that show it (1), not (0), or only difficult ones (-1), asked of (M, D). kept: where the choice
    is, or will be, on the disk."""
    counted = shown >= 0 if config.difficult == "ignored" else np.ones(len(shown), bool)
    x, y = rows[counted], np.where(shown[counted] == 1, 1, -1)
    precision: dict[str, float] = {}
    if len(costs) > 1:
        if kept.is_file():
            precision = json.loads(kept.read_text())
        else:
            precision = {f"{cost:.9g}": fitted_well(machine(cost, config), x, y, config.folds) for cost in costs}
            kept.parent.mkdir(parents=True, exist_ok=True)
            temporary = kept.with_name(f".{kept.name}.{os.getpid()}")
            temporary.write_text(json.dumps(precision) + "\n")
            os.replace(temporary, kept)
    best = max(costs, key=lambda cost: precision.get(f"{cost:.9g}", 0.0))
    fitted = machine(best, config).fit(x, y)
    return best, bool(fitted.n_iter_ < config.max_iter), fitted.decision_function(asked)


def machine(cost: float, config: SvmConfig) -> LinearSVC:
    return LinearSVC(C=cost, class_weight={1: config.positive_weight, -1: 1.0}, dual=True, loss="squared_hinge", tol=1e-4,
                     intercept_scaling=1.0, max_iter=config.max_iter, random_state=0)


def fitted_well(model: LinearSVC, x: np.ndarray, y: np.ndarray, folds: int) -> float:
    """The mean over folds, which are stratified and not shuffled, of the average precision on the part left out."""
    return float(cross_val_score(model, x, y, cv=folds, scoring="average_precision").mean())


def _check(task: Task, shown: np.ndarray, wanted: np.ndarray, config: SvmConfig, costs: int) -> None:
    counts, needed = (shown == 1).sum(0), config.folds if costs > 1 else 1
    somewhere = (counts > 0) | (wanted == 1).any(0)
    short = [int(each) for each in np.flatnonzero(somewhere & (np.minimum(counts, len(shown) - counts) < needed))]
    if short:
        raise ValueError(f"{task.train.name}: {counts[short[0]]} of its {len(shown)} pictures show class {short[0]}; its machine "
                         f"needs {needed} that do and as many that do not; give more pictures" +
                         (f", folds below {config.folds}, or one cost, costs=[0.1]" if costs > 1 else ""))
    if not (wanted == 1).any():
        raise ValueError(f"{task.test.name}: no picture shows a class; an evaluation needs some that do")
