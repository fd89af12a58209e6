"""A discrete variational autoencoder (Ramesh et al. 2021, arXiv:2102.12092, appendix A): pictures as a grid of codes, from which
they can be painted again. Stage 1 of BEiT, whose network it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..losses.dvae import half_cosine, perplexity
from .discrete_vae import Coded, DiscreteVAE
from .distributed import add_up
from .method import Method
from .pictured import Shown
from .token_pictures import token_map
from .training.bounds import above_zero, from_0_to_1, not_negative, whole
from .training.config import key
from .value_range import refuse_values
from .views import Views


@dataclass(frozen=True)
class DVAEConfig:
    """The published defaults are DALL-E's numbers on BEiT's network."""

    vocabulary: int = key("codes, K", 8192)
    code_dim: int = key("width of a code's vector", 512)
    width: int = key("channels of the network", 256)
    halvings: int = key("stages that halve the picture's sides: a code stands for 2^halvings px a side", 3)
    quantizer: Literal["gumbel", "vq"] = key("gumbel: soft codes by Gumbel-softmax; vq: the nearest vector, straight through",
                                             "gumbel")
    law: Literal["laplace", "mse", "smooth_l1"] = key("of the pixels: logit-Laplace, of values in (0, 1), or an error", "laplace")
    temperature: float = key("gumbel: of the softmax, where the run begins", 1.0)
    final_temperature: float = key("gumbel: where half a cosine brings it", 1 / 16)
    temperature_share: float = key("gumbel: in which share of the run", 0.05)
    straight_through: bool = key("gumbel: hard codes forward, with the soft ones' gradient", False)
    kl_weight: float = key("gumbel: of the codes' KL against the uniform law, beside the sum over all pixel values", 6.6)
    kl_share: float = key("gumbel: share of the run in which half a cosine brings it there from 0", 1 / 600)
    commitment: float = key("vq: weight of the distance of vectors to their codes", 0.25)
    decay: float = key("vq: of the codebook's moving means", 0.99)
    restart: float = key("vq: entries that fewer vectors a step fall to, by the moving mean, begin anew at vectors of the step; "
                         "0: none does", 0.0)

    def __post_init__(self) -> None:
        whole(self, "vocabulary", least=2)
        whole(self, "code_dim", "width", "halvings")
        above_zero(self, "temperature", "final_temperature")
        not_negative(self, "kl_weight", "commitment", "restart")
        from_0_to_1(self, "temperature_share", "kl_share", "decay")


class DVAE(Method):
    """Group "global" holds V views (V, B, C, image_px, image_px), of values in (0, 1) for the law "laplace".

    Features are each code's share of the picture, the mean over places of how likely it is. `vae` is the tokenizer that remains.
    """

    Config = DVAEConfig
    progress: Tensor

    def __init__(self, config: DVAEConfig, *, image_px: int, in_chans: int = 3) -> None:
        super().__init__()
        self.config = config
        self.whole_batch = "a quantizer's entries follow the vectors of each pass" if config.quantizer == "vq" else None
        self.vae = DiscreteVAE(vocabulary=config.vocabulary, code_dim=config.code_dim, width=config.width, decay=config.decay,
                               restart=config.restart, halvings=config.halvings, in_chans=in_chans, law=config.law,
                               quantizer=config.quantizer)
        self.vae.refuse_size(torch.empty(in_chans, image_px, image_px, device="meta"))
        self.feature_dim = config.vocabulary
        # On the device, so that no step waits for it; in the checkpoint, so that a resumed run goes on as it was.
        self.register_buffer("progress", torch.zeros(()))
        self._looked = False

    @property
    def encoder(self) -> nn.Module:
        return self.vae.encoder

    @property
    def temperature(self) -> Tensor:
        of = self.config
        return half_cosine(self.progress, of.temperature, of.final_temperature, of.temperature_share)

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """{"loss", "cost": of the pixels, mean over values, nats or an error; "kl": of the codes' laws against the uniform one,
        nats, or "commitment"; "perplexity": of the codes of the whole batch, on all ranks, 1 where all are one; "used": share of
        the codes that occur in it; "temperature"}.

        The KL's weight goes with a sum over pixel values, as the evidence bound has it; the loss is that over their number. All
        terms are means over images. Raises ValueError, in the first step, on values that the law does not take.
        """
        images = batch.views["global"].flatten(0, 1)
        if self.config.law == "laplace" and not self._looked:
            refuse_values(images, 0.1, 0.9, "global", "model.law=laplace, which is DALL-E's,")
            self._looked = True
        coded = self.vae(images, self.temperature, straight_through=self.config.straight_through)
        return self._values(coded)

    def _values(self, coded: Coded) -> dict[str, Tensor]:
        counts = add_up(torch.bincount(coded.codes.flatten(), minlength=self.config.vocabulary))
        health = {"perplexity": perplexity(counts).float(), "used": (counts > 0).float().mean()}
        cost = coded.cost.detach()
        if self.config.quantizer == "vq":
            loss = coded.cost + self.config.commitment * coded.prior
            return {"loss": loss, "cost": cost, "commitment": coded.prior.detach(), **health}
        weight = half_cosine(self.progress, 0.0, self.config.kl_weight, self.config.kl_share)
        loss = coded.cost + weight / (self.vae.stride**2 * self.vae.in_chans) * coded.prior
        return {"loss": loss, "cost": cost, "kl": coded.prior.detach(), **health, "temperature": self.temperature}

    def after_step(self, progress: float) -> None:
        self.progress.fill_(progress)

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, K), which sum to 1."""
        logits = self.vae.logits(images)
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(1).mean((2, 3))

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        """Of each image's first view "original"; "codes", each in a colour of its own; "reconstruction", painted from those."""
        images = batch.views["global"][0]
        codes = self.vae.codes(images)
        return {"original": batch.rgb("global", images), "codes": token_map(codes, self.config.vocabulary),
                "reconstruction": batch.rgb("global", self.vae.paint(codes))}
