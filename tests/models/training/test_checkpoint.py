"""A checkpoint is whole or absent, comes back to the bit, and is refused by a run it does not fit."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from viewmill.models.training import checkpoint
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer, set_rate

RUN = {"method": "simclr", "seed": 1, "batch_size": 64, "model": {"backbone": "resnet18", "dim": 128},
       "optimizer": {"name": "lars", "lr": 0.3}, "epochs": 5}
RECIPE = {"name": "simclr", "views": []}


def state(step: int, **changes: Any) -> dict[str, Any]:
    return {"method": "simclr", "step": step, "config": RUN, "recipe": RECIPE, "draw_version": 1,
            "model": {"w": torch.arange(3.0)}, "random": [checkpoint.random_state()], **changes}


def test_saved_state_loads_with_weights_only_and_the_pointer_names_it(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, state(7), keep=2)
    assert path.name == "step-00000007.pt" and (tmp_path / "last").read_text().strip() == path.name
    raw = torch.load(path, weights_only=True)
    assert raw["step"] == 7 and torch.equal(raw["model"]["w"], torch.tensor([0.0, 1.0, 2.0]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last", "step-00000007.pt"]  # nothing temporary left


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        checkpoint.save(tmp_path, state(step), keep=2)
    assert [p.name for p in checkpoint.written(tmp_path)] == ["step-00000003.pt", "step-00000004.pt"]


def test_a_write_that_fails_leaves_the_old_checkpoint_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, state(1), keep=1)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(tmp_path, state(2), keep=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last", "step-00000001.pt"]


def test_auto_takes_the_newest_whole_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    assert checkpoint.find(tmp_path, "auto") is None
    checkpoint.save(folder, state(1), keep=5)
    newest = checkpoint.save(folder, state(2), keep=5)
    newest.write_bytes(newest.read_bytes()[:200])
    found = checkpoint.find(tmp_path, "auto")
    assert found is not None and found[1]["step"] == 1


def spoil(path: Path, how: str) -> None:
    whole = path.read_bytes()
    middle = whole.index(torch.arange(3.0).numpy().tobytes())  # the weights
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:]
    path.write_bytes({"flipped": flipped, "cut off": whole[:-20], "empty": b"", "foreign": b"of another program" * 99}[how])


NO_ARCHIVE = r"\(cut off, or of another program\)"


@pytest.mark.parametrize(("how", "reason"), [("flipped", r"\(the checksum of \S+ does not match\)"), ("empty", NO_ARCHIVE),
                                             ("cut off", NO_ARCHIVE), ("foreign", NO_ARCHIVE)])
def test_a_damaged_newest_is_passed_over_aloud_and_one_line_says_that_none_is_whole(
        tmp_path: Path, how: str, reason: str) -> None:
    paths = [checkpoint.save(tmp_path / "checkpoints", state(step), keep=5) for step in (1, 2, 3)]
    said: list[str] = []
    spoil(paths[2], how)
    found = checkpoint.find(tmp_path, "auto", said.append)
    assert found is not None and (found[0], found[1]["step"]) == (paths[1], 2)
    (line,) = said
    assert re.search(rf"step-00000003\.pt is not a whole checkpoint of viewmill {reason}", line), line
    assert line.endswith("; the last good one, step-00000002.pt, is used")
    for path in paths[:2]:
        spoil(path, how)
    with pytest.raises(ValueError, match=rf"step-00000003\.pt .* {reason}; .*; none of the 2 before it is whole") as caught:
        checkpoint.find(tmp_path, "auto", said.append)
    assert "\n" not in str(caught.value) and len(said) == 1


def test_readers_say_it_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (1, 2):
        path = checkpoint.save(tmp_path / "checkpoints", state(step), keep=5)
    spoil(path, "flipped")
    checkpoint.find(tmp_path, "auto")
    assert capsys.readouterr().err.startswith(f"viewmill: {path} is not a whole checkpoint")


def test_whichever_bit_flips_what_is_read_is_what_was_written_or_nothing(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, {"method": "simclr", "step": 1, "model": {"w": torch.arange(3.0)}}, keep=1)
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1:])
        try:
            read = checkpoint.load(path)
        except ValueError:
            refused += 1
        else:
            assert read["step"] == 1 and read["model"]["w"].tolist() == [0.0, 1.0, 2.0], place
    assert refused > 100  # the rest pads


def test_what_is_newer_than_the_newest_written_costs_no_good_one_its_place(tmp_path: Path) -> None:
    """A run that goes on from step 5, since step 9 was damaged, keeps 7 when that is written."""
    for step in (5, 9, 7):
        path = checkpoint.save(tmp_path, state(step), keep=1)
    assert path.name == (tmp_path / "last").read_text().strip() == "step-00000007.pt"
    assert [p.name for p in checkpoint.written(tmp_path)] == ["step-00000007.pt", "step-00000009.pt"]


def test_what_killed_writers_left_is_swept_out(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, state(1), keep=1)
    for name in (".step-00000002.pt.123", ".last.123", "notes.txt"):
        (tmp_path / name).write_text("half")
    checkpoint.sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last", "notes.txt", path.name]


def test_never_refuses_a_folder_that_holds_a_run(tmp_path: Path) -> None:
    assert checkpoint.find(tmp_path, "never") is None
    checkpoint.save(tmp_path / "checkpoints", state(3), keep=2)
    with pytest.raises(ValueError, match=r"holds a run \(step-00000003.pt\); choose another out="):
        checkpoint.find(tmp_path, "never")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all"])
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.pt is not a whole checkpoint"):
        checkpoint.find(tmp_path, str(path))
    with pytest.raises(ValueError, match="there is no checkpoint"):
        checkpoint.find(tmp_path, str(tmp_path / "absent.pt"))


def test_a_file_that_would_run_code_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"method": "simclr", "step": 1, "x": Path("harmless, but not plain data")}, path)
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        checkpoint.load(path)


def test_another_format_names_both(tmp_path: Path) -> None:
    path = tmp_path / "future.pt"
    torch.save({**state(1), "format": 99}, path)
    with pytest.raises(ValueError, match="format 99, this version reads 1"):
        checkpoint.load(path)


@pytest.mark.parametrize(("run", "recipe", "draws", "message"), [
    ({"method": "mae"}, {}, 1, "checkpoint of simclr, this run is mae"),
    ({"seed": 2}, {}, 1, "seed=1, this run has seed=2"),
    ({"batch_size": 32}, {}, 1, "batch_size=64, this run has batch_size=32"),
    ({"model": {"backbone": "resnet50", "dim": 128}}, {}, 1, "model.backbone=resnet18, this run has model.backbone=resnet50"),
    ({"optimizer": {"name": "adamw", "lr": 0.3}}, {}, 1, "optimizer.name=lars, this run has optimizer.name=adamw"),
    ({}, {"block": 3}, 1, "another recipe"),
    ({}, {}, 2, "version 1, this program draws by 2"),
])
def test_a_checkpoint_of_another_run_is_refused_in_one_line(run: dict, recipe: dict, draws: int, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        checkpoint.refuse_unlike(Path("step-1.pt"), state(1), {**RUN, **run}, draws, {**RECIPE, **recipe})
    assert "\n" not in str(caught.value)


def test_epochs_and_rates_may_change_on_the_way() -> None:
    longer = {**RUN, "epochs": 50, "optimizer": {"name": "lars", "lr": 0.1}}
    checkpoint.refuse_unlike(Path("step-1.pt"), state(1), longer, 1, RECIPE)


class Nothing:
    """Stands for a loader."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def test_a_resumed_run_has_its_own_rates_and_the_optimizers_momentum() -> None:
    def run(**changes: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
        layer = nn.Linear(2, 1)
        config = OptimizerConfig(**{"name": "sgd", "lr": 0.2, "spared_lr": 0.1, "scaling": "none", "weight_decay": 0.0} | changes)
        return layer, build_optimizer(layer, config)

    layer, optimizer = run()
    set_rate(optimizer, 0.2)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    saved = {**checkpoint.snapshot(layer, optimizer, Nothing(), [checkpoint.random_state()], {}), "step": 1, "knn_step": -1}
    for changes, rates in (({}, [0.2, 0.1]), ({"spared_lr": 0.05}, [0.2, 0.05]), ({"lr": 0.4}, [0.4, 0.1])):
        layer, optimizer = run(**changes)
        assert checkpoint.restore(saved, layer, optimizer, Nothing(), 0) == (1, -1)
        set_rate(optimizer, changes.get("lr", 0.2))
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(rates)
        assert optimizer.state[layer.bias]["momentum_buffer"].tolist() == [1.0]


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)


