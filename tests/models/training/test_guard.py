"""What counts as a spike, what a forward pass may have moved, and what of it is put back."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from viewmill.models.memory_bank import MemoryBank
from viewmill.models.training.config import FaultsConfig
from viewmill.models.training.errors import RunFailure
from viewmill.models.training.guard import Before, Guard, leaps
from viewmill.models.training.process import World
from viewmill.models.vector_quantizer import VectorQuantizer

ALONE = World(0, 1, 0, 1, torch.device("cpu"))


def test_a_spike_lies_so_many_spreads_above_the_median() -> None:
    # Median 3, distances 2 1 0 1 7, their median 1: a spread of 1.4826, and 4 of them above 3 is 8.9304.
    before, config = deque([1.0, 2.0, 3.0, 4.0, 10.0]), FaultsConfig(spike=4, window=5)
    assert leaps(8.93, before, config) == ""
    assert leaps(8.94, before, config) == ("the loss of 8.94 lies more than 4 spreads of 1.5 above 3, the median of the last 5")
    assert leaps(-100, before, config) == ""  # a fall is none
    assert leaps(100, before, replace(config, window=6)) == ""  # too few to tell
    assert leaps(100, before, replace(config, spike=None)) == ""
    # SimSiam's losses are below 0; where nothing moves, the spread is a hundredth of the median.
    still = deque([-0.9] * 5)
    assert leaps(-0.865, still, config) == "" and leaps(-0.863, still, config).startswith("the loss of -0.863 lies")


@pytest.mark.parametrize(("fields", "message"), [
    ({"spike": 0}, r"faults\.spike needs a number above 0, got 0"),
    ({"window": 1}, r"faults\.window needs a number of at least 2, got 1"),
    ({"in_a_row": 0}, r"faults\.in_a_row needs a number of at least 1, got 0"),
    ({"rewinds": -1}, r"faults\.rewinds needs a number of at least 0, got -1"),
])
def test_numbers_out_of_range_are_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FaultsConfig(**fields)  # type: ignore[arg-type]


class Kinds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.entries = nn.BatchNorm1d(3), VectorQuantizer(4, 3, 0.9)
        self.bank = MemoryBank(5, 3, negatives=2, temperature=0.07)
        self.learned = nn.Linear(3, 3)


def test_what_a_batch_moved_on_its_way_is_put_back() -> None:
    torch.manual_seed(0)
    module = Kinds()
    before = Before(module)
    names = {**dict(module.named_buffers()), "entries.weight": module.entries.weight}
    old = {name: value.clone() for name, value in names.items()}
    notes = {name: value for name, value in vars(module.bank).items() if isinstance(value, float | int | bool)}
    before.take()
    with torch.no_grad():
        module.norm(torch.full((4, 3), math.nan))
        module.bank.rows.write(torch.tensor([1]), torch.full((1, 3), math.nan))
        module.entries.weight.fill_(math.nan)
        module.bank.__dict__.update({name: type(value)(7) for name, value in notes.items() if name != "training"})
        module.learned.weight.fill_(3.0)
    assert not torch.equal(module.norm.running_mean, old["norm.running_mean"])
    before.put_back()
    now = {**dict(module.named_buffers()), "entries.weight": module.entries.weight}
    assert len(old) > 6 and all(torch.equal(now[name], value) for name, value in old.items())
    assert {name: vars(module.bank)[name] for name in notes} == notes and len(notes) > 1
    assert bool((module.learned.weight == 3).all())  # not a forward pass's business


def guard(out: Path, **fields: object) -> tuple[Guard, nn.Module]:
    module = nn.Linear(2, 1)
    return Guard(FaultsConfig(**fields), ALONE, module, out), module  # type: ignore[arg-type]


def test_more_in_a_row_than_that_end_the_run_and_one_good_step_begins_anew(tmp_path: Path) -> None:
    looking, _ = guard(tmp_path, nan="skip", in_a_row=2)
    nan, good = torch.tensor(math.nan), torch.tensor(1.0)
    assert [looking.judge(each, step) for step, each in enumerate((nan, nan))] == ["skip", "skip"]
    assert looking.judge(good, 3) == ""
    looking.accept()
    assert [looking.judge(nan, 4), looking.judge(nan, 5)] == ["skip", "skip"]
    assert looking.counts() == {"skipped": 4.0, "rewound": 0.0}
    again, _ = guard(tmp_path, nan="skip", in_a_row=2)
    again.load_state_dict(looking.state_dict())  # as after a resume
    said = r"^step 6: the loss is not finite, after 2 in a row that were skipped, and faults\.in_a_row=2;"
    with pytest.raises(RunFailure, match=said):
        again.judge(nan, 6)


def test_a_gradient_that_is_not_finite_is_noticed_with_a_finite_loss(tmp_path: Path) -> None:
    looking, module = guard(tmp_path, nan="skip")
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert looking.judge_gradients(1) == ""
    next(module.parameters()).grad[0, 1] = math.inf  # type: ignore[index]
    assert looking.judge_gradients(2) == "skip" and looking.reason == "step 2: a gradient is not finite"


def test_a_spike_may_end_the_run(tmp_path: Path) -> None:
    looking, _ = guard(tmp_path, spike=5.0, at_spike="stop", window=2)
    for step in (1, 2):
        assert looking.judge(torch.tensor(1.0), step) == ""
        looking.accept()
    with pytest.raises(RunFailure, match=r"^step 3: the loss of 1\.1 lies more than 5 spreads .*; no checkpoint had been"):
        looking.judge(torch.tensor(1.1), 3)
