"""One step: what it changes by hand, and what one that is only measured leaves alone."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from viewmill.models import build, method_info
from viewmill.models.method import Method
from viewmill.models.rank_norm import over_ranks
from viewmill.models.training import process
from viewmill.models.training.config import OptimizerConfig
from viewmill.models.training.optimizer import build_optimizer
from viewmill.models.training.step import image_side, learn, refuse_lone_image, refuse_parts, step_of
from viewmill.train import read

from ..batches import batch_of, random_views


class Line(Method):
    """y = w x, w = 3 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((1, 1), 3.0))
        self.progress = 0.0

    def after_step(self, progress: float) -> None:
        self.progress = progress


class Watched(Line):
    """Keeps what each hook found: its name, what it was told, the weight, the gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, float | None, float, float | None]] = []

    def note(self, hook: str, told: float | None = None) -> None:
        self.seen.append((hook, told, self.w.item(), None if self.w.grad is None else self.w.grad.item()))

    def before_step(self, epoch: float) -> None:
        self.note("before_step", epoch)

    def after_backward(self) -> None:
        self.note("after_backward")
        self.w.grad = None if self.w.grad is None else self.w.grad / 2

    def after_step(self, progress: float) -> None:
        self.note("after_step", progress)


def test_a_step_moves_the_weights_by_the_rate_times_the_clipped_gradient() -> None:
    line = Line()
    optimizer = build_optimizer(line, OptimizerConfig("sgd", 1.0, "none", 0.0, momentum=0.0))
    for _ in range(2):  # the second must not see the first one's gradient
        with torch.no_grad():
            line.w.fill_(3.0)
        norm = learn(line, optimizer, line.w.square().sum(), 0.5, 2.0, 0.25)  # the gradient of w^2 at 3 is 6, clipped to 2
        assert norm is not None and norm.item() == pytest.approx(6.0)
        assert line.w.item() == pytest.approx(3.0 - 0.5 * 2.0) and line.progress == 0.25
    assert learn(line, optimizer, line.w.square().sum(), 0.0, None, 1.0) is None


def test_the_hooks_come_between_the_parts_of_a_step() -> None:
    line = Watched()
    optimizer = build_optimizer(line, OptimizerConfig("sgd", 1.0, "none", 0.0, momentum=0.0))
    norm = learn(line, optimizer, line.w.square().sum(), 0.5, 2.0, 0.25)
    # The gradient 6 is halved by the hook, and only then clipped from 3 to 2.
    assert norm is not None and norm.item() == pytest.approx(3.0)
    assert line.seen[0] == ("after_backward", None, 3.0, 6.0)
    assert line.seen[1][:2] == ("after_step", 0.25) and line.seen[1][2] == pytest.approx(2.0) and len(line.seen) == 2


def test_a_scaled_loss_moves_the_weights_as_an_unscaled_one_and_an_overflow_leaves_them() -> None:
    line, scaler = Watched(), GradScaler("cpu", init_scale=1024.0, backoff_factor=0.5)
    optimizer = build_optimizer(line, OptimizerConfig("sgd", 1.0, "none", 0.0, momentum=0.0))
    norm = learn(line, optimizer, line.w.square().sum(), 0.5, 2.0, 0.25, scaler=scaler)
    # As without: the hook halves 6 to 3, which is clipped to 2; 3 - 0.5 * 2.
    assert norm is not None and norm.item() == pytest.approx(3.0) and line.w.item() == pytest.approx(2.0)
    learn(line, optimizer, line.w.square().sum() * 1e38, 0.5, None, 0.5, scaler=scaler)
    assert line.w.item() == pytest.approx(2.0) and scaler.get_scale() == 512.0


@pytest.mark.parametrize(("accumulate", "batch_size", "method", "message"), [
    (3, 8, "mae", "accumulate=3 does not divide the 8 images of a rank's step"),
    (2, 8, "simclr", "accumulate=2: simclr needs a batch in one pass: its loss, or what it keeps, is of all images of a batch"),
    (2, 8, "ijepa", "accumulate=2: ijepa needs a batch in one pass: model.cut=true cuts contexts and blocks to the shortest"),
])
def test_parts_that_a_method_cannot_have_are_refused(accumulate: int, batch_size: int, method: str, message: str) -> None:
    config, recipe = read([method, "data=x.tar", f"recipe={method_info(method).recipe_32px}", f"accumulate={accumulate}",
                           f"batch_size={batch_size}"])
    with pytest.raises(ValueError, match=re.escape(message)):
        refuse_parts(build(method, config.model, image_px=image_side(recipe)), config, batch_size)


def test_the_base_methods_hooks_do_nothing() -> None:
    method = Method()
    assert [method.before_step(0.5), method.after_backward(), method.after_step(0.5), method.embed(torch.zeros(1))] == [None] * 4


def test_a_step_that_is_measured_changes_no_weight_but_computes_all_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    from viewmill.models.training import step as module

    made: list[nn.Module] = []
    build = module.build
    monkeypatch.setattr(module, "build", lambda *a, **k: made.append(build(*a, **k)) or made[0])
    config, recipe = read(["simclr", "data=x", "recipe=simclr_cifar", "model.backbone=convnet4", "optimizer.weight_decay=0.1"])
    step, weights = step_of(config, recipe, process.start("cpu"), images=4)
    (method,) = made
    before = {name: value.clone() for name, value in method.named_parameters() if value.requires_grad}
    for seed in range(2):
        step(batch_of(random_views(2, 4, image_side(recipe), seed)))
    assert weights == sum(value.numel() for value in before.values()) > 100_000
    after = dict(method.named_parameters())
    for name, value in before.items():
        grad = after[name].grad
        assert torch.equal(after[name], value) and grad is not None and grad.abs().sum() > 0, name


def test_batch_norm_over_a_single_image_is_refused() -> None:
    world = process.start("cpu")
    normed = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    with pytest.raises(ValueError, match=r"batch_size=1 leaves each rank one image, and batch norm \(1\) .* use batch_size=2 or"):
        refuse_lone_image(normed, 1, world)
    refuse_lone_image(normed, 2, world)
    refuse_lone_image(nn.Linear(2, 2), 1, world)
    over_ranks(normed, world.device)
    refuse_lone_image(normed, 1, replace(world, size=2))
    with pytest.raises(ValueError, match="leaves each rank one image"):
        refuse_lone_image(normed, 1, world)
