"""First layers: which weights are shown, in which order, and as which colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from viewmill.augment.presets import recipe
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.figures.filters import FiltersConfig, components, draw, first_layer, painted
from viewmill.evaluation.figures.sheet import EDGE_PX
from viewmill.evaluation.pictures import evaluation_recipe

from tests.evaluation.figures.scenes import scene


def network(conv: nn.Conv2d, preset: str = "probe") -> Encoder:
    module = nn.Sequential(nn.Identity(), nn.Sequential(conv), nn.Conv2d(conv.out_channels, 2, 1))
    return Encoder(module, 2, 32, evaluation_recipe(recipe(preset), 32), "tiny")


def test_middle_gray_is_0_and_each_filter_has_its_own_scale() -> None:
    weight = torch.zeros(2, 3, 1, 2)
    weight[0, :, 0] = torch.tensor([[4.0, 0.0], [-4.0, 0.0], [2.0, 0.0]])
    weight[1, 0] = 0.001
    assert painted(weight, True)[0, :, 0].T.tolist() == [[1, 0, 0.75], [0.5, 0.5, 0.5]]
    assert painted(weight, True)[1, :, 0, 1].tolist() == [1, 0.5, 0.5]
    gray = painted(weight, False)
    assert gray.shape == (6, 3, 1, 2) and gray[1, :, 0, 0].tolist() == [0, 0, 0] and gray[2, :, 0, 0].tolist() == [1, 1, 1]
    assert (painted(torch.zeros(1, 3, 2, 2), True) == 0.5).all()


def test_the_first_convolution_is_found_wherever_it_lies() -> None:
    name, weight, strides = first_layer(network(nn.Conv2d(3, 4, (3, 5), 2)).module)
    assert (name, tuple(weight.shape), strides) == ("1.0", (4, 3, 3, 5), (2, 2))
    assert first_layer(nn.Conv2d(1, 2, 3))[0] == "Conv2d"
    with pytest.raises(ValueError, match="backbone Linear begins with no convolution whose filters could be shown"):
        first_layer(nn.Linear(2, 2))


def test_components_are_the_directions_in_which_filters_differ_most() -> None:
    weight = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 3, 2, 2)) * np.array([5, 2, 1])[:, None, None])
    found, share = components(weight, 4)
    rows = weight.flatten(1).numpy()
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    for number in range(4):
        cosine = float(found[number].flatten().double().numpy() @ vectors[:, -1 - number])
        assert abs(cosine) == pytest.approx(1, abs=1e-5)
    assert share.numpy() == pytest.approx(values[:-5:-1] / values.sum(), abs=1e-6)
    assert len(components(weight[:4], 99)[0]) == 3  # four points differ in three directions


def test_filters_come_with_the_largest_weights_first(tmp_path: Path) -> None:
    conv = nn.Conv2d(3, 5, 3)
    with torch.no_grad():
        for number, size in enumerate((2.0, 5.0, 1.0, 4.0, 3.0)):
            conv.weight[number] = 0
            conv.weight[number, number % 3, 0, 0] = size
    found = draw(scene(tmp_path, network(conv)), FiltersConfig(most=4))
    image = np.asarray(found.image)
    corners = [image[EDGE_PX, EDGE_PX + at * (63 + 4)].tolist() for at in range(4)]  # of 3 px, 21 times
    assert corners == [[128, 255, 128], [255, 128, 128], [128, 255, 128], [255, 128, 128]]  # filters 1, 3, 4, 0
    assert found.title == "The first layer's filters"
    assert "tiny: 1.0, 3 x 3 weights, stride 1; 4 of its 5 filters, the largest weights first." in found.caption
    assert "Norms of all go from 1 to 5." in found.caption


def test_patches_are_shown_by_components_and_other_colours_channel_by_channel(tmp_path: Path) -> None:
    torch.manual_seed(0)
    patches = draw(scene(tmp_path, network(nn.Conv2d(3, 6, 4, 4))), FiltersConfig())
    assert patches.title == "The first layer's filters, by components"
    assert "the first 5 principal components of its 6 filters, 100 % of their variance" in patches.caption
    each = draw(scene(tmp_path, network(nn.Conv2d(3, 6, 4, 4))), FiltersConfig(kind="filters"))
    assert "its 6 filters" in each.caption and "principal" not in each.caption
    overlapping = draw(scene(tmp_path, network(nn.Conv2d(3, 6, 11, 4))), FiltersConfig())  # AlexNet's
    assert overlapping.title == "The first layer's filters" and "11 x 11 weights, stride 4" in overlapping.caption
    lab = draw(scene(tmp_path, network(nn.Conv2d(3, 2, 3), "cmc_cifar")), FiltersConfig())
    assert "its 2 filters, the largest weights first, each of its 3 input channels by itself" in lab.caption
    pixels = np.asarray(lab.image)
    assert pixels.shape[1] == 2 * EDGE_PX + 6 * 63 + 5 * 4 and (pixels.std(-1) == 0).all()
