"""What a loop costs: the bare loop beside it does the same work, and pairs are told as they were measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from viewmill import train as training
from viewmill.evaluation.overhead import BareLoop, LoopConfig, in_words, main, measured
from viewmill.models.training import process

from .runs import dino_words, last_state, mae_words


def test_the_bare_loop_takes_the_run_s_own_steps_to_the_bit(shards: Path, tmp_path: Path) -> None:
    words = dino_words(shards, tmp_path, "model.drop_path=0", "steps=7", "clip_grad=1", "report=false")
    config, recipe = training.read(words)
    bare = BareLoop(config, recipe, 80, process.start("cpu"))
    training.train(config, recipe, between=bare)
    kept = last_state(tmp_path)["model"]
    assert all(torch.equal(value, kept[name]) for name, value in bare.method.state_dict().items())
    assert len(bare.bare_s) == 7 and len(bare.loop_s) == 6 and all(0 < ema < whole for ema, whole in
                                                                   zip(bare.ema_s, bare.bare_s, strict=True))


def test_so_many_pairs_are_counted_and_nothing_is_left_behind(shards: Path, tmp_path: Path) -> None:
    run, recipe = training.read(mae_words(shards, tmp_path / "out", "epochs=1"))
    found = measured(LoopConfig(pairs=3), run, recipe, training.train)
    assert {name: len(values) for name, values in found.items()} == {"loop_s": 3, "bare_s": 3, "ema_s": 3}
    assert min(found["loop_s"]) > 0 and not (tmp_path / "out").exists()


def test_the_median_of_the_pairs_own_ratios_is_told() -> None:
    told = in_words({"loop_s": [1.1, 2.1, 0.5, 4.2], "bare_s": [1.0, 2.0, 0.5, 4.0], "ema_s": [0.01, 0.04, 0.01, 0.04]})
    # Ratios 1.1, 1.05, 1, 1.05; shares 0.01, 0.02, 0.02, 0.01.
    assert told.splitlines() == [
        "pairs      4, of steps of 1,500 ms (bare, median)",
        "loop       1.050 times a bare loop's step (median of the pairs; middle half 1.050 to 1.100)",
        "averages   1.50% of a bare step come after the optimizer's update: teachers that follow"]
    assert in_words({"loop_s": [0.2], "bare_s": [0.2], "ema_s": [0.0]}).endswith("a larger batch_size= says more")


def test_what_a_bare_loop_cannot_do_is_refused() -> None:
    words = ["mae", "data=x.tar", "recipe=mae_cifar", "accumulate=2"]
    with pytest.raises(ValueError, match="a bare loop takes a batch in one pass and scales no loss"):
        main(words, training.read, training.train)
    with pytest.raises(ValueError, match="pairs needs a whole number of at least 1, got 0"):
        main([*words, "pairs=0"], training.read, training.train)
