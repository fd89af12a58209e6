"""Health while a run trains: when it is measured, of what, and that nothing is moved by it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from viewmill.evaluation.health import spread
from viewmill.evaluation.monitor import Monitor
from viewmill.models.method import Method
from viewmill.models.training.config import HealthConfig


class Noisy(Method):
    """Draws at random wherever it is asked, and has a norm with statistics and a part with a mode of its own."""

    def __init__(self, embeds: bool = True) -> None:
        super().__init__()
        self.norm, self.frozen, self.embeds = nn.BatchNorm2d(3), nn.Dropout(0.5), embeds
        self.frozen.eval()
        self.asked: list[tuple[int, ...]] = []

    def features(self, images: Tensor) -> Tensor:
        assert not self.training and not torch.is_grad_enabled()
        self.asked.append(tuple(images.shape))
        torch.rand(3)
        return self.frozen(self.norm(images)).flatten(1)

    def embed(self, images: Tensor) -> Tensor | None:
        return self.features(images)[:, :8] if self.embeds else None


def views(count: int, images: int = 12) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"global": torch.randn(count, images, 3, 4, 4, generator=generator), "local": torch.zeros(2, images, 3, 2, 2)}


def lines_with_health(every: int, log_every: int, total: int) -> list[int]:
    monitor = Monitor(HealthConfig(every=every), log_every, total, 64)
    logged = [step for step in range(1, total + 1) if step % log_every == 0 or step == total]
    return [step for step in logged if monitor.due(step)]


def test_measured_at_the_first_line_then_once_in_every_so_many_steps_and_at_the_end() -> None:
    assert lines_with_health(every=100, log_every=10, total=345) == [10, 100, 200, 300, 345]
    assert lines_with_health(every=25, log_every=10, total=100) == [10, 30, 50, 80, 100]
    assert lines_with_health(every=5, log_every=10, total=30) == [10, 20, 30]
    assert lines_with_health(every=100, log_every=1, total=3) == [1, 3]
    assert lines_with_health(every=0, log_every=1, total=300) == []


def test_features_and_embeddings_of_two_views_of_the_first_group() -> None:
    method, batch = Noisy(), views(4)
    values = Monitor(HealthConfig(images=5), 1, 10, 12).measure(1, method, batch)
    assert method.asked == [(10, 3, 4, 4)] * 2
    a, b = (view[:5].flatten(1) / (1 + 1e-5) ** 0.5 for view in batch["global"][:2])  # a new batch norm's statistics are 0 and 1
    assert values == pytest.approx(spread(a, b, "health") | spread(a[:, :8], b[:, :8], "embed"), rel=1e-5)


def test_a_method_says_which_of_a_batchs_views_its_features_take() -> None:
    class OfLocal(Noisy):
        def shown(self, views: Mapping[str, Tensor]) -> Tensor:
            return views["local"][:, :, :, :1]

    method = OfLocal()
    Monitor(HealthConfig(images=5), 1, 10, 12).measure(1, method, views(4))
    assert method.asked == [(10, 3, 1, 2)] * 2


def test_one_view_has_no_positives_and_a_method_without_embeddings_only_features() -> None:
    values = Monitor(HealthConfig(), 1, 10, 12).measure(1, Noisy(embeds=False), views(1))
    assert values.keys() == {"health_std", "health_rankme", "health_uniformity", "health_negative"}


def test_a_single_image_and_a_line_that_is_not_due_say_nothing() -> None:
    monitor, method = Monitor(HealthConfig(), 1, 10, 12), Noisy()
    assert monitor.measure(1, method, views(2, images=1)) == {} == monitor.measure(2, method, views(2))
    assert method.asked == []


def test_modes_statistics_and_random_numbers_stay_as_they_were() -> None:
    method = Noisy()
    state, drawn = {k: v.clone() for k, v in method.state_dict().items()}, torch.get_rng_state()
    Monitor(HealthConfig(), 1, 10, 12).measure(1, method, views(2))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(value, state[name]) for name, value in method.state_dict().items())
    assert method.training and method.norm.training and not method.frozen.training


def test_what_was_said_before_a_resume_is_not_said_again() -> None:
    fallen = {"health_std": 0.001, "health_rankme": 40.0, "health_negative": 1.0}
    unbroken = Monitor(HealthConfig(), 10, 1000, 64)
    assert [unbroken.verdict(fallen) is not None for _ in range(7)] == [False] * 4 + [True] + [False] * 2
    assert Monitor(HealthConfig(), 10, 1000, 64, [fallen] * 4).verdict(fallen) is not None
    assert Monitor(HealthConfig(), 10, 1000, 64, [fallen] * 5).verdict(fallen) is None


@pytest.mark.parametrize(("fields", "message"), [({"every": -1}, "health.every"), ({"images": 1}, "health.images")])
def test_numbers_that_make_no_sense_are_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HealthConfig(**fields)
