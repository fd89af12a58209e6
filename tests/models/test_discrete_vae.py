"""The tokenizer's network: BEiT's modules by name and number, what goes in and out, Gumbel's law."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from viewmill.losses.dvae import kl_to_uniform, logit_laplace
from viewmill.models import discrete_vae
from viewmill.models.discrete_vae import DiscreteVAE, gumbel_softmax

from .flops import multiply_adds

ONE = torch.tensor(1.0)


def tiny(**fields: object) -> DiscreteVAE:
    torch.manual_seed(0)
    return DiscreteVAE(**{"vocabulary": 6, "code_dim": 5, "width": 4, "halvings": 2, **fields})  # type: ignore[arg-type]


def pictures(count: int = 2, side: int = 8) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1


def test_names_and_shapes_are_those_of_beits_own_weights() -> None:
    with torch.device("meta"):
        weights = DiscreteVAE(vocabulary=8192, code_dim=512, width=256, halvings=3).state_dict()
    shapes = {name: tuple(value.shape) for name, value in weights.items() if name.endswith("weight")}
    assert shapes["codebook.weight"] == (8192, 512)
    for stage, before in enumerate((3, 256, 256)):
        assert shapes[f"encoder.{2 * stage}.0.weight"] == (256, before, 4, 4)
        assert shapes[f"decoder.{2 * stage}.0.weight"] == (512 if stage == 0 else 256, 256, 4, 4)  # transposed: in, out
        for part in ("encoder", "decoder"):
            inside = [shapes[f"{part}.{2 * stage + 1}.net.{i}.weight"] for i in (0, 2, 4)]
            assert inside == [(256, 256, 3, 3)] * 2 + [(256, 256, 1, 1)]
    assert shapes["encoder.6.weight"] == (8192, 256, 1, 1) and shapes["decoder.6.weight"] == (3, 256, 1, 1)
    assert len(weights) == 1 + 2 * 2 * (3 * 4 + 1)
    assert DiscreteVAE.sizes_of(weights) == {"vocabulary": 8192, "code_dim": 512, "width": 256, "halvings": 3, "in_chans": 3}


def test_encoding_112_px_takes_the_6_6_billion_that_the_card_has() -> None:
    with torch.device("meta"):
        network, images = DiscreteVAE(vocabulary=8192, code_dim=512, width=256, halvings=3), torch.empty(1, 3, 112, 112)
    assert multiply_adds(network.logits, images) == pytest.approx(6.6e9, rel=0.01)


def test_logits_follow_from_the_weights_one_convolution_after_the_other() -> None:
    network, images = tiny(), pictures()
    w, x = network.state_dict(), images
    for stage in (0, 2):
        x = F.relu(F.conv2d(x, w[f"encoder.{stage}.0.weight"], w[f"encoder.{stage}.0.bias"], stride=2, padding=1))
        inside = x
        for layer, padding in ((0, 1), (2, 1), (4, 0)):
            inside = F.conv2d(inside if layer == 0 else F.relu(inside), w[f"encoder.{stage + 1}.net.{layer}.weight"],
                              w[f"encoder.{stage + 1}.net.{layer}.bias"], padding=padding)
        x = x + inside
    x = F.conv2d(x, w["encoder.4.weight"], w["encoder.4.bias"])
    torch.testing.assert_close(network.logits(images), x)
    assert network.codes(images).shape == (2, 2, 2) and torch.equal(network.codes(images), x.argmax(1))


def test_maps_are_what_each_stage_leaves() -> None:
    maps = tiny().encoder.maps(pictures())
    assert {name: tuple(each.shape) for name, each in maps.items()} == {"stage1": (2, 4, 4, 4), "stage2": (2, 4, 2, 2)}


def test_at_a_low_temperature_without_noise_it_paints_what_its_codes_paint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discrete_vae, "gumbel_noise", torch.zeros_like)
    network, images = tiny(), pictures()
    coded = network(images, torch.tensor(1e-6))
    assert torch.equal(coded.codes, network.codes(images))
    assert float(coded.cost.detach()) == pytest.approx(float((network.paint(coded.codes) - images).square().mean()), rel=1e-4)
    assert float(coded.prior.detach()) == pytest.approx(float(kl_to_uniform(network.logits(images)).detach()), rel=1e-5)
    hard = network(images, ONE, straight_through=True)
    assert float(hard.cost.detach()) == pytest.approx(float(coded.cost.detach()), rel=1e-4)


def test_soft_codes_mix_the_codebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discrete_vae, "gumbel_noise", torch.zeros_like)
    network, images = tiny(), pictures()
    given: list[torch.Tensor] = []
    network.decoder.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    network(images, torch.tensor(0.5))
    logits = network.logits(images).detach().double().numpy()
    shares = np.exp(logits / 0.5) / np.exp(logits / 0.5).sum(1, keepdims=True)
    expected = np.tensordot(shares, network.codebook.weight.detach().double().numpy(), axes=(1, 0)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(given[0].detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_laws_of_the_pixels() -> None:
    images = pictures()
    for law, error in (("mse", F.mse_loss), ("smooth_l1", F.smooth_l1_loss)):
        network = tiny(law=law)
        painted: list[torch.Tensor] = []
        network.decoder.register_forward_hook(lambda module, args, made, kept=painted: kept.append(made))
        assert float(network(images, ONE).cost.detach()) == pytest.approx(float(error(painted[0], images).detach()), rel=1e-5)
    network, painted = tiny(law="laplace"), []
    network.decoder.register_forward_hook(lambda module, args, made: painted.append(made))
    cost = network(images, ONE).cost
    assert painted[0].shape[1] == 6
    expected = logit_laplace(images, painted[0][:, :3], painted[0][:, 3:])
    assert float(cost.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    made = network.paint(network.codes(images))
    assert made.shape == images.shape and float(made.min()) > 0 and float(made.max()) < 1


def test_gumbels_noise_makes_the_largest_as_likely_as_its_share() -> None:
    torch.manual_seed(0)
    shares = torch.tensor([0.5, 0.3, 0.2])
    drawn = gumbel_softmax(shares.log()[None, :, None].expand(1, 3, 40_000), ONE, hard=True)
    torch.testing.assert_close(drawn.sum(1), torch.ones(1, 40_000))
    torch.testing.assert_close(drawn.mean((0, 2)), shares, atol=0.01, rtol=0)


def test_hard_codes_have_the_soft_ones_gradient() -> None:
    logits = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    gradients = []
    for hard in (False, True):
        torch.manual_seed(3)
        made = gumbel_softmax(logits, torch.tensor(0.7), hard=hard)
        gradients.append(torch.autograd.grad((made * torch.arange(4.0)[None, :, None]).sum(), logits)[0])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_quantizer_tells_the_nearest_vector() -> None:
    network, images = tiny(quantizer="vq"), pictures()
    coded = network(images, ONE)
    z = network.encoder(images).detach().movedim(1, -1).reshape(-1, 5)
    nearest = torch.cdist(z, network.codebook.weight.detach()).argmin(1)
    assert torch.equal(network.codes(images).flatten(), nearest)
    assert torch.equal(network.eval()(images, ONE).codes.flatten(), nearest)
    assert coded.prior.requires_grad and network.logits(images).shape == (2, 6, 2, 2)
    shares = network.logits(images).softmax(1).movedim(1, -1).reshape(-1, 6)
    expected = (-torch.cdist(z, network.codebook.weight.detach()).square()).softmax(1)
    torch.testing.assert_close(shares.detach(), expected, rtol=1e-3, atol=1e-5)


def test_a_picture_that_is_no_whole_number_of_codes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"views of 10 x 8 px and 3 channels are no whole number of codes.* use a side that 4"):
        tiny()(torch.rand(1, 3, 10, 8), ONE)
