"""What a bench of methods is asked for, and the part of the training pictures by which settings are chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from viewmill.evaluation.scoreboard.settings import Arm, BenchConfig, manual, parts, read
from viewmill.models import METHODS

DATA = ("data=a-*.tar", "test_data=b-*.tar")


def test_a_method_trains_by_its_small_run_then_what_is_said_for_all_then_for_it() -> None:
    settings = read(["mae", "simclr", *DATA, "simclr.optimizer.lr=1e-3", "train.steps=9", "seeds=2"])
    assert settings.config.seeds == 2
    assert settings.arms == (
        Arm("mae", "mae", ("recipe=mae_cifar", *METHODS["mae"].small, "steps=9"), "mae"),
        Arm("simclr", "simclr", ("recipe=simclr_cifar", *METHODS["simclr"].small, "steps=9", "optimizer.lr=1e-3"), "simclr"))


def test_without_a_name_all_methods_are_meant_that_need_no_file_of_another() -> None:
    assert [arm.name for arm in read(list(DATA)).arms] == [name for name in METHODS if name != "pseudo_labels"]
    assert [arm.name for arm in read(["pseudo_labels", *DATA, "pseudo_labels.model.labels=a.npy"]).arms] == ["pseudo_labels"]


def test_keys_of_the_protocols_are_keys_of_the_bench() -> None:
    config = read(["simclr", *DATA, "knn.k=[5]", "linear.epochs=3", "protocols=[knn]", "finetune.lr=0.1"]).config
    assert (config.knn.k, config.linear.epochs, config.finetune.lr, config.protocols) == ((5,), 3, 0.1, ("knn",))


@pytest.mark.parametrize(("words", "message"), [
    (["simklr", *DATA], "unknown method 'simklr'; did you mean 'simclr'"),
    (["simclr", "test_data=b.tar"], "needs labelled pictures: data=PATTERN"),
    (["simclr", "data=a.tar"], "needs labelled pictures: test_data=PATTERN"),
    (["simclr", *DATA, "sedes=2"], "unknown key 'sedes'.*seeds"),
    (["simclr", *DATA, "mae.steps=2"], "unknown key 'mae.steps'"),  # which is not benched
    (["simclr", *DATA, "seeds=0"], "seeds needs a whole number of at least 1, got 0"),
    (["simclr", *DATA, "protocols=[kmn]"], "protocols has no 'kmn'.*knn"),
    (["simclr", *DATA, "split=val"], "split needs one of"),
    (["simclr", *DATA, "--fast"], "unknown option '--fast'"),
])
def test_what_makes_no_sense_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(words)
    assert "\n" not in str(caught.value)


def test_settings_are_chosen_on_the_last_tenth_of_the_training_shards_alone(tmp_path: Path) -> None:
    shards = [tmp_path / f"train-{number:02d}.tar" for number in range(20)]
    for shard in shards:
        shard.touch()
    train, test = parts(BenchConfig(data=f"{tmp_path}/train-*.tar", test_data="never opened", split="dev"))
    assert [*train, *test] == [str(shard) for shard in shards] and test == [str(shards[-2]), str(shards[-1])]
    train, test = parts(BenchConfig(data=[str(shard) for shard in shards[:3]], test_data=None, split="dev"))
    assert (train, test) == ([str(shards[0]), str(shards[1])], [str(shards[2])])
    with pytest.raises(ValueError, match="split=dev holds out a tenth of the training shards"):
        parts(BenchConfig(data=str(shards[0]), test_data=None, split="dev"))
    assert parts(BenchConfig(data="a", test_data="b")) == ("a", "b")


def test_the_manual_says_how_each_method_is_judged() -> None:
    said = manual()
    for name, info in METHODS.items():
        assert f"{name:<12} {info.metric}" in said
    assert "linear.epochs=10" in said and "finetune_images=5000" in said  # the bench's own defaults
