"""What a run says about its time: shares of waiting, and one warning where they pass a budget."""

from __future__ import annotations

import logging

import pytest
import torch
from viewmill.models.training.progress import Meter, Progress, Waiting, Watch


def lap(steps: int, waited_s: float, total_s: float) -> Meter:
    meter = Meter()
    meter.add(0, waited_s, total_s, steps)
    return meter


def test_the_warm_up_is_not_judged_and_a_window_has_steps_and_seconds() -> None:
    watch = Watch(0.1)
    assert watch.add(lap(10, 90.0, 100.0)) == 0  # ten steps of warm-up, all but waiting
    assert watch.add(lap(19, 90.0, 100.0)) == 0  # too few steps
    assert watch.add(lap(1, 0.0, 100.0)) == 0.45  # 20 steps: 90 of 200 seconds
    quick = Watch(0.1)
    quick.add(lap(10, 0.0, 1.0))
    assert quick.add(lap(500, 8.0, 9.0)) == 0  # steps enough, but a second too short
    assert quick.add(lap(1, 0.0, 1.0)) == 0.8


def test_each_window_stands_for_itself_and_a_budget_kept_is_silent() -> None:
    watch = Watch(0.25)
    watch.add(lap(10, 0.0, 1.0))
    assert [watch.add(lap(20, waited, 12.0)) for waited in (3.0, 0.0, 6.0)] == [0, 0, 0.5]  # 3 of 12 is the budget, not above


def test_it_is_said_once() -> None:
    watch = Watch(0.1)
    watch.add(lap(10, 0.0, 1.0))
    assert watch.add(lap(20, 12.0, 12.0)) == 1.0
    watch.stop()
    assert [watch.add(lap(20, 12.0, 12.0)) for _ in range(3)] == [0, 0, 0]


def test_a_budget_of_one_never_warns() -> None:
    watch = Watch(1.0)
    assert [watch.add(lap(20, 12.0, 12.0)) for _ in range(4)] == [0, 0, 0, 0]


def test_on_the_cpu_what_the_loop_waits_is_known_at_once() -> None:
    waiting = Waiting(torch.device("cpu"))
    waiting.arrived(0.3)
    waiting.launched()
    assert (waiting.settle(True), waiting.settle(True)) == (0.3, 0.0)


class Event:
    """A moment of a device's own clock, in ms, given when it is recorded."""

    clock = 0.0

    def record(self) -> None:
        self.at = Event.clock

    def elapsed_time(self, later: Event) -> float:
        return later.at - self.at


def test_on_cuda_waiting_counts_only_while_the_device_is_idle() -> None:
    waiting = Waiting(torch.device("cuda"), Event)

    def step(waited_s: float, arrives_ms: float, ends_ms: float) -> None:
        Event.clock = arrives_ms
        waiting.arrived(waited_s)
        Event.clock = ends_ms
        waiting.launched()

    step(0.5, 500, 600)  # the first: nothing came before it
    step(0.4, 600, 700)  # the loop waited 0.4 s, the device not at all: the batch came as it ended
    step(0.4, 900, 950)  # idle from 700 to 900
    step(0.1, 1450, 1500)  # idle for 0.5 s, but only 0.1 s of it for want of a batch
    assert waiting.settle(False) == 0.5
    assert waiting.settle(True) == pytest.approx(0.0 + 0.2 + 0.1)
    assert waiting.settle(True) == 0


def test_a_warning_is_one_line_shown_and_logged_where_logging_is_set_up(
        capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    Progress("x", 1, 0).warn("it waits")
    assert capsys.readouterr().out == "it waits\n" and caplog.messages == ["it waits"]
    Progress("x", 1, 0, shown=False).warn("rank 1 is silent")
    assert capsys.readouterr().out == "" and len(caplog.messages) == 1


def test_without_logging_it_is_not_printed_twice(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.Logger, "hasHandlers", lambda self: False)
    Progress("x", 1, 0).warn("it waits")
    assert capsys.readouterr() == ("it waits\n", "")
