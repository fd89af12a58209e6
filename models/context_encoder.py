"""Context Encoders (Pathak et al. 2016, arXiv:1604.07379): what was in the hole, painted from what is around it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..losses.inpainting import hole_weights, weighted_mse
from .adversary import Adversary, dcgan_judge
from .alexnet import AlexNet
from .backbone import backbone
from .encoder_decoder import CodeEncoder, MapDecoder, code_decoder
from .method import Method, Rate
from .pictured import Shown
from .regions import map_of
from .training.bounds import above_zero, from_0_to_1, not_negative, whole
from .training.config import key
from .views import Views
from .vit import features_of

ADVERSARIAL = 0.001
AUTHORS = "authors"


@dataclass(frozen=True)
class ContextEncoderConfig:
    backbone: str = key("authors: their own encoder; or any of timm's names that has regions, alexnet, convnet4", AUTHORS)
    patch_px: int | None = key("side of a vision transformer's patch; null: the backbone's own", None)
    code_dim: int = key("width of the authors' code, which is what their encoder says", 4000)
    width: int = key("channels of the decoder's largest map, and of the authors' encoder's", 64)
    decode: Literal["map", "features"] = key("what another backbone's decoder sees: its last map, or its features alone, as the "
                                             "authors' sees a code", "map")
    predict: Literal["center", "image"] = key("what is painted: the middle half of a view, rows and columns, or all", "center")
    overlap_px: int = key("outermost pixels of a hole that stay visible: the ring_px of the recipe's mask", 4)
    overlap_weight: float = key("of squared errors there; inside a hole it is 1", 10.0)
    context_weight: float = key("of squared errors outside of holes", 0.0)
    adversarial_weight: float | None = key("share of the discriminator's term in the loss, beside the squared errors'; null: "
                                           f"{ADVERSARIAL} with the authors' encoder, 0 with others, since features were "
                                           "trained by squared errors alone", None)
    judge_rate: float = key("learning rate of the discriminator, as a multiple of the run's", 0.1)

    def __post_init__(self) -> None:
        whole(self, "patch_px", "code_dim", "width")
        whole(self, "overlap_px", least=0)
        not_negative(self, "overlap_weight", "context_weight")
        from_0_to_1(self, "adversarial_weight")
        above_zero(self, "judge_rate")


class ContextEncoder(Method):
    """Group "global" holds views (V, B, C, image_px, image_px) that end in [-1, 1], with masks of pixels. They come as they are
    before the masks are filled, which is done here: what was in the hole is the target."""

    Config = ContextEncoderConfig
    renders: ClassVar[tuple[str, ...]] = ("masks",)
    encoder: nn.Module
    decoder: nn.Module

    def __init__(self, config: ContextEncoderConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config, self.image_px = config, image_px
        self.out_px = image_px // 2 if config.predict == "center" else image_px
        if config.backbone == AUTHORS:
            self.encoder, self.feature_dim = CodeEncoder(in_chans, image_px, config.code_dim, config.width), config.code_dim
        else:
            self.encoder, self.feature_dim = backbone(config.backbone, image_px, in_chans, patch_px=config.patch_px)
            if isinstance(self.encoder, AlexNet):  # up to pool5, as in the paper
                self.encoder.fc = nn.Sequential()
                self.feature_dim = self.encoder.num_features = math.prod(self._map_shape(in_chans))
        self.by_code = config.backbone == AUTHORS or config.decode == "features"
        if self.by_code:
            self.decoder = code_decoder(self.feature_dim, self.out_px, in_chans, config.width)
        else:
            channels, rows, _ = self._map_shape(in_chans)
            self.decoder = MapDecoder(channels, rows, image_px, in_chans, config.width)
        share = config.adversarial_weight
        self.share = share if share is not None else ADVERSARIAL if config.backbone == AUTHORS else 0.0
        self.adversary = Adversary(dcgan_judge(self.out_px, in_chans), "bce") if self.share else None
        self.fits = False

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", "squared_error": the mean in the hole, of values in [-1, 1]; with a discriminator also "judging", its loss,
        and "fooling", that of being taken for real}.

        Raises ValueError where the recipe's masks hide no pixels, or leave other ones visible than the fields say.
        """
        holed, images, hole = self.seen(batch)
        weight = hole_weights(hole, self.config.overlap_px, self.config.overlap_weight, self.config.context_weight)
        if not self.fits:  # once: on an accelerator the answer would wait for all the work queued there
            self._refuse(holed, images, hole)
        painted, target = self.paint(holed), self.part(images)
        error = weighted_mse(painted, target, self.part(weight))
        told = {"squared_error": weighted_mse(painted.detach(), target, self.part(hole[:, None]).float())}
        if self.adversary is None:
            return {"loss": error, **told}
        judging, fooling = self.adversary(target, painted)
        loss = (1 - self.share) * error + self.share * fooling + judging
        return {"loss": loss, **told, "judging": judging.detach(), "fooling": fooling.detach()}

    def seen(self, batch: Views) -> tuple[Tensor, Tensor, Tensor]:
        """(N, C, image_px, image_px) with a hole, and without; the hole, (N, image_px, image_px), True where it is to be painted.
        N = V B views."""
        images = batch.finished("global", {"masks": lambda levels, drawn: levels}).flatten(0, 1)
        hole = batch.masks("global").flatten(0, 1).to(images.device, non_blocking=True)
        if hole.shape[1:] != images.shape[2:]:
            raise ValueError(f"context_encoder needs masks of pixels, {self.image_px} x {self.image_px}, got {hole.shape[1]} x "
                             f"{hole.shape[2]}; use for example recipe=context_encoder_center")
        return batch.finished("global").flatten(0, 1), images, hole

    def paint(self, holed: Tensor) -> Tensor:
        """(N, C, image_px, image_px) to what is painted, (N, C, out_px, out_px) in (-1, 1)."""
        if self.by_code:
            painted: Tensor = self.decoder(self.features(holed)[:, :, None, None])
            return painted
        return self.part(self.decoder(last_map(self.encoder, holed)))

    def part(self, images: Tensor) -> Tensor:
        """Of (N, C, image_px, image_px) what is painted, (N, C, out_px, out_px)."""
        start = (self.image_px - self.out_px) // 2
        return images[:, :, start : start + self.out_px, start : start + self.out_px]

    def features(self, images: Tensor) -> Tensor:
        """(N, C, image_px, image_px), without a hole, to (N, feature_dim)."""
        return features_of(self.encoder, images)

    def shown(self, views: Mapping[str, Tensor]) -> Tensor:
        return 2 * views["global"] - 1

    def rates(self) -> dict[str, Rate]:
        return {} if self.adversary is None else {"adversary": self.config.judge_rate}

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """What is seen, the same with what is painted in the hole, and what was there, (N, 3, image_px, image_px) in [0, 1]."""
        holed, images, hole = self.seen(batch)
        whole = images.clone()
        self.part(whole).copy_(self.paint(holed))
        columns = {"with a hole": holed, "painted": torch.where(hole[:, None], whole, images), "original": images}
        return {title: batch.rgb("global", column) for title, column in columns.items()}

    @torch.no_grad()
    def _map_shape(self, in_chans: int) -> tuple[int, ...]:
        """Channels, rows and columns of the encoder's last map."""
        shape = last_map(self.encoder.eval(), torch.zeros(1, in_chans, self.image_px, self.image_px)).shape[1:]
        self.encoder.train()
        return tuple(shape)

    def _refuse(self, holed: Tensor, images: Tensor, hole: Tensor) -> None:
        blank = hole_weights(hole, self.config.overlap_px, 0.0, 0.0)
        hidden = (holed != images).any(1, keepdim=True)
        if not hidden.any():
            raise ValueError("context_encoder: the recipe's masks hide nothing; they need a fill, and the Loader left=('masks',)")
        if (hidden & (blank == 0)).any():
            raise ValueError(f"model.overlap_px={self.config.overlap_px}, and the recipe hides some of the outermost "
                             f"{self.config.overlap_px} px of its holes; give the ring_px of its mask, 0 where it has none")
        outside = hole[:, None].clone()
        self.part(outside).fill_(False)
        if outside.any():
            raise ValueError("model.predict=center paints the middle of a view alone, and the recipe's masks reach out of it; "
                             "use model.predict=image")
        self.fits = True


def last_map(encoder: nn.Module, images: Tensor) -> Tensor:
    """images (N, C, H, H) to the map that the encoder's features are made of, (N, D, rows, rows)."""
    if not isinstance(encoder, AlexNet):
        return map_of(encoder, images)
    last: Any = encoder.maps(images)["conv5"]
    pooled: Tensor = encoder.pool(last)
    return pooled
