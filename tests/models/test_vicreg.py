"""VICReg: its expander, its loss on what the network makes of two views, what it reports, and what tells a collapse."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from viewmill.models import method_info
from viewmill.models.training.schedule import plan
from viewmill.models.vicreg import VICReg, VICRegConfig
from viewmill.train import read

from ..world import World
from . import noisy_copies
from .batches import batch_of, random_views
from .ranks import Told, assert_alike, steps_of

TINY = {"backbone": "convnet4", "projector_hidden": 12, "projector_dim": 6}


def small(**fields: object) -> VICReg:
    torch.manual_seed(0)
    return VICReg(VICRegConfig(**{**TINY, **fields}), image_px=16)  # type: ignore[arg-type]


def embeddings(method: VICReg, views: torch.Tensor) -> np.ndarray:
    """(2, B, D) in float64, one view at a time, of a copy, so that nothing in the method changes."""
    method = copy.deepcopy(method)
    with torch.no_grad():
        return torch.stack([method.projector(method.backbone(view)) for view in views]).double().numpy()


def by_hand(z: np.ndarray, paper: bool) -> dict[str, float]:
    """As the authors' code has it, with NumPy's own covariance and variance; the loss with the printed sums for `paper`."""
    dim, beside = z.shape[2], ~np.eye(z.shape[2], dtype=bool)
    s = float(((z[0] - z[1]) ** 2).mean())
    v = float(np.maximum(0, 1 - np.sqrt(z.var(1, ddof=1) + 1e-4)).mean())
    c = float(sum((np.cov(of.T)[beside] ** 2).sum() for of in z) / dim)
    unit = z / np.linalg.norm(z, axis=2, keepdims=True)
    return {"loss": 25 * s * (dim if paper else 1) + 25 * v * (2 if paper else 1) + c, "invariance": s, "variance": v,
            "covariance": c, "cosine": float((unit[0] * unit[1]).sum(1).mean())}


def test_published_numbers() -> None:
    c = VICRegConfig()
    assert (c.backbone, c.width, c.projector_hidden, c.projector_dim) == ("resnet50", 1, 8192, 8192)
    assert (c.invariance, c.variance, c.covariance, c.loss_scale) == (25, 25, 1, "official")
    run, recipe = read(["vicreg", "data=train.tar"])
    p = plan(run, 1_281_167)
    assert (run.epochs, run.batch_size, recipe.name, p.steps_per_epoch) == (1000, 2048, "vicreg", 625)
    assert [p.rate(step) for step in (0, 6250, p.total)] == pytest.approx([0, 1.6, 0.0016])
    assert (run.optimizer.name, run.optimizer.exclude, run.optimizer.weight_decay) == ("lars", "norm-and-bias", 1e-6)
    assert run.optimizer.spared_lr is None and method_info("vicreg").config() == c


def test_the_run_on_a_single_node_and_the_wider_networks() -> None:
    run, _ = read(["vicreg", "data=train.tar", "variant=single_node"])
    p = plan(run, 1_281_167)
    assert (run.epochs, run.batch_size, p.peak, p.final) == (100, 512, pytest.approx(0.6), pytest.approx(6e-4))
    wide = [read(["vicreg", "data=train.tar", f"variant={name}"])[0].model for name in ("resnet50x2", "resnet200x2")]
    assert [(c.backbone, c.width) for c in wide] == [("resnet50", 2), ("resnet200", 2)]
    assert read(["vicreg", "data=train.tar", "variant=symmetric"])[1].name == "vicreg_paper"
    assert small(backbone="resnet18", width=2).feature_dim == 1024 and small(width=0.5).feature_dim == 128


def test_the_published_expander() -> None:
    method = small(backbone="resnet18", projector_hidden=24, projector_dim=20)
    head = method.projector
    assert [type(m) for m in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]
    assert [tuple(m.weight.shape) for m in head if isinstance(m, nn.Linear)] == [(24, 512), (24, 24), (20, 24)]
    assert [m.bias is not None for m in head if isinstance(m, nn.Linear)] == [True, True, False]
    assert all(m.affine for m in head if isinstance(m, nn.BatchNorm1d))
    assert all((block.bn2.weight == 0).all() for block in method.backbone.layer1)  # the residual branches begin at 0


@pytest.mark.parametrize("scale", ["official", "paper"])
def test_the_loss_is_the_authors_on_two_passes(scale: str) -> None:
    method, views = small(loss_scale=scale), random_views(2, 7, 16)
    values = {name: float(value.detach()) for name, value in method(batch_of(views)).items()}
    expected = by_hand(embeddings(small(), views), scale == "paper")
    assert {name: values[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert values.keys() - expected.keys() == {"spread"} and 0 < values["spread"] <= 1


def test_the_weights_are_those_of_the_terms() -> None:
    views = random_views(2, 7, 16)
    values = small(invariance=2.0, variance=3.0, covariance=5.0)(batch_of(views))
    expected = 2 * values["invariance"] + 3 * values["variance"] + 5 * values["covariance"]
    assert float(values["loss"].detach()) == pytest.approx(float(expected))


def test_batch_norm_sees_one_view_at_a_time() -> None:
    method = small()
    calls: list[int] = []
    for part in (method.backbone, method.projector):
        part.register_forward_hook(lambda module, given, output: calls.append(len(given[0])))
    method(batch_of(random_views(2, 4, 16)))
    assert calls == [4, 4, 4, 4]


def test_only_the_loss_carries_a_gradient_and_every_weight_gets_one() -> None:
    method = small()
    values = method(batch_of(random_views(2, 4, 16)))
    assert values["loss"].shape == () and not any(v.requires_grad for k, v in values.items() if k != "loss")
    values["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


def test_features_and_embeddings() -> None:
    method, images = small().eval(), random_views(1, 3, 16)[0]
    assert method.encoder is method.backbone and method.projection_head is method.projector
    assert torch.equal(method.features(images), method.backbone(images))
    torch.testing.assert_close(method.embed(images), nn.functional.normalize(method.projector(method.backbone(images)), dim=1))


def two_steps(images: int) -> Told:
    """In float64, as Barlow Twins' test."""
    return steps_of(small(covariance=10.0).double(),
                    lambda step, own: batch_of(random_views(2, images, 16, step)[:, own].double()), images, rate=0.01)


