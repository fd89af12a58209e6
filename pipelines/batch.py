"""Batch: views with everything needed to know, or to make again, what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..augment.draw import Params
from ..augment.handover import Handover
from ..augment.masks import Attention
from ..augment.masks.attention import visible_by_attention

if TYPE_CHECKING:
    from ..augment.op import Op
    from ..augment.render import Model


PER_SAMPLE = ("label", "index", "position", "substitute", "padding")
"""Tensors of a batch, of one value a sample."""


@dataclass
class Batch:
    """B samples of one epoch, in the order of their positions.

    views: by group, (V, B, C, H, W), of the loader's dtype and memory format. params: what was drawn, by view and op, NumPy
    arrays with leading dimension B.
    label (B,) int64, -1 where there is none; key: B names. index (B,) int64: the number in the data set of the picture
    that is really shown; position (B,) int64: its place in the epoch. substitute (B,) bool: a stand-in for a picture that
    could not be used. padding (B,) bool: an earlier sample of the epoch again, where the last batch is filled up. handover: the
    recipe, and which of its ops are left to the method.
    """

    views: dict[str, Tensor]
    params: Params
    label: Tensor
    key: list[str]
    index: Tensor
    position: Tensor
    substitute: Tensor
    epoch: int
    padding: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    handover: Handover | None = None

    def __post_init__(self) -> None:
        if len(self.padding) != len(self.index):
            self.padding = torch.zeros(len(self.index), dtype=torch.bool)

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, first: int, end: int) -> Batch:
        """The samples first to end - 1 alone, as a batch; tensors are views of this one's."""
        params = {view: {op: {name: array[first:end] for name, array in arrays.items()} for op, arrays in ops.items()}
                  for view, ops in self.params.items()}
        return replace(self, views={group: views[:, first:end] for group, views in self.views.items()}, params=params,
                       key=self.key[first:end], **{name: getattr(self, name)[first:end] for name in PER_SAMPLE})

    def masks(self, group: str, attention: Tensor | None = None) -> Tensor:
        """(V, B, rows, columns) bool, True where masked: the masks drawn for the views of a group.

        attention: of the same shape, at least 0, a teacher's to each patch. A recipe whose masks are drawn by it (`Attention`)
        has drawn the noise alone, and what it makes of both lies where the attention does; other masks do not ask for it. Raises
        ValueError where the recipe draws none for it, or needs the attention.
        """
        ops = [] if self.handover is None else self._attended(group)
        if not ops:
            return self.drawn(group, "mask", "masks")
        if attention is None:
            raise ValueError(f"the masks of group {group!r} are drawn by a teacher's attention, which only a method with a "
                             "teacher has, such as milan; use a recipe with other masks, for example random_exact")
        noise = self.drawn(group, "gumbel").to(attention.device, non_blocking=True)
        made = [visible_by_attention(own.flatten(1), drawn, int(op.visible or 0)).view(own.shape)
                for op, own, drawn in zip(ops, attention, noise, strict=True)]
        return torch.stack(made)

    def _attended(self, group: str) -> list[Attention]:
        """Of each view of a group, the op that draws its mask by attention; none where the recipe has other masks."""
        assert self.handover is not None
        views = sorted((each for each in self.handover.recipe.instances if each.group == group), key=lambda each: each.ordinal)
        return [op for view in views for op in view.ops if isinstance(op, Attention)]

    def drawn(self, group: str, name: str, called: str | None = None) -> Tensor:
        """(V, B, ...): one drawn parameter of the views of a group, whichever op drew it. called: what an error calls it.

        Raises ValueError where the recipe draws no such parameter for it.
        """
        drawn = {view: arrays[name] for view, ops in self.params.items() for arrays in ops.values() if name in arrays}
        ordinals = sorted(int(view.rpartition("/")[2]) for view in drawn if view.rpartition("/")[0] == group)
        if not ordinals:
            groups, what = sorted({view.rpartition("/")[0] for view in drawn}), called or name
            raise ValueError(f"the recipe draws no {what} for group {group!r}; groups with {what}: {', '.join(groups) or 'none'}")
        return torch.stack([torch.from_numpy(drawn[f"{group}/{i}"]) for i in ordinals])

    def finished(self, group: str, models: Mapping[str, Model] | None = None) -> Tensor:
        """(V, B, C, H, W): the views of a group with what engines left to the method, see the loader's `left`; its views as they
        are where they left nothing. models: by type of op what stands in for it, levels 0..255 and its parameters in, levels out.
        Gradients flow. Raises UnsupportedRecipe where an op needs a model and has none.
        """
        views = self.views[group]
        return views if self.handover is None else self.handover.finish(group, views, self.params, models)

    def left(self, group: str) -> list[tuple[Op, dict[str, Tensor]] | None]:
        """Of each view of a group: the op that it waits for, and what was drawn for it, {name: (B, ...)}; None: for none."""
        rest = [] if self.handover is None else self.handover.rest(group)
        drawn = [{name: torch.from_numpy(array) for name, array in self.params[instance.name][ops[0].name].items()} if ops else {}
                 for instance, ops in rest]
        return [(ops[0], values) if ops else None for (_, ops), values in zip(rest, drawn, strict=True)]

    def view_labels(self, group: str) -> tuple[int, ...]:
        """Of each view of a group, its label in the recipe: which class it is. Raises ValueError where it has none."""
        labels = () if self.handover is None else self.handover.labels(group)
        if not labels:
            raise ValueError(f"the recipe states no labels for the views of group {group!r}")
        return labels

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Batch:
        """The batch with its tensors on a device; params and keys stay. Where all is there already: this same batch."""
        tensors = {name: getattr(self, name) for name in PER_SAMPLE}
        moved = {name: tensor.to(device, non_blocking=non_blocking) for name, tensor in tensors.items()}
        views = {group: tensor.to(device, non_blocking=non_blocking) for group, tensor in self.views.items()}
        if all(new is old for new, old in zip([*moved.values(), *views.values()],
                                              [*tensors.values(), *self.views.values()], strict=True)):
            return self
        return replace(self, views=views, **moved)
