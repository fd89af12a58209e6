"""What every method is to the run that trains it: a loss of a batch, features to judge it by, and hooks around a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor, nn

from .views import Views

Rate = float | Literal["constant"]
"""A multiple of the run's learning rate, or the run's peak all through."""


class Method(nn.Module):
    """A network with its loss. `forward` takes a batch and returns {"loss": scalar with a gradient, further values to log}.

    `feature_dim` is D of `features`. `encoder` is the network inside whose features are judged, layer by layer too, and that
    is fine-tuned. The hooks do nothing here: a method overrides those that it needs. One step of a run is
    `before_step`, `forward`, backward, `after_backward`, clipping, the optimizer's update, `after_step`; with several ranks
    each calls the hooks of its own copy, which is the same on all of them.

    `whole_batch`: why the images of a batch have to come in one pass: None where the loss is a mean over images, each of which
    is looked at by itself, and a forward pass changes nothing but batch norms' statistics.

    `per_image`: it keeps something for each image of the data set, and is built with `images`, their number: None where it is
    only to be judged. Such memory is made last, so that the network begins with the same weights either way.
    """

    feature_dim: int
    per_image: ClassVar[bool] = False
    whole_batch: str | None = "its loss, or what it keeps, is of all images of a batch together"

    if TYPE_CHECKING:  # a property here would hide a subclass's module of that name from nn.Module
        @property
        def encoder(self) -> nn.Module: ...

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, feature_dim): what probes and kNN see."""
        features: Tensor = self.encoder(images)
        return features

    def shown(self, views: Mapping[str, Tensor]) -> Tensor:
        """(V, B, C, H, W): of a batch's views, {group: (V, B, C, H, W)}, those that `features` and `embed` take; the first
        group's."""
        return next(iter(views.values()))

    def embed(self, images: Tensor) -> Tensor | None:
        """(N, C, H, W) to (N, E): what the loss compares, to watch how it spreads; None where it compares nothing."""
        return None

    @property
    def projection_head(self) -> nn.Sequential | None:
        """From `features` towards what the loss compares: linear layers, each with the norm and the activation that follow it.
        An evaluation may keep the first of them. None: there is no such head."""
        return None

    def rates(self) -> dict[str, Rate]:
        """Learning rates of parts that have their own: by the name of a module or a parameter. Of two that fit a parameter, the
        later counts."""
        return {}

    def wants_pass(self, epoch: float) -> bool:
        """Whether it has to `observe` every image once, in train mode and without a gradient, before the step that comes next.
        epoch: as in `before_step`. Asked before each step, and again by a run that was stopped in such a pass, of which it kept
        nothing: the answer depends on what a checkpoint holds alone."""
        return False

    def observe(self, batch: Views) -> None:
        """A batch of a pass over all images that `wants_pass` asked for, in views of their own."""

    def before_step(self, epoch: float) -> None:
        """epoch: epochs done, with the fraction of the one under way, before this step's forward pass."""

    def after_backward(self) -> None:
        """Gradients are there, not yet clipped, and may be changed."""

    def after_step(self, progress: float) -> None:
        """The weights have moved. progress: share of all steps that are done, this one among them, in (0, 1]."""
