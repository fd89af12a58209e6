"""Other people's files of weights: the part that belongs to a network is found, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from viewmill.evaluation.state_dict import fitted


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1))


def weights(prefix: str = "", seed: int = 1) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in network(seed).state_dict().items()}


def same(module: nn.Module, other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.base_encoder.", "encoder.trunk."])
def test_whatever_stands_before_the_names_is_found(prefix: str) -> None:
    module = network()
    assert fitted(module, {**weights(prefix), "fc.weight": torch.ones(2)}, Path("x.pt")) == ""
    assert same(module, weights())


def test_of_several_networks_the_teacher_is_taken_and_any_can_be_named() -> None:
    file = {"student": weights("module.backbone.", 2), "teacher": weights("backbone.", 1), "epoch": 3, "args": {"lr": 0.1}}
    module = network()
    assert fitted(module, file, Path("x.pth")) == " (teacher)" and same(module, weights())
    assert fitted(module, file, Path("x.pth"), "student") == " (student)" and same(module, weights(seed=2))
    with pytest.raises(ValueError, match=r"weights_key=head: x\.pth has no such part; it has teacher, student"):
        fitted(module, file, Path("x.pth"), "head")


def test_of_an_encoder_and_its_momentum_encoder_the_first_is_taken() -> None:
    # MoCo's files: module.encoder_q.* and module.encoder_k.*, all in one flat dictionary.
    file = {"state_dict": {**weights("module.encoder_k.", 3), **weights("module.encoder_q.", 1)}}
    module = network()
    fitted(module, file, Path("x.pth"))
    assert same(module, weights(seed=1))


def test_what_does_not_fit_is_refused() -> None:
    short = weights("backbone.")
    del short["backbone.2.weight"]
    with pytest.raises(ValueError, match=r"x\.pt has 7 of the network's 8 weights; 'backbone\.2\.weight' is not there"):
        fitted(network(), short, Path("x.pt"))
    with pytest.raises(ValueError, match=r"x\.pt: 2\.weight has shape \(9, 4, 1, 1\), the network needs \(5, 4, 1, 1\)"):
        fitted(network(), {**weights(), "2.weight": torch.ones(9, 4, 1, 1)}, Path("x.pt"))
    with pytest.raises(ValueError, match=r"x\.pt has no weights of this network, none of its names ends in '0\.weight'"):
        fitted(network(), {"head.bias": torch.ones(2)}, Path("x.pt"))
