"""Steps that would spoil a run are skipped, or rewound, and the rest is the run without them, to the bit."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from viewmill import train as training
from viewmill.models.simclr import SimCLR
from viewmill.models.training import checkpoint, learner, metrics
from viewmill.models.training.errors import RunFailure

from .runs import NOISY, assert_same_run, last_state, leaves, run, two_ranks, words
from .test_resume import signalled_at

# At the steps BAD a rank's views are not numbers. Without a rank to do so the steps are left out by other means: nothing goes
# through the network, nothing is learnt, and DRAWS says whether the generator moves as it would have.
POISON = """
import os
import torch
from viewmill.models.simclr import SimCLR
from viewmill.models.training import learner
BAD, POISONED, DRAWS, SCALE = {bad}, {poisoned}, {draws}, {scale}
calls = [0]
good, learn = SimCLR.forward, learner.learn
def forward(self, batch):
    calls[0] += 1
    if calls[0] not in BAD:
        return good(self, batch)
    if not POISONED:
        if DRAWS:
            torch.rand(())
        return {{"loss": torch.ones(())}}
    if SCALE is None and os.environ.get("RANK", "1") == "1":
        for views in batch.views.values():
            views.fill_(float("nan"))
    values = good(self, batch)
    return values if SCALE is None else {{**values, "loss": values["loss"] * SCALE}}
SimCLR.forward = forward
learner.learn = lambda *given, **named: None if calls[0] in BAD and not POISONED else learn(*given, **named)
"""


def poison(*bad: int, poisoned: bool = True, draws: bool = True, scale: float | None = None) -> str:
    return POISON.format(bad=bad, poisoned=poisoned, draws=draws, scale=scale)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs such a text in this process, until the next one."""
    monkeypatch.setattr(SimCLR, "forward", SimCLR.forward)
    monkeypatch.setattr(learner, "learn", learner.learn)
    before = SimCLR.forward, learner.learn

    def use(text: str) -> None:
        SimCLR.forward, learner.learn = before  # type: ignore[method-assign]
        exec(text, {})

    return use


def moved(state: dict[str, Any]) -> dict[str, Any]:
    return leaves({name: state[name] for name in ("model", "optimizer", "loader", "random")})


def assert_same_state(one: dict[str, Any], two: dict[str, Any]) -> None:
    a, b = moved(one), moved(two)
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]) if isinstance(value, torch.Tensor) else value == b[name], name


def events(out: Path) -> list[dict[str, Any]]:
    return [row for row in metrics.read(out / "metrics.jsonl") if "refused_loss" in row]


@pytest.mark.parametrize("accumulate", ["1", "2"])
def test_a_skipped_batch_moves_nothing_and_is_counted(shards: Path, tmp_path: Path, now: Any, accumulate: str,
                                                      monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
                                                      ) -> None:
    monkeypatch.setattr(SimCLR, "whole_batch", None)  # so that it may go through in parts here
    bad = (4, 5) if accumulate == "1" else (7, 8, 9, 10)  # parts are calls
    now(poison(*bad))
    run(shards, tmp_path / "skip", "epochs=2", "steps=8", "faults.nan=skip", f"accumulate={accumulate}")
    said = capsys.readouterr().out
    assert "step 4: the loss is not finite; its batch moved nothing, and the run goes on behind it" in said
    now(poison(*bad, poisoned=False))
    monkeypatch.setattr(torch.Tensor, "backward", quiet(torch.Tensor.backward))
    run(shards, tmp_path / "absent", "epochs=2", "steps=8", f"accumulate={accumulate}")
    assert_same_state(last_state(tmp_path / "skip"), last_state(tmp_path / "absent"))
    found = [(row["step"], row["skipped"], row["refused_loss"]) for row in events(tmp_path / "skip")]
    assert found == [(4, 1, None), (5, 2, None)]
    rows = [row for row in metrics.read(tmp_path / "skip" / "metrics.jsonl") if "loss" in row]
    assert [row["step"] for row in rows] == list(range(1, 9)) and rows[-1]["skipped"] == 2
    assert [row["loss"] is None for row in rows] == [step in (4, 5) for step in range(1, 9)]


def quiet(backward: Any) -> Any:
    """Backward, also of what no weight had a part in."""
    def call(self: torch.Tensor, *given: Any, **named: Any) -> None:
        if self.requires_grad:
            backward(self, *given, **named)

    return call


