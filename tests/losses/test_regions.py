"""Which region teaches which, and what they teach, against EsViT's pairs written out in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from viewmill.losses.regions import nearest_regions, region_loss


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.5, shape)


def nearest_by_hand(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    unit = [x / np.sqrt((x**2).sum(-1, keepdims=True)) for x in (student, teacher)]
    found = np.zeros((len(student), len(teacher), *student.shape[1:3]), np.int64)
    for v, g, b, t in np.ndindex(*found.shape):
        found[v, g, b, t] = np.argmax([unit[0][v, b, t] @ its for its in unit[1][g, b]])
    return found


def by_hand(student: list[np.ndarray], teacher: np.ndarray, nearest: list[np.ndarray], temperature: float) -> float:
    """Loop over pairs of a teacher's view i and another view j of the student's; of each, the mean over images of the mean over
    regions of -q log p."""
    views = [(logits, index) for size, indices in zip(student, nearest, strict=True)
             for logits, index in zip(size, indices, strict=True)]
    terms = []
    for i in range(len(teacher)):
        for j, (logits, index) in enumerate(views):
            if i != j:
                log_p = np.log(softmax(logits / temperature))
                of_image = [np.mean([-(teacher[i, b, index[i, b, t]] * log_p[b, t]).sum() for t in range(logits.shape[1])])
                            for b in range(len(logits))]
                terms.append(np.mean(of_image))
    return float(np.mean(terms))


SIZES = [(2, 6), (3, 2)]
"""Two views of 6 regions, the teacher's, and three of 2; 3 images, 7 choices, features 5 wide."""


def case(sizes: list[tuple[int, int]] = SIZES, given: int = 2) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
    student = [draw(views, 3, count, 7, seed=count) for views, count in sizes]
    teacher = softmax(draw(given, 3, 6, 7, seed=20) / 0.1)
    features = draw(given, 3, 6, 5, seed=21)
    nearest = [nearest_by_hand(draw(views, 3, count, 5, seed=10 + count), features) for views, count in sizes]
    return student, teacher, nearest


def tensors(arrays: list[np.ndarray]) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


@pytest.mark.parametrize(("views", "given", "mine", "its"), [(1, 1, 4, 4), (2, 2, 6, 6), (3, 2, 2, 6), (2, 1, 9, 3)])
def test_the_teachers_region_of_the_highest_cosine(views: int, given: int, mine: int, its: int) -> None:
    student, teacher = draw(views, 3, mine, 5), draw(given, 3, its, 5, seed=1)
    teacher[:, :, 0] *= 50  # the longest has no advantage
    found = nearest_regions(torch.from_numpy(student), torch.from_numpy(teacher))
    assert found.dtype == torch.int64 and found.shape == (views, given, 3, mine)
    np.testing.assert_array_equal(found.numpy(), nearest_by_hand(student, teacher))


def test_an_images_regions_are_looked_for_in_that_image_alone() -> None:
    teacher = torch.eye(6).view(1, 2, 3, 6)  # image 0 has the axes 0, 1, 2, image 1 has 3, 4, 5
    student = torch.eye(6)[[2, 0, 4, 5]].view(1, 2, 2, 6)
    assert nearest_regions(student, teacher).tolist() == [[[[2, 0], [1, 2]]]]


