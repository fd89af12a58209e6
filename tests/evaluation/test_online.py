"""kNN beside training: which pixels are shown, which images are taken, and that the network is left as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from viewmill.augment import presets
from viewmill.evaluation.online import OnlineKnn, Pictures, evaluation_recipe, sample
from viewmill.models.training.config import KnnConfig
from viewmill.pipelines.source import open_source


def colours(count: int, seed: int, side: tuple[int, int] = (40, 36)) -> tuple[list[np.ndarray], np.ndarray]:
    """Pictures of two classes: dark red and bright red, each with noise."""
    rng = np.random.default_rng(seed)
    label = np.arange(count) % 2
    pictures = [np.clip(np.array([90 + 100 * y, 40, 40]) + rng.normal(0, 20, (*side, 3)), 0, 255).astype(np.uint8) for y in label]
    return pictures, label


class Mean(nn.Module):
    """Features: mean and spread of the first channel. A dropout and a frozen norm have modes of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.norm = nn.Dropout(0.9), nn.BatchNorm2d(3)
        self.norm.eval()

    def features(self, images: Tensor) -> Tensor:
        assert not self.dropout.training and not torch.is_grad_enabled()
        red = self.norm(self.dropout(images))[:, 0].flatten(1)
        return torch.stack([red.mean(1), torch.ones(len(red))], 1)


def test_small_views_show_the_whole_image_and_end_as_the_recipe_ends() -> None:
    recipe = evaluation_recipe(presets.recipe("simclr_cifar"), 32)
    assert [op.type for op in recipe.instances[0].ops] == ["resize", "normalize"] and recipe.instances[0].size_hw == (32, 32)
    assert recipe.instances[0].ops[0].filter == "bicubic" and recipe.instances[0].ops[1].kind == "none"


def test_large_views_are_the_central_crop_of_the_field() -> None:
    ops = evaluation_recipe(presets.recipe("mae"), 224).instances[0].ops
    assert [op.type for op in ops] == ["resize", "center_crop", "normalize"]
    assert (ops[0].side_px, ops[0].filter, ops[1].size_px, ops[2].kind) == (256, "bicubic", 224, "mean-std")


def test_views_of_another_colour_space_are_evaluated_in_it() -> None:
    ops = evaluation_recipe(presets.recipe("cmc_resnet"), 224).instances[0].ops
    assert [op.type for op in ops] == ["resize", "center_crop", "lab_split", "normalize"] and ops[2].keep == ("L",)
    ops = evaluation_recipe(presets.recipe("deepcluster"), 224).instances[0].ops
    assert [op.type for op in ops] == ["resize", "center_crop", "normalize", "sobel"]


def test_the_plain_view_equals_pillow() -> None:
    pictures, label = colours(3, 5, side=(61, 83))
    shown = Pictures(open_source((pictures, label)), 3, "data", 1)
    got, _ = next(shown.views(evaluation_recipe(presets.recipe("mae"), 112, raw=True)))
    for picture, view in zip(pictures, got, strict=True):
        resized = Image.fromarray(picture).resize((int(128 * 83 / 61), 128), Image.Resampling.BICUBIC)
        left = round((resized.width - 112) / 2)
        expected = np.asarray(resized.crop((left, 8, left + 112, 120)), np.float32) / 255
        assert np.abs(view.numpy().transpose(1, 2, 0) - expected).max() < 1e-6


def test_the_part_taken_is_random_fixed_and_whole_where_it_can_be() -> None:
    source = open_source(([np.zeros((2, 2, 3), np.uint8)] * 1000, np.arange(1000)))
    some = sample(source, 200)
    assert len(np.unique(some)) == 200 and np.array_equal(some, sample(source, 200)) and (np.diff(some) > 0).all()
    assert 400 < some.mean() < 600 and set((some % 5).tolist()) == {0, 1, 2, 3, 4}
    assert np.array_equal(sample(source, 5000), np.arange(1000))


def test_accuracies_and_the_network_left_as_it_was() -> None:
    knn = OnlineKnn(KnnConfig(k=3), open_source(colours(40, 1)), open_source(colours(20, 2)), presets.recipe("simclr_cifar"))
    net = Mean()
    before = torch.get_rng_state()
    values = knn.measure(net, torch.device("cpu"), untrained=True)
    assert values["knn"] == values["knn_untrained"] == values["knn_raw_pixels"] == 1.0 and values["knn_seconds"] > 0
    assert net.training and net.dropout.training and not net.norm.training
    assert torch.equal(torch.get_rng_state(), before)
    assert knn.measure(net, torch.device("cpu")).keys() == {"knn", "knn_seconds"}


def test_features_that_say_nothing_are_at_chance() -> None:
    class Blind(Mean):
        def features(self, images: Tensor) -> Tensor:
            return torch.ones(len(images), 2)

    knn = OnlineKnn(KnnConfig(k=1), open_source(colours(40, 1)), open_source(colours(20, 2)), presets.recipe("simclr_cifar"))
    assert knn.measure(Blind(), torch.device("cpu"))["knn"] == 0.5


def test_raw_pixels_are_compared_without_their_mean() -> None:
    # Dark and bright pictures of one hue point the same way from black: only from the mean do they part.
    flat = [np.full((8, 8, 3), 60 + 60 * (i % 2), np.uint8) for i in range(20)]
    source = open_source((flat, np.arange(20) % 2))
    assert OnlineKnn(KnnConfig(k=3), source, source, presets.recipe("simclr_cifar")).raw_pixels() == {"knn_raw_pixels": 1.0}


def test_images_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    pictures, label = colours(8, 3)
    for number, (picture, y) in enumerate(zip(pictures, label, strict=True)):
        (tmp_path / str(y)).mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / str(y) / f"{number}.png")
    (tmp_path / "0" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    shown = Pictures(open_source(str(tmp_path)), 100, "data", 2)
    parts = list(shown.views(evaluation_recipe(presets.recipe("simclr_cifar"), 32)))
    assert sum(len(x) for x, _ in parts) == sum(len(y) for _, y in parts) == 7


def test_what_cannot_be_measured_is_refused() -> None:
    pictures, label = colours(8, 3)
    labelled, unlabelled = open_source((pictures, label)), open_source((pictures, np.full(8, -1)))
    recipe = presets.recipe("simclr_cifar")
    with pytest.raises(ValueError, match=r"knn\.test_data=x\.tar has no labels"):
        OnlineKnn(KnnConfig(k=3, test_data="x.tar"), labelled, unlabelled, recipe)
    with pytest.raises(ValueError, match=r"knn\.data .* has no labels"):
        OnlineKnn(KnnConfig(k=3, test_data="x.tar"), unlabelled, labelled, recipe)
    with pytest.raises(ValueError, match=r"knn\.k=20 needs as many labelled images, knn\.data has 8"):
        OnlineKnn(KnnConfig(), labelled, labelled, recipe)
    assert OnlineKnn.open(KnnConfig(), "train.tar", recipe) is None
