"""Each method's own clipping law: the published bound and what it bounds, and what that does to gradients, on ranks too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from viewmill.models import METHODS, method_info
from viewmill.models.distributed import rank, world_size
from viewmill.models.method import Method
from viewmill.models.training.config import ClipMode
from viewmill.models.training.optimizer import clip
from viewmill.models.training.process import World as Ranks
from viewmill.models.training.sharding import shard
from viewmill.models.training.step import parallel
from viewmill.train import read

from ...world import World

JOINT, MASKED, CONTEXT = "joint_embedding.md", "masked_image_modeling.md", "contextual.md"
LAWS: dict[str, tuple[float | None, str, str, int]] = {
    "simclr": (None, "joint", JOINT, 125),
    "simclr_v2": (None, "joint", JOINT, 130),
    "nnclr": (None, "joint", JOINT, 244),
    "instdisc": (None, "joint", JOINT, 103),
    "pirl": (None, "joint", JOINT, 142),
    "cmc": (None, "joint", JOINT, 147),
    "decoupling": (None, "joint", CONTEXT, 283),
    "moco": (None, "joint", JOINT, 115),
    "moco_v2": (None, "joint", JOINT, 115),
    "moco_v3": (None, "joint", JOINT, 211),
    "swav": (None, "joint", JOINT, 198),
    "deepcluster_v2": (None, "joint", JOINT, 203),
    "byol": (None, "joint", JOINT, 181),
    "simsiam": (None, "joint", JOINT, 189),
    "barlow_twins": (None, "joint", JOINT, 157),
    "vicreg": (None, "joint", JOINT, 165),
    "dino": (3.0, "per-tensor", JOINT, 219),
    "esvit": (3.0, "per-tensor", JOINT, 219),
    "dinov2": (3.0, "per-part", JOINT, 238),
    "ibot": (3.0, "per-tensor", MASKED, 165),
    "igpt": (None, "joint", MASKED, 133),
    "dvae": (None, "joint", MASKED, 142),
    "beit": (3.0, "joint", MASKED, 153),
    "mae": (None, "joint", MASKED, 176),
    "simmim": (5.0, "joint", MASKED, 187),
    "cae": (3.0, "joint", MASKED, 199),
    "milan": (None, "joint", MASKED, 211),
    "maskfeat": (0.02, "joint", MASKED, 221),
    "data2vec": (3.0, "joint", MASKED, 230),
    "eva": (3.0, "joint", MASKED, 236),
    "ijepa": (None, "joint", MASKED, 242),
    "context": (None, "joint", CONTEXT, 57),
    "jigsaw": (None, "joint", CONTEXT, 88),
    "jigsaw_plus": (None, "joint", CONTEXT, 115),
    "pseudo_labels": (None, "joint", CONTEXT, 118),
    "rotnet": (None, "joint", CONTEXT, 135),
    "colorization": (None, "joint", CONTEXT, 160),
    "split_brain": (None, "joint", CONTEXT, 177),
    "context_encoder": (None, "joint", CONTEXT, 200),
    "damaged_jigsaw": (None, "joint", CONTEXT, 219),
    "lci": (None, "joint", CONTEXT, 244),
    "counting": (None, "joint", CONTEXT, 255),
    "deepcluster": (None, "joint", CONTEXT, 267),
}
"""(bound, what is bounded, the card that says so, its line); a bound of None: the method's card knows of none."""
VARIANTS: dict[tuple[str, str], float | None] = {
    ("dino", "vitb16"): 0.3, ("dino", "vitb8"): 0.3, ("dino", "resnet50"): None, ("ibot", "vitb16"): 0.3, ("ibot", "vitl16"): 0.3}
"""Bounds of those that have another than the main run."""


@pytest.mark.parametrize("name", METHODS)
def test_each_method_clips_as_its_paper_or_its_code_does(name: str) -> None:
    assert name in LAWS, f"{name} is a method without a clipping law here: give LAWS its bound, what it bounds, and who says so"
    bound, mode, _, _ = LAWS[name]
    for variant in (None, *method_info(name).variants):
        words = [] if variant is None else [f"variant={variant}"]
        run = read([name, "data=train.tar", *words])[0]
        assert run.clip_grad == VARIANTS.get((name, variant or ""), bound) and run.clip_mode == mode, variant


