"""LCI (Jenni, Jin, Favaro 2020, arXiv:2004.02331): is an image untouched, inpainted in part, turned (three ways), or warped?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..augment.pixel_noise import normal
from .adversary import Adversary, turned
from .backbone import backbone
from .method import Method, Rate
from .patch_inpainter import PatchInpainter, cut, pair_judge, pairs, paste
from .pictured import Shown
from .training.bounds import above_zero, not_negative, whole
from .training.config import key
from .views import Views

CLASSES = 6
KINDS = {"inpainted": (1,), "turned": (2, 3, 4), "warped": (5,)}
"""Classes but the first, of untouched images, by what was done to them."""


@dataclass(frozen=True)
class LCIConfig:
    backbone: str = key("any of timm's names, alexnet or convnet4", "alexnet")
    patch_px: int | None = key("side of a vision transformer's patch; null: the backbone's own", None)
    inpainter_width: int = key("channels of the inpainter's first layer", 48)
    inpainter_layers: int = key("of its encoder, all but the first halving the patch", 5)
    judge_width: int = key("channels of its discriminator's first layer; it has a layer less than the inpainter", 64)
    reconstruction_weight: float = key("of the squared errors of the border of inpainted patches, and of autoencoded ones", 50.0)
    against_weight: float = key("of the classifier's loss in the inpainter's, which makes it larger; 0: not against it", 1.0)
    autoencode: bool = key("autoencoded patches in the untouched class, where the recipe says; false: for an ablation", True)
    inpainter_rate: float = key("learning rate of the inpainter, as a multiple of the run's", 2 / 3)
    judge_rate: float = key("learning rate of its discriminator, as a multiple of the run's", 8 / 3)

    def __post_init__(self) -> None:
        whole(self, "patch_px", "inpainter_width", "judge_width")
        whole(self, "inpainter_layers", least=3)
        not_negative(self, "reconstruction_weight", "against_weight")
        above_zero(self, "inpainter_rate", "judge_rate")


class LCI(Method):
    """Group "class" holds a view of each class, (V, B, C, image_px, image_px), in [-1, 1] once finished: the recipe's ops inpaint
    and autoencode, and those that follow them, are rendered here. The views of class 0 and of the turns are of one crop, with one
    autoencoded patch."""

    Config = LCIConfig
    renders: ClassVar[tuple[str, ...]] = ("autoencode", "inpaint")
    encoder: nn.Module

    def __init__(self, config: LCIConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config, self.image_px = config, image_px
        self.encoder, self.feature_dim = backbone(config.backbone, image_px, in_chans, patch_px=config.patch_px)
        self.classifier = nn.Linear(self.feature_dim, CLASSES)
        self.inpainter = PatchInpainter(in_chans, config.inpainter_width, config.inpainter_layers)
        self.adversary = Adversary(pair_judge(in_chans, config.judge_width, config.inpainter_layers - 1), "hinge")

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss"; its parts: "classifying", the mean cross-entropy over all V B views, "judging" and "fooling", of the
        discriminator of inpainted patches, "border" and "autoencoding", mean squared errors; "accuracy", chance is 1 / 6, and
        that of each kind, untouched images apart from those with an autoencoded patch}.

        The classifier's gradient comes to the inpainter with its sign turned: one backward pass has both sides. Raises ValueError
        where the recipe has no such views, or on fewer than two images.
        """
        patches = self.patches(batch)
        images, labels = self.images(batch, patches), batch.view_labels("class")
        label = torch.tensor(labels, device=images.device)[:, None].expand(images.shape[:2])
        logits = self.classifier(self.encoder(turned(images.flatten(0, 1), self.config.against_weight)))
        classifying = F.cross_entropy(logits, label.flatten())
        judging, fooling = self.adversary(pairs(patches.hurt), pairs(patches.inpainted))
        # No choice of pixels: on an accelerator their number would be waited for.
        border = ((patches.inpainted - patches.hurt).square() * patches.border).mean() / patches.border.float().mean()
        autoencoding = F.mse_loss(patches.autoencoded, patches.whole)
        loss = classifying + judging + fooling + self.config.reconstruction_weight * (border + autoencoding)
        parts = {"classifying": classifying, "judging": judging, "fooling": fooling, "border": border,
                 "autoencoding": autoencoding}
        right = (logits.detach().argmax(1).view_as(label) == label).float()
        return {"loss": loss, **{name: value.detach() for name, value in parts.items()}, "accuracy": right.mean(),
                **self._by_kind(batch, right, labels)}

    def patches(self, batch: Views) -> Patches:
        """All that is made of patches, in one pass of the inpainter: its batch norms see both kinds together."""
        given, labels, left = 2 * batch.views["class"] - 1, batch.view_labels("class"), batch.left("class")
        waiting = {label: each for label, each in zip(labels, left, strict=True) if each is not None}
        if not {0, 1} <= waiting.keys() or waiting[1][0].type != "inpaint" or waiting[0][0].type != "autoencode":
            raise ValueError("lci needs views of class 0 that wait for autoencode, and of class 1 that wait for inpaint; use "
                             "recipe=lci, and a Loader with left=('autoencode', 'inpaint')")
        box = waiting[0][1]["box"]
        if any(op.type == "autoencode" and not torch.equal(drawn["box"], box) for op, drawn in waiting.values()):
            raise ValueError("lci needs one autoencoded patch for all views of an image: give the recipe's autoencode "
                             "scope='image' and one share")
        if given.shape[1] < 2:
            raise ValueError("lci's discriminator looks at pairs, got one image; use a larger batch_size")
        op: Any = waiting[1][0]
        drawn = waiting[1][1]
        whole, hurt = cut(given[labels.index(0)], box), cut(given[labels.index(1)], drawn["box"])
        inside = slice(op.border_px, op.border_px + op.hole_px)
        noise = normal(drawn["seed"].to(given.device, non_blocking=True), given.shape[2] * op.hole_px**2)
        erased, border = hurt.clone(), torch.ones(hurt.shape[2:], dtype=torch.bool, device=given.device)
        erased[..., inside, inside] = op.noise_std * noise.view(len(hurt), -1, op.hole_px, op.hole_px)
        border[inside, inside] = False
        autoencoded, inpainted = self.inpainter(torch.cat([whole, erased])).chunk(2)
        return Patches(whole, autoencoded, hurt, erased, inpainted, border)

    def images(self, batch: Views, patches: Patches) -> Tensor:
        """(V, B, C, image_px, image_px): the views with the patches in their places, and what follows in the recipe."""
        keep = None if self.config.autoencode else lambda levels, drawn: levels
        return batch.finished("class", {"inpaint": _into(patches.inpainted), "autoencode": keep or _into(patches.autoencoded)})

    def shown(self, views: Mapping[str, Tensor]) -> Tensor:
        """Of all images, as they were before any patch, the middle."""
        height, width = views["class"].shape[-2:]
        top, left = (height - self.image_px) // 2, (width - self.image_px) // 2
        return 2 * views["class"][..., top : top + self.image_px, left : left + self.image_px] - 1

    def rates(self) -> dict[str, Rate]:
        return {"inpainter": self.config.inpainter_rate, "adversary": self.config.judge_rate}

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """Patches, (B, 3, h, w) in [0, 1]: one with its inside erased and inpainted, and one that is autoencoded."""
        patches = self.patches(batch)
        columns = {"original": patches.hurt, "erased": patches.erased, "inpainted": patches.inpainted, "another": patches.whole,
                   "autoencoded": patches.autoencoded}
        return {title: batch.rgb("class", column) for title, column in columns.items()}

    @staticmethod
    def _by_kind(batch: Views, right: Tensor, labels: tuple[int, ...]) -> dict[str, Tensor]:
        """right (V, B): 1 where a view's class is found. Shares; 0 of a kind that this batch has none of."""
        waits = batch.left("class")[labels.index(0)]
        assert waits is not None
        touched = waits[1]["apply"].to(right.device, non_blocking=True).float()
        plain = right[labels.index(0)]
        told = {"accuracy_plain": _share(plain, 1 - touched), "accuracy_autoencoded": _share(plain, touched)}
        for kind, classes in KINDS.items():
            own = [number for number, label in enumerate(labels) if label in classes]
            told[f"accuracy_{kind}"] = right[own].mean() if own else right.new_zeros(())
        return told


@dataclass(frozen=True)
class Patches:
    """(B, C, h, w) in [-1, 1]: of class 0 as they are and autoencoded, of class 1 as they are, erased and inpainted. border (h,
    w): True where an erased one is not."""

    whole: Tensor
    autoencoded: Tensor
    hurt: Tensor
    erased: Tensor
    inpainted: Tensor
    border: Tensor


def _into(patches: Tensor) -> Any:
    """What puts patches (B, C, h, w) in [-1, 1] into levels (B, C, H, W), where the drawn coin says so."""
    def model(levels: Tensor, drawn: Mapping[str, Any]) -> Tensor:
        pasted = paste(levels, (patches + 1) * 127.5, torch.as_tensor(drawn["box"]))
        if "apply" not in drawn:
            return pasted
        acts = torch.as_tensor(drawn["apply"]).to(levels.device, non_blocking=True)
        return torch.where(acts[:, None, None, None], pasted, levels)

    return model


def _share(right: Tensor, among: Tensor) -> Tensor:
    return (right * among).sum() / among.sum().clamp(min=1)
