"""kNN beside training: its levels, and that the network is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from viewmill.augment import presets
from viewmill.evaluation.online import OnlineKnn
from viewmill.models.training.config import KnnConfig
from viewmill.pipelines.source import open_source

from .test_pictures import colours


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