def test_a_spike_is_skipped(shards: Path, tmp_path: Path, now: Any) -> None:
    common = ["epochs=3", "steps=10"]
    now(poison(8, scale=50.0))
    run(shards, tmp_path / "skip", *common, "faults.spike=30", "faults.window=6")
    now(poison(8, poisoned=False))
    run(shards, tmp_path / "absent", *common)
    assert_same_state(last_state(tmp_path / "skip"), last_state(tmp_path / "absent"))
    (event,) = events(tmp_path / "skip")
    assert (event["step"], event["skipped"], event["rewound"]) == (8, 1, 0) and event["refused_loss"] > 50


def test_a_rewind_takes_the_weights_of_the_last_checkpoint_behind_the_batch(shards: Path, tmp_path: Path, now: Any,
                                                                            capsys: pytest.CaptureFixture[str]) -> None:
    common = ["epochs=3", "checkpoint.steps=3", "checkpoint.keep=9"]
    now(poison(8))
    run(shards, tmp_path / "back", *common, "steps=12", "faults.nan=rewind")
    assert "step 8: the loss is not finite; weights are those of step 6 again, and the run goes on behind step 8" in (
        capsys.readouterr().out)
    now(poison(7, 8, poisoned=False, draws=False))
    run(shards, tmp_path / "absent", *common, "steps=12")
    assert_same_state(last_state(tmp_path / "back"), last_state(tmp_path / "absent"))
    (event,) = events(tmp_path / "back")
    assert (event["step"], event["rewound"], event["rewound_to"]) == (8, 1, 6)
    rows = [row["step"] for row in metrics.read(tmp_path / "back" / "metrics.jsonl") if "loss" in row]
    assert rows == list(range(1, 13))


def test_before_any_other_checkpoint_a_rewind_leads_to_the_first_weights_and_not_for_ever(shards: Path, tmp_path: Path,
                                                                                           now: Any) -> None:
    now(poison(2, 4, 5))
    with pytest.raises(RunFailure, match=r"^step 5: the loss is not finite, after 2 rewinds, and faults\.rewinds=2; the last"):
        run(shards, tmp_path, "epochs=3", "faults.nan=rewind", "faults.rewinds=2")
    assert [(row["step"], row["rewound_to"]) for row in events(tmp_path)] == [(2, 0), (4, 0)]
    assert [path.name for path in checkpoint.written(tmp_path / "checkpoints")] == ["step-00000000.pt"]


def test_what_was_skipped_is_known_after_a_resume(shards: Path, tmp_path: Path, now: Any,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    common = ["epochs=2", "faults.nan=skip", "faults.spike=1e6", "faults.window=3"]
    now(poison(4))
    run(shards, tmp_path / "whole", *common)
    now(poison(4))
    with monkeypatch.context() as during:
        signalled_at(6, signal.SIGTERM, during)
        run(shards, tmp_path / "parts", *common)
    run(shards, tmp_path / "parts", *common)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert last_state(tmp_path / "parts")["guard"]["skipped"] == 1 and len(last_state(tmp_path / "parts")["guard"]["losses"]) == 3


MAIN = "\nimport sys\nfrom viewmill.train import main\nsys.exit(main(sys.argv[1:]))\n"


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["skip", "rewind"])
def test_ranks_decide_alike_where_one_has_a_bad_batch(shards: Path, tmp_path: Path, policy: str) -> None:
    common = ["epochs=2", "steps=6", "checkpoint.steps=3"]
    bad, absent = poison(5), poison(*((5,) if policy == "skip" else (4, 5)), poisoned=False, draws=policy == "skip")
    for name, text, more in (("kept", bad, [f"faults.nan={policy}"]), ("absent", absent, [])):
        program = NOISY + text + MAIN
        processes = two_ranks(words(shards, tmp_path / name, *common, *more), {0: program, 1: program})
        ends = [process.communicate(timeout=600) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], ends
    assert_same_state(last_state(tmp_path / "kept"), last_state(tmp_path / "absent"))
    assert [row["step"] for row in events(tmp_path / "kept")] == [5]


def test_a_policy_that_is_none_is_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^faults\.nan .*ignore"):
        training.read(words(shards, tmp_path, "faults.nan=ignore"))
