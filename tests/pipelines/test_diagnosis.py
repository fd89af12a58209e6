"""The verdict on numbers made up by hand: which ceiling binds, what training can reach, what is worth changing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from viewmill.pipelines.diagnosis import Ceilings, Setup, Trial, bound, diagnose, supply

ON_A_GPU = Setup(cores=8, render_threads=8, torch_threads=4, on_cpu=False, engine="cpu")
SHARED = Setup(cores=2, render_threads=2, torch_threads=2, on_cpu=True, engine="cpu")
FAST: dict[str, Any] = {"read_warm": 1e4, "read_cold": 5e3, "decode": 1000.0, "render": 1000.0, "views": 500.0,
                        "copy": 1e5, "step": 1000.0}


def ceilings(**changed: float | None) -> Ceilings:
    return Ceilings(**{**FAST, **changed})


@pytest.mark.parametrize(("changed", "binding"), [
    ({"read_warm": 50.0, "views": 45.0}, "read"),
    ({"decode": 50.0, "views": 45.0}, "decode"),
    ({"render": 50.0, "views": 45.0}, "render"),
    ({"copy": 50.0}, "copy"),
    ({"step": 50.0}, "step"),
    ({"decode": None, "render": None, "views": 45.0}, "views"),
    ({"decode": None, "render": None, "read_warm": 50.0, "views": 55.0}, "read"),
])
def test_the_lowest_ceiling_binds(changed: dict[str, float | None], binding: str) -> None:
    assert diagnose(ceilings(**changed), ON_A_GPU).binding == binding


def test_where_the_step_binds_nothing_is_recommended_and_the_headroom_is_said() -> None:
    found = diagnose(ceilings(step=50.0), ON_A_GPU, [Trial("loader.engine=dali", 5000.0)])
    assert (found.bound, found.most, found.headroom, found.recommendations) == (50.0, 1.0, 10.0, ())
    assert not found.data_limits
    assert found.verdict == ("the model step binds, at 50.0 images/s: data is not what limits. Views come at 500 images/s, 10.0 "
                             "times that; if views cost nothing, training would be 1.00 times as fast.",)


def test_less_than_a_tenth_to_gain_is_nothing_to_recommend() -> None:
    # 1 / (1/1250 + 1/100) = 92.6: free views would bring 8 %, and what was tried nearly that.
    found = diagnose(ceilings(views=1250.0, step=100.0), SHARED, [Trial("x", 1e6)])
    assert found.most == pytest.approx(1.08) and found.recommendations == () and "data is not what limits" in found.verdict[0]


def test_a_slow_part_is_named_with_its_rate_and_what_free_views_would_bring() -> None:
    found = diagnose(ceilings(render=50.0, views=40.0), ON_A_GPU)
    assert (found.bound, found.most) == (40.0, 25.0)
    assert found.verdict[0] == ("rendering binds, at 50.0 images/s: views come at 40.0 images/s, the model could take 1,000; if "
                                "views cost nothing, training would be 25.00 times as fast.")
    assert found.verdict[1].startswith("nothing that was tried helps")


@pytest.mark.parametrize(("cores", "render", "torch", "on_cpu", "expected"), [
    (2, 2, 2, True, 80.0),  # 1 / (1/400 + 1/100)
    (2, 1, 2, True, 88.9),  # 2 / (1/400 + 2/100)
    (2, 1, 1, True, 100.0),  # a core for each: the lower
    (2, 2, 2, False, 100.0),  # the step is elsewhere
    (4, 4, 4, True, 80.0),
])
def test_on_shared_cores_both_costs_add_up(cores: int, render: int, torch: int, on_cpu: bool, expected: float) -> None:
    setup = Setup(cores, render, torch, on_cpu, "cpu")
    assert bound(400.0, 100.0, setup) == pytest.approx(expected, rel=1e-3)


def test_a_step_that_is_lowest_but_shares_its_cores_with_costly_views_still_gets_advice() -> None:
    # 2/100 + 2/100 core-seconds an image on 2 cores: 50 images/s, half of them for views.
    found = diagnose(ceilings(views=100.0, step=100.0), SHARED, [Trial("x", 300.0)])
    assert (found.binding, found.bound, found.most, found.data_limits) == ("step", 50.0, 2.0, True)
    assert "take 50% of the same cores' time" in found.verdict[0]
    assert "share 2 cores (2 rendering and 2 torch threads)" in found.verdict[1]
    assert found.recommendations[0].gain == pytest.approx(1.5)  # 2 / (2/300 + 2/100) = 75


def test_storage_time_comes_on_top_where_the_data_do_not_fit_into_memory() -> None:
    large = replace(ON_A_GPU, data_bytes=100 * 2.0**30, memory_bytes=10 * 2.0**30)
    slow = ceilings(read_warm=1000.0, read_cold=50.0, views=100.0)
    assert supply(slow, large) == pytest.approx(1 / (0.01 + 0.02 - 0.001))
    assert supply(slow, ON_A_GPU) == 100.0
    assert supply(replace(slow, read_cold=None), large) == 100.0
    assert supply(slow, large, read_bytes=0.25) == pytest.approx(1 / (0.01 + 0.005 - 0.001))
    found = diagnose(slow, large)
    assert found.binding == "read" and "binds, at 50.0 images/s" in found.verdict[0]
    assert "about 100.0 GiB, do not fit into 10.0 GiB of memory, so the cold read counts." in found.verdict[1]
    assert "no cold read could be shown" in diagnose(replace(slow, read_cold=None), large).verdict[1]


def test_where_they_fit_only_the_first_epoch_reads_from_storage() -> None:
    found = diagnose(ceilings(read_cold=20.0, step=100.0), ON_A_GPU)
    assert found.binding == "step" and found.verdict[1] == (
        "in the first epoch, before the files are in memory, reading binds: 20.0 images/s.")


def test_what_was_tried_is_recommended_by_its_measured_gain_best_first_and_not_for_a_few_per_cent() -> None:
    now = ceilings(decode=100.0, views=90.0, step=360.0, together=80.0, data_wait=0.7)
    found = diagnose(now, ON_A_GPU, [Trial("little", 93.0), Trial("scaled", 180.0, pixels=True), Trial("dali", 900.0),
                                     Trial("prefetch", together=88.0)])
    assert [(each.change, each.how) for each in found.recommendations] == [
        ("dali", "measured"), ("scaled", "measured"), ("prefetch", "measured")]
    assert [each.gain for each in found.recommendations] == pytest.approx([4.0, 2.0, 1.1])  # 360, 180 of 90; 88 of 80
    assert found.recommendations[0].because == "views 900 images/s instead of 90.0"
    assert found.recommendations[1].because.endswith("; other pixels than now")
    assert found.recommendations[2].because == "real steps 88.0 images/s instead of 80.0"


def test_real_steps_say_more_than_a_bound() -> None:
    now = ceilings(decode=100.0, views=90.0, together=80.0)
    found = diagnose(now, ON_A_GPU, [Trial("a", 900.0, together=88.0), Trial("b", 900.0, together=80.0)])
    assert [(each.change, each.gain) for each in found.recommendations] == [("a", 1.1)]
    assert found.recommendations[0].because == (
        "real steps 88.0 images/s instead of 80.0, views 900 images/s instead of 90.0")


def test_more_rendering_threads_are_worth_what_the_cores_still_have() -> None:
    setup = replace(SHARED, render_threads=1)
    found = diagnose(ceilings(views=100.0, step=1000.0), setup, [Trial("loader.threads=2", 200.0, render_threads=2)])
    assert found.bound == 100.0  # below 2 / (1/100 + 2/1000) = 167
    assert found.recommendations[0].gain == pytest.approx(1.6667, rel=1e-3)  # 2 / (2/200 + 2/1000) = 167


def test_a_loader_that_reads_ahead_is_limited_by_the_slower_of_reading_and_making() -> None:
    large = replace(ON_A_GPU, reads_ahead=True, data_bytes=2.0**40, memory_bytes=2.0**30)
    slow = ceilings(read_warm=1000.0, read_cold=50.0, views=100.0)
    assert supply(slow, large) == 50.0 and supply(slow, large, read_bytes=0.25) == 100.0
    assert supply(replace(slow, read_cold=400.0), large) == 100.0
    (only,) = diagnose(slow, large).recommendations
    assert only.change.startswith("memory for all data, 1,024.0 GiB") and (only.gain, only.how) == (2.0, "computed")
    assert only.because == "views 100 images/s from memory, from the second epoch on"
    assert diagnose(slow, replace(large, data_bytes=0.0)).recommendations == ()  # they fit


def test_smaller_files_are_also_read_faster() -> None:
    large = replace(ON_A_GPU, data_bytes=2.0**40, memory_bytes=2.0**30)
    found = diagnose(ceilings(read_warm=1e6, read_cold=50.0, views=100.0), large, [Trial("packed", 100.0, read_bytes=0.1)])
    # 1 / (0.01 + 0.02) = 33.3 before, 1 / (0.01 + 0.002) = 83.3 after; with all in memory 100.
    assert [each.gain for each in found.recommendations] == pytest.approx([3.0, 2.5], rel=1e-3)
