"""A probe of every layer: the papers' layouts, the heads of one layer as if alone, one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from viewmill.augment.presets import recipe
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.layers import LayersConfig, Maps, reduced, run
from viewmill.evaluation.linear.probes import PROBES
from viewmill.evaluation.pictures import evaluation_recipe
from viewmill.models.backbone import backbone

from .tasks import pictures, task

CPU = torch.device("cpu")
SHORT: dict[str, Any] = {"batch_size": 20, "epochs": 4, "sidecar": False}


def encoder(name: str, image_px: int, **options: Any) -> Encoder:
    torch.manual_seed(0)
    module, dim = backbone(name, image_px, **options)
    return Encoder(module, dim, image_px, evaluation_recipe(recipe("probe"), image_px), name).eval().requires_grad_(False)


def dims(channels: list[int], sides: list[int], pool: str = "max") -> list[int]:
    return [reduced(torch.zeros(1, c, s, s), pool, 9000).shape[1] for c, s in zip(channels, sides, strict=True)]


def test_layers_have_the_sizes_of_the_papers() -> None:
    assert dims([64, 192, 384, 256, 256], [55, 27, 13, 13, 13]) == [9216, 9408, 9600, 9216, 9216]  # RotNet
    assert dims([96, 256, 384, 384, 256], [55, 27, 13, 13, 13], "average") == [9600, 9216, 9600, 9600, 9216]  # CaffeNet
    assert dims([64, 256, 512, 1024, 2048], [112, 56, 28, 14, 7], "average") == [9216, 9216, 8192, 9216, 8192]  # ResNet-50


def test_networks_have_the_sizes_of_the_papers() -> None:
    alexnet = Maps(encoder("alexnet", 224), "max", 9000, None, CPU)
    assert alexnet.dims == {"conv1": 9216, "conv2": 9408, "conv3": 9600, "conv4": 9216, "conv5": 9216}
    resnet = Maps(encoder("resnet50", 224), "average", 9000, None, CPU)
    assert list(resnet.dims.values()) == [9216, 9216, 8192, 9216, 8192] and next(iter(resnet.dims)) == "stem"


def test_a_map_is_never_made_larger() -> None:
    assert reduced(torch.zeros(2, 8, 3, 5), "max", 9000).shape == (2, 8 * 3 * 5)
    assert reduced(torch.zeros(2, 20_000, 3, 3), "max", 9000).shape == (2, 20_000)


def test_maps_are_reduced_by_their_largest_values_or_their_means() -> None:
    shown = torch.arange(16.0).view(1, 1, 4, 4)
    assert reduced(shown, "max", 4).tolist() == [[5, 7, 13, 15]]
    assert reduced(shown, "average", 4).tolist() == [[2.5, 4.5, 10.5, 12.5]]


def test_what_heads_stand_on_is_the_layers_maps() -> None:
    net = encoder("convnet4", 32)
    see = Maps(net, "max", 64, None, CPU)
    images = torch.randn(3, 3, 32, 32)
    apart = see.apart(see(images))
    assert list(apart) == ["conv1", "conv2", "conv3", "conv4"]
    torch.testing.assert_close(apart["conv4"], net.module.maps(images)["conv4"].amax((2, 3)))
    assert {name: x.shape[1] for name, x in apart.items()} == dict(see.dims)
    assert see.dims == {"conv1": 32, "conv2": 64, "conv3": 128, "conv4": 256}


def test_the_recipe_of_rotnet() -> None:
    of = PROBES["rotnet"]
    assert (of.optimizer, of.lr, of.batch_size, of.epochs, of.steps_at, of.weight_decay, of.norm) == (
        "nesterov", (0.01,), 192, 35, (5, 15, 25), 5e-4, True)
    course = LayersConfig().course(192 * 10)
    assert [0.01 * course.share(10 * epoch) for epoch in (0, 4, 5, 15, 25, 34)] == pytest.approx(
        [0.01, 0.01, 0.002, 0.0004, 0.00008, 0.00008])


class Two(nn.Module):
    """A first layer that sees colours, and a second that sees nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 8, 8)
        nn.init.normal_(self.conv.weight, std=0.1, generator=torch.Generator().manual_seed(1))

    def maps(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        colours = self.conv(images)
        return {"colours": colours, "nothing": torch.ones_like(colours)}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(images).mean((2, 3))


def two() -> Encoder:
    return Encoder(Two(), 6, 16, evaluation_recipe(recipe("probe"), 16), "two").requires_grad_(False)


@pytest.mark.parametrize("cached", [True, False])
def test_the_table_names_every_layer_and_the_best_is_chosen_on_a_split(tmp_path: Path, cached: bool) -> None:
    result = run(task(tmp_path, encoder=two()), LayersConfig(cached=cached, pool="average", values=6, lr=(0.01, 0.3), **SHORT))
    assert result["layers"].keys() == {"colours", "nothing"} and result["layers"]["nothing"] == pytest.approx(0.2)
    assert result["chosen"]["kind"] == "colours" and result["top1"] == result["layers"]["colours"] > 0.4
    assert result["values"] == {"colours": 6, "nothing": 6} and result["chosen_on"] == "split"
    assert [(head["kind"], head["lr"]) for head in result["heads"]] == [
        ("colours", 0.01), ("colours", 0.3), ("nothing", 0.01), ("nothing", 0.3)]
    assert result["correct"].mean() == result["top1"]


def test_a_layer_trains_as_it_would_alone(tmp_path: Path) -> None:
    config: dict[str, Any] = {"cached": True, "pool": "average", "values": 6, "select": "test", **SHORT}
    both = run(task(tmp_path, encoder=two()), LayersConfig(**config))
    alone = run(task(tmp_path, encoder=two()), LayersConfig(layers=("colours",), **config))
    assert alone["layers"]["colours"] == both["layers"]["colours"] and alone["chosen_on"] == "nothing to choose"


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="layers=conv9: two has colours, nothing"):
        run(task(tmp_path, encoder=two()), LayersConfig(layers=("conv9",)))
    with pytest.raises(ValueError, match="values needs a whole number of at least 1"):
        LayersConfig(values=0)
    many = pictures(300, 5, 1)
    many.index = many.index.repeat(200_000)
    with pytest.raises(ValueError, match=r"cached=true would keep 10\.7 GiB of maps; use cached=false"):
        run(task(tmp_path, encoder=two(), train=many), LayersConfig(cached=True))


def on_a_rank(folder: str) -> dict[str, float]:
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    config = LayersConfig(pool="average", values=6, **SHORT)
    return run(task(Path(folder), encoder=two(), rank=rank, ranks=ranks), config)["layers"]


def test_two_ranks_find_what_one_finds(tmp_path: Path, world: Callable[..., list[Any]]) -> None:
    alone = run(task(tmp_path / "one", encoder=two()), LayersConfig(pool="average", values=6, **SHORT))["layers"]
    for layers in world(2, on_a_rank, str(tmp_path / "two")):
        np.testing.assert_allclose(list(layers.values()), list(alone.values()), atol=1 / 60 + 1e-9)
