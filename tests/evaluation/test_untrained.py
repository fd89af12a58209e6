"""What methods are compared with: first weights, calibrated batch norms, pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from viewmill import train
from viewmill.augment.presets import recipe as named
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.pictures import Pictures, evaluation_recipe
from viewmill.evaluation.untrained import calibrated, initialized, raw_pixels
from viewmill.models.training import checkpoint
from viewmill.pipelines.source import open_source

from tests.train.runs import write_shard

CPU = torch.device("cpu")


def pictures(count: int = 200, seed: int = 0) -> tuple[np.ndarray, Pictures]:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)
    return pixels, Pictures(open_source((pixels, np.arange(count) % 2)), None, "data", 1)


def test_untrained_is_what_a_run_of_that_seed_begins_with(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", 32, 1)
    words = ["simclr", f"data={tmp_path}/a.tar", f"out={tmp_path}/run", "recipe=simclr_cifar", "model.backbone=test_resnet",
             "seed=3", "batch_size=16", "epochs=4", "steps=4", "schedule.warmup_epochs=2", "checkpoint.steps=1",
             "checkpoint.keep=9",
             "tensorboard=false", "loader.sidecar=false", "torch_threads=1", "loader.threads=1"]
    config, recipe = train.read(words)
    train.train(config, recipe)
    first = checkpoint.load(tmp_path / "run" / "checkpoints" / "step-00000001.pt")["model"]  # of a warm-up, which moves nothing
    found = initialized("simclr", config.model, recipe, 3).whole.state_dict()
    assert all(torch.equal(found[name], value) for name, value in first.items() if "running" not in name and "num_b" not in name)
    other = initialized("simclr", config.model, recipe, 4).whole.state_dict()
    assert not torch.equal(found["backbone.conv1.weight"], other["backbone.conv1.weight"])


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.weight = nn.BatchNorm2d(3), nn.Parameter(torch.ones(3))

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(images).mean((2, 3))


def test_calibrated_norms_have_the_statistics_of_the_pictures() -> None:
    _, of = pictures(256)
    view = evaluation_recipe(named("simclr_cifar"), 32)
    encoder = Encoder(Normed().eval(), 3, 32, view, "net")
    found = calibrated(encoder, of, 256, CPU)
    seen = [piece.images for piece in of.pieces(view)]
    assert found is not None and len(seen) == 2
    mean = torch.stack([images.mean((0, 2, 3)) for images in seen]).mean(0)
    variance = torch.stack([images.var((0, 2, 3)) for images in seen]).mean(0)
    torch.testing.assert_close(found.whole.norm.running_mean, mean)  # type: ignore[union-attr,arg-type]
    torch.testing.assert_close(found.whole.norm.running_var, variance)  # type: ignore[union-attr,arg-type]
    assert not found.training and not found.whole.norm.training and "calibrated" in found.name  # type: ignore[union-attr]
    assert torch.equal(encoder.whole.norm.running_mean, torch.zeros(3))  # type: ignore[union-attr,arg-type]
    few = calibrated(encoder, of, 128, CPU)
    torch.testing.assert_close(few.whole.norm.running_mean, seen[0].mean((0, 2, 3)))  # type: ignore[union-attr,arg-type]


def test_a_network_without_batch_norms_has_nothing_to_calibrate() -> None:
    _, of = pictures(8)
    assert calibrated(Encoder(nn.Flatten(), 3072, 32, evaluation_recipe(named("simclr_cifar"), 32), "net"), of, 8, CPU) is None


def test_pixels_are_levels_less_the_mean_picture() -> None:
    pixels, of = pictures(200)
    encoder = raw_pixels(of, named("eval_bicubic"))
    images = torch.from_numpy(pixels[:5]).permute(0, 3, 1, 2).float() / 255
    mean = pixels.astype(np.float64).mean(0).transpose(2, 0, 1) / 255
    expected = (images.double() - torch.from_numpy(mean)).flatten(1).float()
    torch.testing.assert_close(encoder(images), expected, atol=1e-6, rtol=0)
    assert encoder.dim == 3072
    torch.testing.assert_close(next(of.pieces(encoder.view)).images[:5], images, atol=1e-6, rtol=0)
