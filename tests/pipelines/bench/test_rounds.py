"""The order of the rounds and what is paired with what, with arms that only pretend."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from viewmill.pipelines.bench.messages import Taken
from viewmill.pipelines.bench.rounds import Group, measure


class Pretender:
    """Writes down what it is asked; each batch takes `seconds`."""

    def __init__(self, label: str, seconds: float, log: list[Any], ahead: int = 3, batch_size: int = 4) -> None:
        self.label, self.seconds, self.log = label, seconds, log
        self.ready, self.spec = SimpleNamespace(ahead=ahead), SimpleNamespace(batch_size=batch_size)

    def take(self, warm: int, batches: int, busy: bool = False) -> Taken:
        self.log.append((self.label, warm, batches, busy))
        return Taken(self.seconds * batches * (2 if busy else 1), 0.01, 0.02)

    def cpu_seconds(self) -> float:
        return 7.0

    def rest(self, seconds_a_batch: float) -> None:
        self.log.append((f"{self.label} rests", 0, 0, False))


def group(log: list[Any], *seconds: float, batch_size: int = 4) -> Any:
    arms: list[Any] = [Pretender(f"arm {i}", s, log, batch_size=batch_size) for i, s in enumerate(seconds)]
    return Group(Pretender("decode", 1.0, log, ahead=1), arms)  # type: ignore[arg-type]


def test_each_arm_is_paired_with_the_decoding_just_before_it() -> None:
    log: list[Any] = []
    seen = measure([group(log, 2.0, 5.0)], 2, lambda _: 10, True, lambda _: None)
    assert [(r.decode, r.alone, r.busy, r.others) for r in seen["arm 1"]] == [(10.0, 50.0, 100.0, 0.0)] * 2
    assert len(seen["decode"]) == 2
    for at, entry in enumerate(log):
        if entry[0].startswith("arm") and not entry[3] and "rests" not in entry[0]:
            assert log[at - 1] == ("decode", 1, 10, False) and entry == (entry[0], 3, 10, False)
            assert log[at + 1] == (entry[0], 3, 10, True) and log[at + 2][0] == f"{entry[0]} rests"


def test_every_other_round_goes_backwards() -> None:
    log: list[Any] = []
    measure([group(log, 2.0, 5.0)], 2, lambda _: 10, False, lambda _: None)
    assert [name for name, warm, *_ in log if warm == 3] == ["arm 0", "arm 1", "arm 1", "arm 0"]
    assert not any(busy for *_, busy in log)


def test_decoding_in_other_batches_is_scaled_to_the_arms_images() -> None:
    log: list[Any] = []
    seen = measure([group(log, 2.0, batch_size=2)], 1, lambda _: 10, False, lambda _: None)
    assert seen["arm 0"][0].decode == 5.0  # 10 s for 40 images; the arm shows 20
