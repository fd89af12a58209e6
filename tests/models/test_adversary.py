"""Adversaries: whose weights each gradient reaches, that it is the right one, and the networks that the papers have."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from viewmill.losses.adversarial import fooling_bce, fooling_hinge, judging_bce, judging_hinge
from viewmill.models.adversary import Adversary, against, dcgan_judge, dcgan_widths, halvings, turned


def images(seed: int, count: int = 4, side: int = 8) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def judge(norm: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)] if norm else [nn.Conv2d(3, 4, 3)]
    return nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(4 * 36, 1))


@pytest.mark.parametrize(("law", "judging", "fooling"), [
    ("bce", judging_bce, fooling_bce), ("hinge", judging_hinge, fooling_hinge)])
def test_each_side_has_the_gradient_of_its_own_loss_alone(law: str, judging: object, fooling: object) -> None:
    adversary, real, made = Adversary(judge(), law), images(1), images(2).requires_grad_()  # type: ignore[arg-type]
    of_judge, of_maker = adversary(real, made)
    (of_judge + of_maker).backward()
    alone, again = judge(), images(2).requires_grad_()
    expected = judging(alone(real), alone(again.detach()))  # type: ignore[operator]
    expected.backward()
    torch.testing.assert_close(of_judge, expected)
    for mine, theirs in zip(adversary.judge.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
    (gradient,) = torch.autograd.grad(fooling(alone(again)), again)  # type: ignore[operator]
    torch.testing.assert_close(made.grad, gradient)


def test_against_a_network_with_batch_norm_statistics_are_those_of_what_is_shown() -> None:
    network, shown = judge(norm=True), images(3).requires_grad_()
    torch.testing.assert_close(against(network, shown), network(shown))
    against(network, shown).sum().backward()
    assert shown.grad is not None and float(shown.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_turned_gradient() -> None:
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = turned(x, 0.5)
    assert torch.equal(y, x)
    (y * torch.tensor([3.0, 4.0])).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [-1.5, -2.0]


def test_what_lies_before_learns_against_what_lies_behind_by_one_loss() -> None:
    """As two optimizers of the papers' codes would have it: one gradient for the classifier, minus it for the maker."""
    torch.manual_seed(0)
    maker, classifier, given = nn.Linear(3, 4), nn.Linear(4, 6), torch.randn(5, 3)
    label = torch.arange(5)
    nn.functional.cross_entropy(classifier(turned(maker(given))), label).backward()
    loss = nn.functional.cross_entropy(classifier(maker(given)), label)
    expected = torch.autograd.grad(loss, [*classifier.parameters(), *maker.parameters()])
    mine = [p.grad for p in (*classifier.parameters(), *maker.parameters())]
    for got, sign, want in zip(mine, (1, 1, -1, -1), expected, strict=True):
        torch.testing.assert_close(got, sign * want)


def test_the_published_judges() -> None:
    """64-128-256-512-1 for 64 px, one more of 64 for 128 px, as pathak22/context-encoder has them."""
    for side, channels in ((64, [64, 128, 256, 512, 1]), (128, [64, 64, 128, 256, 512, 1])):
        convolutions = [layer for layer in dcgan_judge(side) if isinstance(layer, nn.Conv2d)]
        assert [layer.out_channels for layer in convolutions] == channels
        assert all(layer.kernel_size == (4, 4) and layer.bias is None for layer in convolutions)
        assert dcgan_judge(side)(images(0, 2, side)).shape == (2, 1)
    norms = [layer for layer in dcgan_judge(64) if isinstance(layer, nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [128, 256, 512]
    assert float(norms[0].weight.detach().mean()) == pytest.approx(1, abs=0.01)
    assert float(convolutions[1].weight.detach().std()) == pytest.approx(0.02, rel=0.05)


def test_a_judge_for_any_side_from_8_px_on() -> None:
    assert [halvings(side) for side in (8, 15, 16, 64, 85, 128, 224)] == [1, 1, 2, 4, 4, 5, 5]
    assert dcgan_widths(2, 16) == [16, 32] and dcgan_widths(6) == [64, 64, 64, 128, 256, 512]
    for side in (8, 15, 21, 85):
        assert dcgan_judge(side, width=4)(images(0, 2, side)).shape == (2, 1)
    with pytest.raises(ValueError, match="a DCGAN needs images of at least 8 px, got 7"):
        dcgan_judge(7)


def test_a_maker_learns_to_look_real() -> None:
    """Real images are bright, made ones begin dark; both sides are moved by one step."""
    torch.manual_seed(0)
    shade, adversary = nn.Parameter(torch.full((1, 3, 8, 8), -1.0)), Adversary(dcgan_judge(8, width=8), "bce")
    optimizer = torch.optim.Adam([{"params": [shade], "lr": 2e-2}, {"params": adversary.parameters(), "lr": 2e-3}],
                                 betas=(0.5, 0.999))
    for step in range(120):
        made = shade + 0.1 * torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        judging, fooling = adversary(1 + 0.1 * images(1000 + step, 16), made)
        optimizer.zero_grad()
        (judging + fooling).backward()
        optimizer.step()
    assert float(shade.detach().mean()) > 0