def test_moments_find_their_parameters_by_name_where_groups_are_others() -> None:
    def run(*groups: str) -> tuple[Two, torch.optim.Optimizer]:
        method = Two()
        members = [[getattr(method, name).weight for name in names] for names in groups]
        return method, torch.optim.SGD([{"params": each, "scale": 1.0} for each in members], lr=0.1, momentum=0.9)

    method, optimizer = run("ab")
    (2 * method.a.weight + 3 * method.b.weight).sum().backward()
    optimizer.step()
    names = checkpoint.parameters_of(method, optimizer)
    assert names == ["a.weight", "b.weight"]
    saved = checkpoint.snapshot(method, optimizer, Nothing(), [], {}) | {"step": 1, "knn_step": -1, "viewmill": "0"}
    for groups in (("ab",), ("ba",), ("b", "a")):
        other, again = run(*groups)
        checkpoint.restore(saved | {"parameters": names}, other, again, Nothing(), 0)
        assert [again.state[part.weight]["momentum_buffer"].item() for part in (other.a, other.b)] == [2.0, 3.0], groups
        assert [len(group["params"]) for group in again.param_groups] == [len(names) for names in groups]
    with pytest.raises(ValueError, match=r"only one of checkpoint and network trains 'b\.weight'; choose another out="):
        checkpoint.restore(saved | {"parameters": ["a.weight"]}, *run("ab"), Nothing(), 0)


def test_every_generator_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(3)
    np.random.seed(4)
    random.seed(5)
    np.random.standard_normal(1)  # leaves a cached second value
    path = checkpoint.save(tmp_path, state(1), keep=1)

    def drawn() -> tuple[list[float], list[float], list[float]]:
        return torch.rand(3).tolist(), np.random.standard_normal(3).tolist(), [random.random() for _ in range(3)]

    first = drawn()
    drawn()
    checkpoint.set_random_state(checkpoint.load(path)["random"][0])
    assert drawn() == first
