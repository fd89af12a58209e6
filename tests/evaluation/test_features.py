"""Features are made once: equal in pieces, from the disk, over ranks, and after an interruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from viewmill.augment import presets
from viewmill.evaluation import features as room
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.features import Features, extract
from viewmill.evaluation.pictures import Pictures, evaluation_recipe
from viewmill.evaluation.task import Task
from viewmill.pipelines.source import open_source

from tests.world import World

from .test_pictures import colours

CPU = torch.device("cpu")
VIEW = evaluation_recipe(presets.recipe("simclr_cifar"), 8)


class Means(nn.Module):
    """The mean of each channel, times a weight; counts what it is shown."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain, self.norm, self.seen = nn.Parameter(torch.tensor(gain)), nn.BatchNorm1d(3), 0

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training and not torch.is_grad_enabled()
        self.seen += len(images)
        return self.gain * images.mean((2, 3))


def encoder(gain: float = 1.0) -> Encoder:
    return Encoder(Means(gain), 3, 8, VIEW, "means")


def pictures(count: int = 40, seed: int = 1, drop: int | None = None) -> Pictures:
    images, label = colours(count, seed)
    return Pictures(open_source((images, label)), None, "data=here", 1)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viewmill.evaluation.pictures.CHUNK", 4)
    monkeypatch.setattr("viewmill.evaluation.features.STORED", 2)


def test_features_are_those_of_the_plain_views_in_order() -> None:
    shown, network = pictures(11), encoder()
    network.train()
    made = extract(network, shown, CPU)
    expected = torch.cat([piece.images for piece in shown.pieces(VIEW)]).mean((2, 3))
    assert torch.allclose(made.x, expected, atol=1e-6) and made.x.dtype == torch.float32
    assert made.index.tolist() == list(range(11)) and made.label.tolist() == shown.label.tolist()
    assert network.training and network.module.norm.training


def test_kept_features_are_found_again_and_an_interruption_costs_one_file(tmp_path: Path) -> None:
    shown, network = pictures(40), encoder()

    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 24:
            raise Stopped

    with pytest.raises(Stopped):
        extract(network, shown, CPU, folder=tmp_path, say=stop)
    assert network.module.seen == 24
    made = extract(network, shown, CPU, folder=tmp_path)
    assert network.module.seen == 40
    again = extract(network, shown, CPU, folder=tmp_path)
    assert network.module.seen == 40 and torch.equal(made.x, again.x) and torch.equal(made.x, extract(encoder(), shown, CPU).x)


def test_other_weights_pictures_or_functions_are_other_features(tmp_path: Path) -> None:
    first = extract(encoder(), pictures(), CPU, folder=tmp_path)
    assert torch.equal(extract(encoder(2.0), pictures(), CPU, folder=tmp_path).x, 2 * first.x)
    assert not torch.equal(extract(encoder(), pictures(seed=2), CPU, folder=tmp_path).x, first.x)
    flat = extract(encoder(), pictures(), CPU, folder=tmp_path, see=lambda images: images.flatten(1), kind="pixels")
    assert flat.x.shape == (40, 3 * 8 * 8)


def test_a_file_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    made = extract(encoder(), pictures(), CPU, folder=tmp_path)
    path = sorted(tmp_path.rglob("*.safetensors"))[1]
    path.write_bytes(path.read_bytes()[:-9])
    assert torch.equal(extract(encoder(), pictures(), CPU, folder=tmp_path).x, made.x)


def of_rank(count: int) -> Features:
    room.STORED = 1  # a process of its own: the fixture above does not reach it
    return extract(encoder(), pictures(count), CPU)


def test_ranks_share_the_work_and_have_the_whole(world: World) -> None:
    whole = extract(encoder(), pictures(300), CPU)
    for ranks in (2, 3):
        for made in world(ranks, of_rank, 300):
            assert torch.equal(made.x, whole.x) and torch.equal(made.label, whole.label) and torch.equal(made.index, whole.index)


def test_pictures_that_cannot_be_read_are_left_out_and_count_as_wrong(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(6):
        (tmp_path / str(number % 2)).mkdir(exist_ok=True)
        Image.fromarray(np.full((9, 9, 3), 40 * number, np.uint8)).save(tmp_path / str(number % 2) / f"{number}.png")
    (tmp_path / "0" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    shown = Pictures(open_source(str(tmp_path)), None, "data=here", 1)
    task = Task(encoder(), shown, shown, tmp_path / "out")
    made = task.features("test")
    assert made.index.tolist() == [0, 2, 3, 4, 5] and task.features("test") is made
    assert task.correct(made.index, torch.tensor([1, 1, 0, 1, 1])).tolist() == [True, False, True, False, True, True]
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(ValueError, match="data=here: not one of its 6 images can be read; viewmill check says why"):
        extract(encoder(), Pictures(open_source(str(tmp_path)), None, "data=here", 1), CPU)


def test_classes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def labelled(label: list[int], name: str) -> Pictures:
        return Pictures(open_source(([np.zeros((4, 4, 3), np.uint8)] * len(label), np.array(label))), None, name, 1)

    assert Task(encoder(), labelled([0, 2, 5], "data=a"), labelled([5, 0], "test_data=b"), tmp_path).classes() == 6
    with pytest.raises(ValueError, match="test_data=b has label 4, which data=a has not: 2 classes there, 3 here"):
        Task(encoder(), labelled([0, 2, 5], "data=a"), labelled([4, 0], "test_data=b"), tmp_path).classes()
    with pytest.raises(ValueError, match="data=a shows one class only, label 3"):
        Task(encoder(), labelled([3, 3], "data=a"), labelled([3], "test_data=b"), tmp_path).classes()
