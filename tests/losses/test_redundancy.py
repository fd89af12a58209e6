"""Barlow Twins' and VICReg's losses, against the papers' formulas written out in float64, by hand, and in parts of a batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from viewmill.losses.redundancy import barlow_twins, vicreg
from viewmill.models.distributed import total

from ..world import World

WEIGHT = 0.0051


def embeddings(images: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Of two views: features that lean on each other, of unlike scales and means, views that agree in part."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(images, dim)) @ rng.normal(size=(dim, dim)) * rng.uniform(0.2, 1.5, dim) + rng.normal(size=dim)
    return base + 0.5 * rng.normal(size=base.shape), base + 0.5 * rng.normal(size=base.shape)


def pair(images: int, dim: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    a, b = embeddings(images, dim, seed)
    return torch.from_numpy(a).to(dtype), torch.from_numpy(b).to(dtype)


def correlation(a: np.ndarray, b: np.ndarray, eps: float) -> np.ndarray:
    """C_ij = sum_n a_ni b_nj / (sqrt(sum_n a_ni^2) sqrt(sum_n b_nj^2)) of centred features; eps: added to each variance."""
    images, dim = a.shape
    c = np.empty((dim, dim))
    for i in range(dim):
        for j in range(dim):
            x, y = a[:, i] - a[:, i].mean(), b[:, j] - b[:, j].mean()
            c[i, j] = (x * y).sum() / images / np.sqrt((x @ x / images + eps) * (y @ y / images + eps))
    return c


def barlow_by_hand(a: np.ndarray, b: np.ndarray, eps: float = 1e-5) -> tuple[float, np.ndarray, float]:
    c = correlation(a, b, eps)
    beside = sum(c[i, j] ** 2 for i in range(len(c)) for j in range(len(c)) if i != j)
    return sum((1 - c[i, i]) ** 2 for i in range(len(c))) + WEIGHT * beside, np.diag(c), beside


def vicreg_by_hand(a: np.ndarray, b: np.ndarray, paper: bool = False) -> tuple[float, float, float]:
    """The paper's s, v and c of both views, loop by loop; with the code's factors where `paper` is not set."""
    images, dim = a.shape
    s = sum(((a[n] - b[n]) ** 2).sum() for n in range(images)) / images
    v, c = [], []
    for z in (a, b):
        v.append(np.mean([max(0.0, 1 - np.sqrt(np.var(z[:, j], ddof=1) + 1e-4)) for j in range(dim)]))
        covariance = sum(np.outer(row - z.mean(0), row - z.mean(0)) for row in z) / (images - 1)
        c.append(sum(covariance[i, j] ** 2 for i in range(dim) for j in range(dim) if i != j) / dim)
    return (s, sum(v), sum(c)) if paper else (s / dim, sum(v) / 2, sum(c))


@pytest.mark.parametrize(("images", "dim"), [(9, 4), (4, 9), (2, 3), (7, 1)])
def test_barlow_twins_is_the_papers_formula(images: int, dim: int) -> None:
    a, b = embeddings(images, dim)
    loss, diagonal, beside = barlow_by_hand(a, b)
    wide = barlow_twins(torch.from_numpy(a), torch.from_numpy(b), WEIGHT)
    assert float(wide.loss) == pytest.approx(loss, rel=1e-12) and float(wide.off_diagonal) == pytest.approx(beside, rel=1e-12)
    np.testing.assert_allclose(wide.diagonal.numpy(), diagonal, rtol=1e-12)
    assert float(wide.loss) == pytest.approx(barlow_by_hand(a, b, eps=0.0)[0], rel=2e-3, abs=1e-4)  # batch norm's eps: little
    narrow = barlow_twins(torch.from_numpy(a).float(), torch.from_numpy(b).float(), WEIGHT)
    assert narrow.loss.dtype == torch.float32 and float(narrow.loss) == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize(("images", "dim"), [(9, 4), (4, 9), (2, 3), (7, 1)])
def test_vicreg_is_the_papers_formula_with_the_codes_factors_or_without(images: int, dim: int) -> None:
    a, b = embeddings(images, dim)
    official, paper = vicreg_by_hand(a, b), vicreg_by_hand(a, b, paper=True)
    assert float(vicreg(torch.from_numpy(a), torch.from_numpy(b)).loss) == pytest.approx(np.dot((25, 25, 1), official), rel=1e-12)
    for scale, terms in (("official", official), ("paper", paper)):
        expected = [np.dot((3, 5, 0.7), terms), *official]  # terms are reported in the code's scale
        wide = vicreg(torch.from_numpy(a), torch.from_numpy(b), (3, 5, 0.7), scale=scale)  # type: ignore[arg-type]
        np.testing.assert_allclose([float(term) for term in wide], expected, rtol=1e-12, atol=1e-15)
        narrow = vicreg(torch.from_numpy(a).float(), torch.from_numpy(b).float(), (3, 5, 0.7), scale=scale)  # type: ignore[arg-type]
        np.testing.assert_allclose([float(term) for term in narrow], expected, rtol=1e-4)
        assert {term.dtype for term in narrow} == {torch.float32}


def test_barlow_twins_by_hand() -> None:
    # Two features of four images that tell nothing of each other; of variance 1, which the eps of 1e-5 makes 1.00001.
    x, y = torch.tensor([1.0, 1.0, -1.0, -1.0]), torch.tensor([1.0, -1.0, 1.0, -1.0])
    z = torch.stack([x, y], 1)
    for other, on, off in ((z, 0, 0),                            # C is [[1, 0], [0, 1]]
                           (-z, 8, 0),                           # [[-1, 0], [0, -1]]
                           (z.flip(1), 2, 2),                    # [[0, 1], [1, 0]]
                           (torch.stack([x, x], 1), 1, 1),       # [[1, 1], [0, 0]]
                           (torch.stack([x, x + y], 1), (1 - 0.5**0.5) ** 2, 0.5)):  # [[1, sqrt(1/2)], [0, sqrt(1/2)]]
        found = barlow_twins(z, other, 0.1)
        assert float(found.loss) == pytest.approx(on + 0.1 * off, abs=1e-4)
        assert float(found.off_diagonal) == pytest.approx(off, abs=1e-4)


def test_vicreg_by_hand() -> None:
    # Of two images: one feature +-0.1, of variance 0.02, the other +-2, of variance 8; their covariance is 0.4.
    a = torch.tensor([[0.1, 2.0], [-0.1, -2.0]])
    found = vicreg(a, a + 3)  # 3 away in both features, everything else alike
    short = 1 - (0.02 + 1e-4) ** 0.5
    assert [float(term) for term in found[1:]] == pytest.approx([9, short / 2, 2 * 0.4**2], rel=1e-5)
    assert float(found.loss) == pytest.approx(25 * 9 + 25 * short / 2 + 0.32, rel=1e-5)
    assert float(vicreg(a, a + 3, scale="paper").loss) == pytest.approx(25 * 18 + 25 * short + 0.32, rel=1e-5)
    assert [float(term) for term in vicreg(a * 0, a * 0)[1:]] == pytest.approx([0, 0.99, 0])  # collapsed: 1 - sqrt(1e-4)


@pytest.mark.parametrize(("images", "dim"), [(5, 3), (3, 5), (4, 1)])
def test_gradients_are_those_of_finite_differences(images: int, dim: int) -> None:
    a, b = (z.requires_grad_() for z in pair(images, dim, seed=2))
    assert torch.autograd.gradcheck(lambda x, y: tuple(barlow_twins(x, y, 0.3)), (a, b))
    for scale in ("official", "paper"):
        assert torch.autograd.gradcheck(lambda x, y, scale=scale: tuple(vicreg(x, y, scale=scale)), (a, b))


def loss_of(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    return {"barlow_twins": lambda a, b: torch.stack([barlow_twins(a, b, WEIGHT).loss]),
            "vicreg": lambda a, b: torch.stack(list(vicreg(a, b)[1:]))}[name]


@pytest.mark.parametrize("name", ["barlow_twins", "vicreg"])
def test_images_and_features_may_come_in_any_order_and_views_change_places(name: str) -> None:
    loss, (a, b) = loss_of(name), pair(7, 5)
    expected = loss(a, b)
    rows, columns = torch.tensor([3, 1, 5, 0, 2, 4, 6]), torch.tensor([2, 0, 3, 1, 4])
    torch.testing.assert_close(loss(a[rows], b[rows]), expected)
    torch.testing.assert_close(loss(a[:, columns], b[:, columns]), expected)
    torch.testing.assert_close(loss(b, a), expected)
    sign = torch.tensor([1.0, -1, -1, 1, 1])
    torch.testing.assert_close(loss(a * sign, b * sign), expected)
    for other in (b[rows], b[:, columns], b * sign):  # of one view alone
        assert float((loss(a, other)[0] - expected[0]).abs()) > 0.1


def test_barlow_twins_knows_neither_scale_nor_shift_of_a_feature() -> None:
    a, b = pair(8, 5)
    scale, shift = torch.tensor([2.0, 30.0, 1.5, 7.0, 400.0]), torch.tensor([-3.0, 100.0, 0.0, 5.0, 1.0])
    for x, y in ((a * scale + shift, b), (a, b * scale + shift), (a * scale - shift, b * scale + shift)):
        torch.testing.assert_close(barlow_twins(x, y, WEIGHT).loss, barlow_twins(a, b, WEIGHT).loss, rtol=1e-3, atol=1e-4)


def test_vicregs_variance_and_covariance_know_no_shift_and_its_invariance_no_rotation() -> None:
    a, b = pair(8, 5)
    expected, shift = vicreg(a, b), torch.tensor([-3.0, 100.0, 0.0, 5.0, 1.0])
    for got, wanted in zip(vicreg(a + shift, b - shift)[2:], expected[2:], strict=True):
        torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(vicreg(a + shift, b + shift).invariance, expected.invariance)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    torch.testing.assert_close(vicreg(a @ rotation, b @ rotation).invariance, expected.invariance)


def test_features_that_stand_far_from_zero_lose_no_digits() -> None:
    # Centred before they are squared: a mean of a thousand standard deviations is no matter in float32.
    a, b = pair(64, 4)
    far_a, far_b = (a + 4096).float(), (b + 4096).float()
    exact = barlow_twins(far_a.double(), far_b.double(), WEIGHT).loss
    assert float(barlow_twins(far_a, far_b, WEIGHT).loss) == pytest.approx(float(exact), rel=1e-4)
    exact = torch.stack(list(vicreg(far_a.double(), far_b.double())))
    assert [float(term) for term in vicreg(far_a, far_b)] == pytest.approx(exact.tolist(), rel=1e-4)


@pytest.mark.parametrize("name", ["barlow_twins", "vicreg"])
def test_half_precision_is_computed_in_float32_inside_autocast_too(name: str) -> None:
    loss, (a, b) = loss_of(name), pair(8, 5, dtype=torch.bfloat16)
    a.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(a, b)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.detach().numpy(), loss(a.detach().double(), b.double()).numpy(), rtol=1e-5)
    found.sum().backward()
    assert a.grad is not None and a.grad.dtype == torch.bfloat16


@pytest.mark.parametrize(("name", "tables"), [("barlow_twins", 1), ("vicreg", 2)])
def test_of_tables_feature_by_feature_each_correlation_is_kept_once(name: str, tables: int) -> None:
    # At 8192 features a table takes 256 MiB: no mask, no table of squares is kept.
    a, b = (z.requires_grad_() for z in pair(4, 33))
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        if x.untyped_storage().nbytes() >= 33 * 33 * x.element_size():
            kept[x.data_ptr()] = x.numel()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss_of(name)(a, b)
    assert list(kept.values()) == [33 * 33] * tables


def test_what_does_not_fit_is_refused() -> None:
    z = torch.rand(4, 3)
    for call in (lambda a, b: barlow_twins(a, b, WEIGHT), vicreg):
        with pytest.raises(ValueError, match=r"both views need one shape \(B, D\), got \(4, 3\) and \(3, 3\)"):
            call(z, z[:3])
        with pytest.raises(ValueError, match="statistics over a batch need at least two images, got 1"):
            call(z[:1], z[:1])
    with pytest.raises(ValueError, match="scale needs 'official' or 'paper', got 'code'"):
        vicreg(z, z, scale="code")  # type: ignore[arg-type]


def of_a_part(parts: tuple[int, ...]) -> list[tuple[list[float], Tensor, Tensor]]:
    """Barlow Twins' and VICReg's values, and gradients of this rank's rows."""
    begin = sum(parts[: dist.get_rank()])
    told = []
    for loss in (lambda a, b: barlow_twins(a, b, 0.3, total=total), lambda a, b: vicreg(a, b, total=total)):
        a, b = (z[begin : begin + parts[dist.get_rank()]].clone().requires_grad_() for z in pair(sum(parts), 5, seed=3))
        found = loss(a, b)
        sum((place + 1) * term.sum() for place, term in enumerate(found)).backward()
        told.append(([float(term.detach().sum()) for term in found], a.grad, b.grad))
    return told  # type: ignore[return-value]


@pytest.mark.parametrize("parts", [(4, 4), (6, 1), (2, 5, 3)])
def test_parts_of_a_batch_have_the_values_and_the_gradients_of_the_whole(world: World, parts: tuple[int, ...]) -> None:
    # Each process works the whole loss out, so that its rows are asked for by all: the gradient comes once for each of them.
    told = world(len(parts), of_a_part, parts)
    for which, loss in enumerate((lambda a, b: barlow_twins(a, b, 0.3), vicreg)):
        a, b = (z.requires_grad_() for z in pair(sum(parts), 5, seed=3))
        found = loss(a, b)
        sum((place + 1) * term.sum() for place, term in enumerate(found)).backward()
        for values, _, _ in (of[which] for of in told):
            assert values == pytest.approx([float(term.detach().sum()) for term in found], rel=1e-10)
        for place, whole in ((1, a.grad), (2, b.grad)):
            assert whole is not None
            torch.testing.assert_close(torch.cat([of[which][place] for of in told]), len(parts) * whole, rtol=1e-9, atol=1e-12)
