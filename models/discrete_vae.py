"""The network of a discrete autoencoder as BEiT takes it for a tokenizer (arXiv:2106.08254): pictures to codes and back.

Modules and names are those of microsoft/unilm, beit/modeling_discrete_vae.py, so that its weights fit as they are. With
DALLE-pytorch's they share names and not the order: there all strided convolutions come first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..losses.dvae import kl_to_uniform, logit_laplace
from .vector_quantizer import VectorQuantizer

Law = Literal["laplace", "mse", "smooth_l1"]


@dataclass(frozen=True)
class Coded:
    """What a pass in training gives. cost: of the pixels, mean over values; prior: KL of the codes' laws against the uniform one,
    nats, or of a quantizer the distance of vectors to their codes; codes: (N, h, w) int64, the likeliest."""

    cost: Tensor
    prior: Tensor
    codes: Tensor


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
                                 nn.ReLU(), nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class Encoder(nn.Sequential):
    """images (N, C, H, W) to (N, K, H / s, W / s): logits of each code, or a vector for a quantizer."""

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """stage1, stage2, ...: (N, width, h, w) after each residual block."""
        x, found = images, {}
        for number, layer in enumerate(list(self)[:-1]):
            x = layer(x)
            if number % 2:
                found[f"stage{number // 2 + 1}"] = x
        return found


class DiscreteVAE(nn.Module):
    """vocabulary: codes, K; code_dim: width of a code's vector; width: channels inside; halvings: stages, each of which halves
    the picture's sides, so that a code stands for s x s pixels, s = 2^halvings.

    law: of the pixels: "mse" and "smooth_l1" paint values; "laplace" values in (0, 1) by logit-Laplace, for which the decoder
    has two channels for each, as DALL-E's. quantizer: "gumbel", soft codes by Gumbel-softmax; "vq", the nearest vector, and a
    codebook that follows with `decay`.
    """

    def __init__(self, *, vocabulary: int, code_dim: int, width: int, halvings: int, in_chans: int = 3, law: Law = "mse",
                 quantizer: Literal["gumbel", "vq"] = "gumbel", decay: float = 0.99, restart: float = 0.0) -> None:
        super().__init__()
        self.vocabulary, self.stride, self.in_chans, self.law = vocabulary, 2**halvings, in_chans, law
        vq = quantizer == "vq"
        self.codebook: nn.Embedding | VectorQuantizer = (
            VectorQuantizer(vocabulary, code_dim, decay, restart) if vq else nn.Embedding(vocabulary, code_dim))
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for stage in range(halvings):
            first = stage == 0
            down += [nn.Sequential(nn.Conv2d(in_chans if first else width, width, 4, 2, 1), nn.ReLU()), Residual(width)]
            up += [nn.Sequential(nn.ConvTranspose2d(code_dim if first else width, width, 4, 2, 1), nn.ReLU()), Residual(width)]
        self.encoder = Encoder(*down, nn.Conv2d(width, code_dim if vq else vocabulary, 1))
        self.decoder = nn.Sequential(*up, nn.Conv2d(width, in_chans * (2 if law == "laplace" else 1), 1))

    def forward(self, images: Tensor, temperature: Tensor, *, straight_through: bool = False) -> Coded:
        """images (N, C, H, W), as the law wants them; temperature: a scalar above 0, of Gumbel-softmax; straight_through: hard
        codes forward, the soft ones' gradient. The noise comes from torch's own generator."""
        self.refuse_size(images)
        told = self.encoder(images)
        if isinstance(self.codebook, VectorQuantizer):
            vectors, codes, prior = self.codebook(told)
        else:
            logits = told.to(torch.promote_types(told.dtype, torch.float32))
            soft = gumbel_softmax(logits, temperature, hard=straight_through)
            vectors = torch.einsum("nkhw,kd->ndhw", soft.to(told.dtype), self.codebook.weight.to(told.dtype))
            codes, prior = logits.argmax(1), kl_to_uniform(logits)
        return Coded(self._cost(images, self.decoder(vectors)), prior, codes.detach())

    def logits(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) to (N, K, H / s, W / s), without noise: how likely each code is. Of a quantizer, by which softmax
        shares a vector out to codes by their squared distances."""
        self.refuse_size(images)
        told: Tensor = self.encoder(images)
        if isinstance(self.codebook, VectorQuantizer):
            told = self.codebook.closeness(told.movedim(1, -1)).movedim(-1, 1)
        return told

    @torch.no_grad()
    def codes(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) to (N, H / s, W / s) int64: the likeliest."""
        return self.logits(images).argmax(1)

    @torch.no_grad()
    def paint(self, codes: Tensor) -> Tensor:
        """codes (N, h, w) int64 to images (N, C, h s, w s), valued as those that were learnt from."""
        painted: Tensor = self.decoder(F.embedding(codes, self.codebook.weight).movedim(-1, 1))
        return painted.chunk(2, 1)[0].sigmoid() if self.law == "laplace" else painted

    def refuse_size(self, images: Tensor) -> None:
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride or images.shape[-3] != self.in_chans:
            raise ValueError(f"views of {height} x {width} px and {images.shape[-3]} channels are no whole number of codes: each "
                             f"stands for {self.stride} x {self.stride} px and {self.in_chans} channels; use a side that "
                             f"{self.stride} divides")

    def _cost(self, images: Tensor, painted: Tensor) -> Tensor:
        if self.law == "laplace":
            return logit_laplace(images, *painted.chunk(2, 1))
        error = F.mse_loss if self.law == "mse" else F.smooth_l1_loss
        painted = painted.to(torch.promote_types(painted.dtype, torch.float32))
        return error(painted, images.to(painted.dtype))

    @classmethod
    def sizes_of(cls, weights: Mapping[str, Tensor]) -> dict[str, int]:
        """What a network of these names was built with. Raises KeyError where one that tells is missing."""
        halvings = 0
        while f"encoder.{2 * halvings + 1}.net.0.weight" in weights:
            halvings += 1
        vocabulary, code_dim = weights["codebook.weight"].shape
        first = weights["encoder.0.0.weight"]
        return {"vocabulary": vocabulary, "code_dim": code_dim, "width": first.shape[0], "halvings": halvings,
                "in_chans": first.shape[1]}


def gumbel_softmax(logits: Tensor, temperature: Tensor, *, hard: bool = False) -> Tensor:
    """logits (N, K, ...) to shares of 1 over K: softmax((logits + noise) / temperature), Gumbel's noise of each. hard: one-hot,
    with the gradient of the shares. Source: Jang et al., arXiv:1611.01144; Maddison et al., arXiv:1611.00712."""
    soft = ((logits + gumbel_noise(logits)) / temperature).softmax(1)
    if not hard:
        return soft
    one_hot = torch.zeros_like(soft).scatter_(1, soft.argmax(1, keepdim=True), 1.0)
    return one_hot + soft - soft.detach()


def gumbel_noise(like: Tensor) -> Tensor:
    return -torch.empty_like(like).exponential_().log()
