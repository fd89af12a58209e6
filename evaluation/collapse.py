"""Notices that a run has collapsed, from the health of its features line by line, and says so once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

FIRST, IN_A_ROW = 2, 3
"""Measurements that are not judged, and how many of the judged that follow each other need the same sign."""

ENOUGH_IMAGES = 32
"""RankMe is at most the number of images, and features of few images agree by chance: of fewer, neither says anything."""

# Measured on CIFAR-10: nine untrained networks with SimCLR's head have a std of 0.02 to 0.42, a rank of 1 to 46 and cosines of
# negatives up to 1.0000, so that no level tells them from collapsed ones, and only time does. Twenty steps later SimCLR's
# embeddings have a std above 0.24 and a rank above 8, MAE's features 0.36 and 6. Runs made to collapse (agreement alone, five
# heads and rates) stay below 0.05 and a rank of 4; those with a last batch norm keep a std of 0.2 to 0.6, at a rank of 2.4 to 3.
# DINO's teacher, in eight short runs: entropy 0.2 to 0.72, of the marginal 0.55 to 0.94, KL 0.9 to 4.4.
ALIKE_STD, ALIKE_COSINE, FEW_DIRECTIONS = 0.05, 0.9975, 3.0
ONE_PROTOTYPE, UNIFORM, NO_KL = 0.1, 0.98, 0.02

# VICReg's embeddings shrink without their variance term, and keep their directions: neither std nor rank shows it. Measured on a
# small network: its variance term is 0.6 before the first step, 0.93 to 0.99 sixty steps later; on CIFAR-10, where all terms
# count, 0.65 to 0.72. Without the second term of its loss Barlow Twins' features say the same: unlike ones correlate by 0.6 to
# 0.76; with it by 0.2 to 0.4, on CIFAR-10 by 0.31 in the twentieth step and 0.2 later.
SHRUNK, SAYS_THE_SAME = 0.9, 0.5

# Of targets that a slower copy of the network makes, each brought to mean 0 and variance 1: of that variance so little is between
# patches. data2vec's authors stop a run where the standard deviation falls below 0.1 (facebookresearch/fairseq, min_target_var).
ALIKE_TARGETS = 0.01


@dataclass(frozen=True)
class Sign:
    """One way to collapse: which values of a line show it, what it means, and what usually helps."""

    names: tuple[str, ...]
    shows: Callable[[Mapping[str, Any]], bool]
    means: str
    helps: str


def _alike(prefix: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: row[f"{prefix}_std"] < ALIKE_STD or row[f"{prefix}_negative"] > ALIKE_COSINE


def _flat(prefix: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: bool(row[f"{prefix}_rankme"] < FEW_DIRECTIONS)


def _one(prefix: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: bool(row[f"{prefix}teacher_marginal_entropy"] < ONE_PROTOTYPE)


def _uniform(prefix: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: row[f"{prefix}teacher_entropy"] > UNIFORM and row[f"{prefix}kl"] < NO_KL


_AGREE = ("what keeps views of different images apart is too weak: try a lower optimizer.lr, a longer schedule.warmup_epochs, "
          "a larger batch_size; of the method, its negatives, stop-gradient, predictor or decorrelation")
_SIGNS = (
    *(Sign((f"{prefix}_std", f"{prefix}_negative"), _alike(prefix), f"{what} of all images are alike", _AGREE)
      for prefix, what in (("health", "features"), ("embed", "embeddings"))),
    *(Sign((f"{prefix}_rankme",), _flat(prefix), f"{what} of all images lie in very few directions", _AGREE)
      for prefix, what in (("health", "features"), ("embed", "embeddings"))),
    *(Sign((f"{prefix}teacher_marginal_entropy",), _one(prefix), f"the teacher gives all {what} to one prototype",
           "try a stronger centring (a lower model.center_momentum) or a higher model.teacher_temperature")
      for prefix, what in (("", "images"), ("region_", "regions"), ("patch_", "patches"))),
    *(Sign((f"{prefix}teacher_entropy", f"{prefix}kl"), _uniform(prefix),
           f"the teacher gives every {what} to all prototypes alike",
           "try a lower model.teacher_temperature, a longer warm-up of it, or a higher model.frozen_epochs")
      for prefix, what in (("", "image"), ("region_", "region"), ("patch_", "patch"))),
    Sign(("target_variance",), lambda row: row["target_variance"] < ALIKE_TARGETS, "the teacher says the same of all patches",
         "try a lower optimizer.lr, a longer schedule.warmup_epochs or a higher model.teacher_momentum"),
    Sign(("variance", "invariance"), lambda row: row["variance"] > SHRUNK, "embeddings of all images shrink to one point",
         "try a higher model.variance or a lower optimizer.lr"),
    Sign(("off_diagonal", "diagonal"), lambda row: row["off_diagonal"] > SAYS_THE_SAME,
         "features of the embeddings say the same",
         "try a higher model.off_diagonal, a lower optimizer.lr or a larger batch_size"),
)


@dataclass
class CollapseWatch:
    """Judges lines of the log that have health, but not the first, and none while the learning rate still rises: until then
    a network is nearly the untrained one. images: of how many each measurement is."""

    images: int = ENOUGH_IMAGES
    _seen: int = 0
    _rate: float = 0.0
    _done: bool = False
    _since: dict[Sign, int] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> str | None:
        """One line of the log, oldest first: its values by name, null where one was not finite. What to say, once; else None."""
        rising = row.get("lr", self._rate) > self._rate
        self._rate = row.get("lr", self._rate)
        if self._done or "health_std" not in row:
            return None
        self._seen += 1
        if self._seen <= FIRST or rising:
            return None
        for sign in _SIGNS:
            judged = all(row.get(name) is not None for name in sign.names)
            if sign.names[0].endswith(("_rankme", "off_diagonal")):
                judged = judged and self.images >= ENOUGH_IMAGES
            count = self._since[sign] = self._since.get(sign, 0) + 1 if judged and sign.shows(row) else 0
            if count == IN_A_ROW:
                self._done = True
                values = ", ".join(f"{name} {row[name]:.3g}" for name in sign.names)
                return f"collapse?  {values}, {IN_A_ROW} measurements in a row: {sign.means}; {sign.helps}"
        return None
