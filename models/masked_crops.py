"""What iBOT and DINOv2 share: global crops, some of whose patches the student does not see and its teacher does; how a run is
told of those, and how they are shown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..losses.ibot import patch_weights
from .distributed import add_up
from .heads import DinoHead
from .masked_transformer import replaced_tokens
from .pictured import Shown
from .views import Views
from .vit import is_plain_vit, one_line, tokens


@dataclass(frozen=True)
class Hidden:
    """What is masked of the N = G * B global crops, where the images are. mask (N, L) bool, True where masked; places (n,) int64:
    the masked patches among all N * L, in order; weights (n,): how much each counts, see losses.ibot.patch_weights."""

    mask: Tensor
    places: Tensor
    weights: Tensor

    def of(self, patches: Tensor) -> Tensor:
        """patches (N, L, D) to those that are masked, (n, D)."""
        return patches.flatten(0, 1).index_select(0, self.places)


def hidden_in(batch: Views, vit: Any) -> Hidden:
    """The masks of group "global", one of each of its views. Raises ValueError where they are not as many, or their grid is not
    that of the network's patches."""
    images, mask = batch.views["global"], batch.masks("global")
    rows, columns = vit.patch_embed.grid_size
    if len(mask) != len(images):
        raise ValueError(f"each of the {len(images)} views of group 'global' needs a mask, {len(mask)} have one")
    if tuple(mask.shape[2:]) != (rows, columns):
        raise ValueError(f"masks of {mask.shape[2]} x {mask.shape[3]} patches do not fit a backbone of {rows} x {columns} "
                         f"patches of {vit.patch_embed.patch_size[0]} px; set model.patch_px, or grid of the recipe's mask")
    mask = mask.flatten(0, 1).flatten(1)
    # Masks are drawn on the CPU, and counted there: how many there are, an accelerator would have to be waited for.
    found = mask, mask.flatten().nonzero()[:, 0], patch_weights(mask)
    return Hidden(*(each.to(images.device, non_blocking=True) for each in found))


def refuse_unmaskable(vit: nn.Module, backbone: str, method: str) -> None:
    """Raise ValueError unless single patches of it can be hidden, and each token, class token among them, comes out normed."""
    if not is_plain_vit(vit) or getattr(vit, "cls_token", None) is None or not isinstance(vit.norm, nn.LayerNorm):
        raise ValueError(f"{method} hides patches, and backbone {backbone!r} is no plain vision transformer with a class token "
                         "and a norm of every token; use for example 'vit_small_patch16_224'")


def tokens_of(vit: Any, images: Tensor, token: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """images (N, C, H, W), of its own size or another, to the class token (N, D) and the patches (N, L, D), after the last norm.
    token (1, 1, D): what the student sees in place of the patches of mask (N, L); None: it sees all. Raises ValueError, one line,
    where the network takes no images of such a size."""
    with one_line(vit, images):
        x = tokens(vit, images) if token is None else replaced_tokens(vit, images, mask, token)
    return x[:, 0], x[:, vit.num_prefix_tokens :]


@torch.no_grad()
def patch_health(teacher: Tensor, costs: Tensor, before: Tensor | None = None) -> dict[str, Tensor]:
    """Signs of a teacher that says nothing of patches, over the masked ones of all ranks, the same on each: mean entropy of its
    distributions over ln K, "patch_teacher_entropy", entropy of their mean over ln K, "patch_teacher_marginal_entropy", and
    "patch_kl" from its to the student's, nats. No numbers (nan) where nothing is masked.

    teacher (n, K): its distributions; costs (n,): see losses.ibot.patch_costs. before: distributions whose mean is looked at
    instead, (n, K), where the teacher's were made even.
    """
    choices = teacher.shape[1]
    entropies = torch.special.entr(teacher).sum(-1)
    sums = [(teacher if before is None else before).sum(0), entropies.sum()[None], costs.sum()[None],
            costs.new_full((1,), float(len(costs)))]
    total, entropy, cost, count = add_up(torch.cat(sums)).split([choices, 1, 1, 1])
    marginal = torch.special.entr(total / count).sum() / math.log(choices)
    return {"patch_teacher_entropy": (entropy / count)[0] / math.log(choices), "patch_teacher_marginal_entropy": marginal,
            "patch_kl": ((cost - entropy) / count)[0]}


def named(head: DinoHead, prototypes: nn.Module, patches: Tensor, center: Tensor | float = 0.0) -> Tensor:
    """patches (N, L, D) to (N, L) int64: the prototype that each is given to. One image after the other, for memory."""
    return torch.stack([(prototypes(head.bottleneck(image)) - center).argmax(-1) for image in patches])


def token_pictures(batch: Shown, teacher: Tensor, student: Tensor) -> dict[str, Tensor]:
    """Of each image's first global view "original"; "teacher's tokens", what the teacher, who sees all of it, names its patches,
    a colour for each prototype; "masked", what the student sees; "student's tokens", what it names all patches then.
    teacher, student (B, L) int64."""
    mask = batch.masks("global")[0]
    original = batch.rgb("global", batch.views["global"][0])
    side = original.shape[2] // mask.shape[1], original.shape[3] // mask.shape[2]
    gray = mask.to(original.device).repeat_interleave(side[0], 1).repeat_interleave(side[1], 2)[:, None]
    maps = [colours_of(tokens.unflatten(1, tuple(mask.shape[1:]))) for tokens in (teacher, student)]
    return {"original": original, "teacher's tokens": maps[0], "masked": torch.where(gray, 0.5, original),
            "student's tokens": maps[1]}


def colours_of(tokens: Tensor) -> Tensor:
    """tokens (N, rows, columns) int64 to (N, 3, rows, columns) in [0, 1]: for each number a colour, in every picture the same.
    The hue goes on by the golden section of a turn from each to the next, so that few that are near in number are alike, and four
    brightnesses take turns."""
    hue = (tokens.double() * ((math.sqrt(5) - 1) / 2)).frac()
    thirds = torch.tensor([1.0, 2 / 3, 1 / 3], dtype=hue.dtype, device=hue.device).view(3, 1, 1)
    pure = (((hue[:, None] + thirds).frac() * 6 - 3).abs() - 1).clamp(0, 1)
    brightness = 0.55 + 0.15 * (tokens % 4)[:, None]
    return (brightness * (0.3 + 0.7 * pure)).float()
