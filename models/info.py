"""What is known of a method without loading it: where its class is, what its paper published, how it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .method import Method


@dataclass(frozen=True)
class Variant:
    """Another run that was published of a method. about: which, in a few words. fields, numbers: its own fields and the run's
    numbers where they are not those of the main one; of optimizer and schedule, the keys named here alone."""

    about: str
    fields: dict[str, Any] = field(default_factory=dict, repr=False)
    numbers: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class MethodInfo:
    """One method.

    module, cls: where its class is; CLSConfig beside it are its own fields. recipe, recipe_32px: names of its views, at the
    published size and for 32 px images.
    published: a run's numbers (epochs, batch_size over all ranks, recipe, clip_grad, optimizer, schedule), as the paper's
    main experiment on ImageNet has them. published_32px: those that its experiment on 32 px images has otherwise; of optimizer
    and schedule, the keys named here alone. fields: its own fields where they are not its class's defaults. fields_32px: those
    that are others for 32 px images, as its authors or, where they have none, we set them.
    variants: further published runs, by name, for variant=NAME.
    metric: what the method is judged by, named before anything is measured: kNN or a linear classifier on its features, the
    best layer of a linear classifier on each, or fine-tuning. small: key=value words of a run on 32 px images, beside
    recipe=recipe_32px, that takes 60 to 90 s on two cores.
    """

    name: str
    module: str
    cls: str
    paper: str
    recipe: str
    recipe_32px: str
    published: dict[str, Any] = field(repr=False)
    metric: Literal["knn", "linear", "finetune", "layers"]
    small: tuple[str, ...] = field(repr=False)
    fields: dict[str, Any] = field(default_factory=dict, repr=False)
    fields_32px: dict[str, Any] = field(default_factory=dict, repr=False)
    published_32px: dict[str, Any] = field(default_factory=dict, repr=False)
    variants: dict[str, Variant] = field(default_factory=dict, repr=False)

    def load(self) -> type[Method]:
        loaded: type[Method] = getattr(import_module(f".{self.module}", __package__), self.cls)
        return loaded

    def config(self, **fields: Any) -> Any:
        """The method's own fields at their published values, but for those given."""
        return getattr(import_module(f".{self.module}", __package__), f"{self.cls}Config")(**{**self.fields, **fields})

    def numbers(self, *, small: bool, variant: str | None = None) -> dict[str, Any]:
        """A run's published numbers; small: of the experiment on 32 px images; variant: of another published run."""
        numbers = _changed(self.published, self.published_32px) if small else self.published
        return _changed(numbers, self.variant(variant).numbers)

    def variant(self, name: str | None) -> Variant:
        """None: the main run, with nothing changed. Raises ValueError for an unknown one, naming those there are."""
        if name is None:
            return Variant("")
        if name not in self.variants:
            known = f"use one of {', '.join(self.variants)}" if self.variants else "it has none; leave variant out"
            raise ValueError(f"{self.name} has no variant {name!r}; {known}")
        return self.variants[name]


def _changed(numbers: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: {**value, **changes.get(key, {})} if isinstance(value, dict) else changes.get(key, value)
            for key, value in {**changes, **numbers}.items()}
