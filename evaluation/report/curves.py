"""Which curves a report draws of its runs: what was learnt, how healthy features are, how fast it went."""

from __future__ import annotations

from collections.abc import Sequence

from .chart import Chart, Level, Series
from .runs import Run

OPTIMISER = {"lr": ("Learning rate", ""), "grad_norm": ("Gradient norm", "before it is clipped"),
             "weight_decay": ("Weight decay", "")}

HEALTH = {
    "std": ("Spread of features", "Mean standard deviation of normalised coordinates times the root of their number: 1 fills the "
            "sphere, 0 is collapse."),
    "rankme": ("Directions in use", "RankMe: exp of the entropy of the singular values; at most the number of images or "
               "features."),
    "uniformity": ("Uniformity", "Log of the mean Gaussian potential of all pairs: 0 where all are alike, near -4 where they "
                   "spread evenly."),
    "alignment": ("Alignment", "Mean squared distance between two views of an image: 0 where they agree."),
    "positive": ("Similarity of two views", "Mean cosine between two views of one image."),
    "negative": ("Similarity of others", "Mean cosine between different images: near 1 is collapse."),
}
"""Of health_* and embed_*, by what follows."""

TITLES = {"loss": "Loss", "knn": "Nearest neighbours", "kl": "KL from teacher to student", "accuracy": "Accuracy of its own task"}

_ELSEWHERE = frozenset(["step", "epoch", "images_per_s", "data_wait", "data_wait_run", "knn_seconds", "knn_raw_pixels",
                        "knn_untrained", *OPTIMISER])
_KINDS = (("health", "features"), ("embed", "embeddings"))


def learning(runs: Sequence[Run]) -> list[Chart]:
    """Loss first, then kNN, then whatever else methods log, what most of them do before what few do."""
    logged = list(dict.fromkeys(name for run in runs for row in run.rows for name in row))
    own = [name for name in logged if name not in _ELSEWHERE and not name.startswith(("data/", "health_", "embed_"))]
    shared = {name: sum(bool(run.points(name)) for run in runs) for name in own}
    own.sort(key=lambda name: (name != "loss", name != "knn", -shared[name]))
    return [_metric(runs, name) for name in own]


def optimiser(runs: Sequence[Run]) -> list[Chart]:
    return [Chart(title, _series(runs, name), note, names=(name,)) for name, (title, note) in OPTIMISER.items()]


def health(runs: Sequence[Run]) -> list[Chart]:
    """Of each measure the features', and dashed the embeddings' where there are any."""
    found = []
    for name, (title, note) in HEALTH.items():
        kinds = [(prefix, label) for prefix, label in _KINDS if any(run.points(f"{prefix}_{name}") for run in runs)]
        told = kinds if len(kinds) > 1 else [(prefix, "") for prefix, _ in kinds]
        series = [Series(_named(run, label, runs), run.points(f"{prefix}_{name}"), run.place, "" if run.place else label,
                         dashed=prefix == "embed") for prefix, label in told for run in runs]
        found.append(Chart(title, series, note, names=[f"{prefix}_{name}" for prefix, _ in kinds]))
    return found


def throughput(runs: Sequence[Run]) -> list[Chart]:
    budgets = {float(run.config.get("data_wait_budget", 1)) for run in runs} - {1.0}
    levels = [Level("budget", budget) for budget in budgets] if len(budgets) == 1 else []
    return [
        Chart("Images a second", _series(runs, "images_per_s"), "Of all ranks together, from one line of the log to the next.",
              floor=0.0, names=("images_per_s",)),
        Chart("Time spent waiting for data", _series(runs, "data_wait"), "Share of a step's time in which the next batch was not "
              "there yet.", shares=True, floor=0.0, levels=levels, names=("data_wait",)),
    ]


def _metric(runs: Sequence[Run], name: str) -> Chart:
    title = TITLES.get(name, name.replace("/", " / ").replace("_", " ").capitalize())
    shares = name == "knn" or name.endswith("accuracy")
    note, levels, names = "", [], [name]
    if name == "knn":
        note = "Share of test images that their neighbours among training images name rightly."
        for label, level in (("raw pixels", "knn_raw_pixels"), ("untrained", "knn_untrained")):
            found = [(run.last(level), run.place) for run in runs]
            alike = len({value for value, _ in found}) == 1
            for value, place in found[:1] if alike else found:
                if value is not None:
                    levels.append(Level(label, value, None if alike else place))
                    names.append(level)
    return Chart(title, _series(runs, name), note, shares, levels=levels, names=list(dict.fromkeys(names)), wide=name == "loss")


def _series(runs: Sequence[Run], name: str) -> list[Series]:
    return [Series(_named(run, "", runs), run.points(name), run.place, smooth=name != "knn") for run in runs]


def _named(run: Run, label: str, runs: Sequence[Run]) -> str:
    """What a line is called: nothing where there is only one."""
    return label if len(runs) == 1 else f"{run.name} {label}".strip()