def test_matching_has_no_gradient_and_is_done_in_float32() -> None:
    student, teacher = (torch.randn(1, 2, 4, 5, requires_grad=True) for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        found = nearest_regions(student, teacher)
    assert not found.requires_grad
    np.testing.assert_array_equal(found.numpy(), nearest_by_hand(*(x.detach().double().numpy() for x in (student, teacher))))


@pytest.mark.parametrize(("sizes", "given"), [(SIZES, 2), ([(2, 6)], 2), ([(2, 6)], 1), ([(2, 6), (1, 9), (2, 1)], 2)])
def test_the_mean_over_pairs_images_and_the_students_regions(sizes: list[tuple[int, int]], given: int) -> None:
    student, teacher, nearest = case(sizes, given)
    loss = region_loss(tensors(student), torch.from_numpy(teacher), tensors(nearest), 0.2)
    assert loss.dtype == torch.float64
    assert float(loss) == pytest.approx(by_hand(student, teacher, nearest, 0.2), rel=1e-12)
    in_float32 = region_loss([x.float() for x in tensors(student)], torch.from_numpy(teacher).float(), tensors(nearest), 0.2)
    assert in_float32.dtype == torch.float32 and float(in_float32) == pytest.approx(float(loss), rel=1e-5)


def test_each_region_is_taught_by_its_own_nearest() -> None:
    # One image, one region in the student's second view, two choices. The teacher's first view has region 0 for choice 0 and
    # region 1 for choice 1, with certainty; the second view's logits 0, 1: -log softmax is ln(1 + e) and ln(1 + 1/e).
    student = [torch.zeros(2, 1, 1, 2, dtype=torch.float64)]
    student[0][1, 0, 0, 1] = 1.0
    teacher = torch.eye(2, dtype=torch.float64).view(1, 1, 2, 2)
    for region, expected in ((0, math.log(1 + math.e)), (1, math.log(1 + 1 / math.e))):
        nearest = [torch.full((2, 1, 1, 1), region)]
        assert float(region_loss(student, teacher, nearest, 1.0)) == pytest.approx(expected, rel=1e-12)


def test_the_gradient_is_the_slope_and_none_reaches_the_teacher() -> None:
    student, teacher, nearest = case()
    mine, its = [x.requires_grad_() for x in tensors(student)], torch.from_numpy(teacher).requires_grad_()
    region_loss(mine, its, tensors(nearest), 0.3).backward()
    assert its.grad is None
    for size in range(2):
        found = mine[size].grad
        assert found is not None
        for place in list(np.ndindex(*student[size].shape))[::11]:
            either = []
            for step in (1e-6, -1e-6):
                moved = [x.copy() for x in student]
                moved[size][place] += step
                either.append(by_hand(moved, teacher, nearest, 0.3))
            assert float(found[place]) == pytest.approx((either[0] - either[1]) / 2e-6, abs=1e-8)


def test_half_precision_is_computed_in_float32() -> None:
    student, teacher, nearest = case()
    half = [x.bfloat16() for x in tensors(student)]
    with torch.autocast("cpu", torch.bfloat16):
        loss = region_loss(half, torch.from_numpy(teacher).float(), tensors(nearest), 0.1)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(by_hand([x.double().numpy() for x in half], teacher, nearest, 0.1), rel=1e-5)


class Largest(TorchDispatchMode):
    """Of all tensors that any operation makes, how many numbers the largest has."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else [made]:
            self.numbers = max(self.numbers, each.numel() if isinstance(each, torch.Tensor) else 0)
        return made


def test_no_table_of_pairs_times_choices_is_ever_made() -> None:
    views, images, regions, choices = 2, 3, 8, 500
    student = [torch.randn(views, images, regions, choices, requires_grad=True)]
    teacher = torch.randn(2, images, regions, choices).softmax(-1)
    nearest = [torch.randint(regions, (views, 2, images, regions))]
    with Largest() as largest:
        region_loss(student, teacher, nearest, 0.1).backward()
    assert largest.numbers == views * images * regions * choices  # the logits themselves


def test_what_does_not_fit_is_refused() -> None:
    student, teacher, nearest = case()
    mine, its, index = tensors(student), torch.from_numpy(teacher), tensors(nearest)
    with pytest.raises(ValueError, match="student's temperature needs a number above 0, got 0"):
        region_loss(mine, its, index, 0)
    for wrong in ([x[:, :2] for x in mine], [x[..., :3] for x in mine], [x[:, :, :1] for x in mine], [mine[0][:1], mine[1]]):
        with pytest.raises(ValueError, match="need to fit, with G <= the first V"):
            region_loss(wrong, its, index, 0.1)
    with pytest.raises(ValueError, match="at least 2 views, 1 of them the teacher's, got 1 and 1"):
        region_loss([mine[0][:1]], its[:1], [index[0][:1, :1]], 0.1)
    with pytest.raises(ValueError, match=r"regions need features \(V, B, T, D\) and \(G, B, S, D\), got \(1, 2, 3, 4\) and"):
        nearest_regions(torch.zeros(1, 2, 3, 4), torch.zeros(1, 3, 3, 4))