@pytest.mark.parametrize(("ranks", "images"), [(2, 8), (2, 9), (3, 11)])
def test_ranks_are_the_parts_of_one_process(world: World, ranks: int, images: int) -> None:
    assert_alike(two_steps(images), world(ranks, two_steps, images))


def trained(**fields: object) -> tuple[dict[str, list[float]], list[str]]:
    return noisy_copies.trained(small(projector_hidden=32, projector_dim=32, **fields), 120)


def test_it_learns_and_says_nothing_of_a_collapse() -> None:
    told, said = trained()
    assert sum(told["loss"][-5:]) < 0.4 * sum(told["loss"][:5]) and said == []
    assert told["variance"][-1] < 0.1 and told["embed_std"][-1] > 0.7 and told["embed_rankme"][-1] > 10


def test_without_the_variance_term_embeddings_shrink_to_a_point_and_the_run_says_so() -> None:
    told, said = trained(variance=0.0)
    assert told["variance"][-1] > 0.9 and told["invariance"][-1] < 0.01
    assert len(said) == 1 and said[0].startswith("collapse?  variance 0.9")


def test_without_the_covariance_term_features_tell_the_same() -> None:
    whole, half = trained()[0], trained(covariance=0.0)[0]
    assert half["covariance"][-1] > 5 * whole["covariance"][-1]
    assert half["variance"][-1] < 0.1 and half["embed_rankme"][-1] < 0.8 * whole["embed_rankme"][-1]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="vicreg compares two views, the recipe's group 'global' has 3; use recipe=vicreg"):
        small()(batch_of(random_views(3, 2, 16)))
    with pytest.raises(ValueError, match="backbone 'vit_tiny_patch16_224' takes no width"):
        VICReg(VICRegConfig(backbone="vit_tiny_patch16_224", width=2.0), image_px=224)
    for field, value, words in (("projector_hidden", 0, "whole number of at least 1"), ("width", 0.0, "number above 0"),
                                ("projector_dim", 0, "whole number of at least 1"), ("invariance", -1.0, "number of at least 0"),
                                ("variance", -1.0, "number of at least 0"), ("covariance", -1.0, "number of at least 0")):
        with pytest.raises(ValueError, match=rf"model\.{field} needs a {words}, got {value}"):
            VICRegConfig(**{field: value})  # type: ignore[arg-type]
