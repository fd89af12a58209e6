"""The rate of a step: its three landmarks by hand, and the published rules for the batch size."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from viewmill.models.training.config import OptimizerConfig, RunConfig, ScheduleConfig
from viewmill.models.training.schedule import Plan, learning_rate, peak_rate, plan

LARS = OptimizerConfig(name="lars", lr=0.3, scaling="linear", weight_decay=1e-6)


def run_config(**changes: object) -> RunConfig:
    base = RunConfig(method="simclr", data="train.tar", out="out", epochs=10, batch_size=32, recipe="simclr", model=None,
                     optimizer=LARS, schedule=ScheduleConfig(warmup_epochs=2))
    return replace(base, **changes)  # type: ignore[arg-type]


def test_warm_up_is_linear_from_zero_and_the_cosine_ends_at_the_final_rate() -> None:
    rates = [learning_rate(s, total=14, warmup=4, peak=8.0, final=2.0) for s in range(15)]
    assert rates[:5] == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert rates[9] == pytest.approx(5.0)  # half way down: the mean of peak and final
    assert rates[14] == pytest.approx(2.0)
    assert rates[4 + 10 // 3] > 8 - (8 - 2) / 3  # a cosine begins flatter than a line


def test_a_warm_up_may_begin_above_zero() -> None:
    # SwAV at 4096 images: from 0.3 to 4.8 in 10 epochs, to 0.0048 at the end of 100.
    law = ScheduleConfig(warmup_epochs=10, first_lr=0.3, final_lr=0.0048)
    p = plan(run_config(epochs=100, batch_size=4096, schedule=law), images=4096 * 2 + 7)
    assert [p.rate(step) for step in (0, 10, 20, 110, 200)] == pytest.approx([0.3, 2.55, 4.8, (4.8 + 0.0048) / 2, 0.0048])
    steps = ScheduleConfig(warmup_epochs=2, first_lr=2.0, law="steps", steps_at=(3,))
    p = plan(run_config(optimizer=replace(LARS, lr=6.0, scaling="none"), schedule=steps), images=64)
    assert [p.rate(step) for step in range(7)] == pytest.approx([2.0, 3.0, 4.0, 5.0, 6.0, 6.0, 0.6])


def test_a_warm_up_that_would_fall_is_refused() -> None:
    law = ScheduleConfig(warmup_epochs=2, first_lr=0.3)
    with pytest.raises(ValueError, match=r"schedule\.first_lr=0\.3, .* where it ends, here 0\.0375 .*first_lr=0$"):
        plan(run_config(schedule=law), images=64)
    assert plan(run_config(schedule=replace(law, warmup_epochs=0)), images=64).rate(0) == 0.3 * 32 / 256
    with pytest.raises(ValueError, match=r"schedule\.first_lr needs a number of at least 0, got -1"):
        ScheduleConfig(warmup_epochs=2, first_lr=-1)


def test_no_warm_up_starts_at_the_peak() -> None:
    assert learning_rate(0, total=5, warmup=0, peak=0.7) == 0.7


@pytest.mark.parametrize("warmup", [-1, 5, 6])
def test_a_warm_up_outside_the_run_is_refused(warmup: int) -> None:
    with pytest.raises(ValueError, match="0 <= warmup < total"):
        learning_rate(0, total=5, warmup=warmup, peak=1.0)


def test_peak_rates_are_the_papers_own() -> None:
    # SimCLR, appendix B.1: 0.3 * 4096 / 256 and 0.075 * sqrt(4096) are both 4.8; MAE: 1.5e-4 * 4096 / 256 = 2.4e-3.
    assert peak_rate(LARS, 4096) == pytest.approx(4.8)
    assert peak_rate(replace(LARS, lr=0.075, scaling="sqrt"), 4096) == pytest.approx(4.8)
    assert peak_rate(replace(LARS, lr=1.5e-4), 4096) == pytest.approx(2.4e-3)
    assert peak_rate(replace(LARS, lr=0.01, scaling="none"), 4096) == 0.01


def test_the_last_short_batch_of_an_epoch_is_dropped() -> None:
    assert plan(run_config(), images=103) == Plan(steps_per_epoch=3, total=30, warmup=6, peak=0.3 * 32 / 256, final=0.0,
                                                   first_decay=1e-6)


def test_a_cap_of_steps_shortens_the_run_and_the_cosine_with_it() -> None:
    short = plan(run_config(steps=7), images=103)
    assert (short.total, short.warmup) == (7, 6)
    assert plan(run_config(steps=5000), images=103).total == 30
    assert short.rate(7) == pytest.approx(0.0)


def test_a_batch_larger_than_the_data_names_both_and_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"batch_size=32 needs .* data=train.tar has 31; use batch_size=16 or less"):
        plan(run_config(), images=31)


def test_a_cosine_may_fall_where_an_epoch_begins() -> None:
    # MoCo v2's 0.03 (1 + cos(pi epoch / 200)) / 2, of whole epochs; three steps an epoch.
    law = ScheduleConfig(warmup_epochs=0, law="cosine", per="epoch")
    run = run_config(epochs=200, optimizer=OptimizerConfig("sgd", 0.03, "none", 1e-4), schedule=law)
    p = plan(run, images=103)
    for step, epoch in ((0, 0), (2, 0), (3, 1), (5, 1), (300, 100), (302, 100), (599, 199)):
        assert p.rate(step) == pytest.approx(0.03 * (1 + math.cos(math.pi * epoch / 200)) / 2)
    assert p.law == "cosine to 0, epoch by epoch"
    warm = plan(replace(run, schedule=replace(law, warmup_epochs=1.5)), images=103)
    assert [warm.rate(step) for step in range(4)] == pytest.approx([0.03 * step / 4 for step in range(4)])
    assert warm.rate(4) == warm.rate(5) == 0.03 > warm.rate(6) == warm.rate(8)


def test_the_rate_falls_by_a_factor_at_each_given_epoch() -> None:
    # RotNet's table on CIFAR-10: 0.1 until epoch 60, 0.02 until 120, 0.004 until 160, then 0.0008.
    law = ScheduleConfig(warmup_epochs=0, law="steps", steps_at=(60, 120, 160), step_factor=0.2)
    run = run_config(epochs=200, optimizer=OptimizerConfig("nesterov", 0.1, "none", 5e-4), schedule=law)
    p = plan(run, images=103)  # three steps an epoch
    assert (p.total, p.falls) == (600, (180, 360, 480))
    rates = [p.rate(step) for step in (0, 179, 180, 359, 360, 479, 480, 599)]
    assert rates == pytest.approx([0.1, 0.1, 0.02, 0.02, 0.004, 0.004, 0.0008, 0.0008])
    assert p.law == "constant, then times 0.2 from step 180, 360, 480"


def test_each_change_of_the_rate_may_have_a_factor_of_its_own() -> None:
    # Feature decoupling's table: the rate rises again before it falls for the last time.
    law = ScheduleConfig(warmup_epochs=0, law="steps", steps_at=(90, 130, 190, 210, 230), step_factors=(0.1, 0.1, 0.1, 10, 0.1))
    run = run_config(epochs=245, optimizer=OptimizerConfig("nesterov", 0.01, "none", 5e-4), schedule=law)
    p = plan(run, images=32)  # one step an epoch
    rates = [p.rate(step) for step in (0, 89, 90, 129, 130, 189, 190, 209, 210, 229, 230, 244)]
    assert rates == pytest.approx([0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5, 1e-4, 1e-4, 1e-5, 1e-5])
    assert p.law.startswith("constant, then times 0.1 from step 90, ") and "times 10 from step 210" in p.law


def test_a_rate_in_steps_warms_up_first_and_without_steps_stays() -> None:
    law = ScheduleConfig(warmup_epochs=2, law="steps", steps_at=(2.5,), step_factor=0.5)
    p = plan(run_config(optimizer=replace(LARS, lr=6.0, scaling="none"), schedule=law), images=64)  # two steps an epoch
    assert [p.rate(step) for step in range(7)] == pytest.approx([0.0, 1.5, 3.0, 4.5, 6.0, 3.0, 3.0])
    flat = plan(run_config(schedule=ScheduleConfig(0, law="steps")), images=64)
    assert {flat.rate(step) for step in range(20)} == {flat.peak} and flat.law == "constant"


def test_weight_decay_follows_half_a_cosine_over_the_whole_run() -> None:
    # DINO: from 0.04 to 0.4, with no warm-up; a quarter of the way is (1 + cos 45 degrees) / 2 from the end.
    p = plan(run_config(optimizer=replace(LARS, weight_decay=0.04, final_weight_decay=0.4)), images=64)
    assert p.total == 20
    assert p.decay(0) == pytest.approx(0.04) and p.decay(10) == pytest.approx(0.22) and p.decay(20) == pytest.approx(0.4)
    assert p.decay(5) == pytest.approx(0.4 - 0.36 * (1 + math.sqrt(0.5)) / 2)
    constant = plan(run_config(), images=64)
    assert {constant.decay(step) for step in range(20)} == {1e-6}


def test_fractions_of_epochs_are_crossed_once_each() -> None:
    p = Plan(steps_per_epoch=4, total=12, warmup=0, peak=1.0, final=0.0)
    assert [s for s in range(1, 13) if p.crosses(s, 1)] == [4, 8, 12]
    assert [s for s in range(1, 13) if p.crosses(s, 0.5)] == [2, 4, 6, 8, 10, 12]
    assert [s for s in range(1, 13) if p.crosses(s, 1.5)] == [6, 12]
    assert not any(p.crosses(s, 0) for s in range(1, 13))
    assert p.epoch(6) == 1.5 and math.isclose(p.rate(0), 1.0)