@pytest.mark.parametrize("name", LAWS)
def test_the_cards_say_so(name: str, shared: Path) -> None:
    bound, mode, card, line = LAWS[name]
    lines = (shared / "methods" / card).read_text().splitlines()
    if bound is not None:
        said = lines[line - 1]
        assert re.search(rf"\bclip \**{bound:g}(?:\.0)?\b", said)
        assert ("per parameter tensor" in said) == (mode == "per-tensor") and ("per sub-network" in said) == (mode == "per-part")
        return
    heads = [number for number, text in enumerate(lines) if text.startswith(("## ", "### "))]
    first = max(number for number in heads if number < line)
    last = min((number for number in heads if number >= line), default=len(lines))
    of_method = "\n".join(lines[first:last])
    assert not re.search(r"(?<!no )(?<!no grad )\bclip\b", of_method)


class Told(Method):
    """Whose gradients are what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(2))
        self.backbone, self.head = nn.Linear(2, 2), nn.Linear(1, 2, bias=False)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": torch.stack([(parameter * batch[name]).sum() for name, parameter in self.named_parameters()]).sum()}


# Norms 10 beside the parts, 3 and 4 and so 5 of the first, 1 of the second: sqrt(126) of all.
GRADIENTS = {"token": [6.0, 8.0], "backbone.weight": [[3.0, 0.0], [0.0, 0.0]], "backbone.bias": [0.0, 4.0],
             "head.weight": [[0.6], [0.8]]}
BOUND, NORM = 2.0, 126**0.5
FACTORS: dict[ClipMode, dict[str, float]] = {
    "joint": dict.fromkeys(GRADIENTS, 2 / 126**0.5),
    "per-part": {"token": 0.2, "backbone.weight": 0.4, "backbone.bias": 0.4, "head.weight": 1.0},
    "per-tensor": {"token": 0.2, "backbone.weight": 2 / 3, "backbone.bias": 0.5, "head.weight": 1.0},
}


def clipped(how: str, mode: ClipMode, bound: float) -> tuple[float, dict[str, list[Any]]]:
    """The norm that is told, and the gradients that are left. Ranks have unlike ones, whose mean is GRADIENTS."""
    method = Told()
    ranks = Ranks(rank(), world_size(), rank(), world_size(), torch.device("cpu"))
    if how == "fsdp":
        shard(method, read(["simclr", "data=train.tar", "parallel=fsdp"])[0], ranks)
    share = 2 * (rank() + 1) / (world_size() + 1)
    model = parallel(method, ranks)
    model({name: share * torch.tensor(value) for name, value in GRADIENTS.items()})["loss"].backward()
    norm = clip(method, bound, mode)
    assert norm is not None
    left = {name: parameter.grad for name, parameter in method.named_parameters() if parameter.grad is not None}
    assert all(isinstance(value, DTensor) for value in left.values()) == (how == "fsdp")
    return float(norm), {name: (value.full_tensor() if isinstance(value, DTensor) else value).tolist()
                         for name, value in left.items()}


def assert_clipped(found: tuple[float, dict[str, list[Any]]], factors: dict[str, float]) -> None:
    norm, left = found
    assert norm == pytest.approx(NORM, rel=1e-5) and left.keys() == factors.keys()
    for name, factor in factors.items():
        torch.testing.assert_close(torch.tensor(left[name]), factor * torch.tensor(GRADIENTS[name]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", FACTORS)
def test_what_is_bounded_is_scaled_and_nothing_else(mode: ClipMode) -> None:
    assert_clipped(clipped("ddp", mode, BOUND), FACTORS[mode])
    assert_clipped(clipped("ddp", mode, 12.0), dict.fromkeys(GRADIENTS, 1.0))


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
@pytest.mark.parametrize("mode", FACTORS)
def test_ranks_bound_the_norm_of_their_mean_gradient(world: World, mode: ClipMode, how: str) -> None:
    """Also where each has a part of every gradient, and the last rank of three none of some."""
    for ranks in (2, 3):
        for found in world(ranks, clipped, how, mode, BOUND):
            assert_clipped(found, FACTORS[mode])
