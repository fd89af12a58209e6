"""Codes that a method has to tell: of a tokenizer from elsewhere, or of one that its own run trains first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .discrete_vae import DiscreteVAE
from .distributed import add_up, world_size
from .tokenizers import DALLE_VALUES, Tokenizer, open_tokenizer
from .training.bounds import whole
from .training.config import key
from .value_range import refuse_values

OWN = "dvae"
"""For the field `tokenizer`: none from elsewhere."""

RATE, COMMITMENT = 3e-3, 0.25
"""How its own is learnt: Adam's rate, our choice, and VQ-VAE's weight of the distance of vectors to their codes."""


@dataclass(frozen=True)
class TokenTargetsConfig:
    """What a method's own fields say of its tokenizer."""

    tokenizer: str | None = key("where codes come from: the folder of a run of dvae, BEiT's customized tokenizer or DALL-E's "
                                "encoder, all local; or dvae: one of its own, trained in a pass before the first step", None)
    tokenizer_pickled: bool = key("also open DALL-E's encoder.pkl, a pickled module: RUNS WHATEVER CODE THAT FILE HOLDS", False)
    vocabulary: int = key("codes, K", 8192)
    tokenizer_width: int = key("of its own dvae: channels; half as many as a code's vector has", 64)
    tokenizer_halvings: int = key("of its own dvae: stages that halve the picture's sides; a code stands for 2^halvings px", 3)

    def __post_init__(self) -> None:
        whole(self, "vocabulary", least=2)
        whole(self, "tokenizer_width", "tokenizer_halvings")


class TokenTargets(nn.Module):
    """codes() of views as `config` says. One from elsewhere is opened when it is first needed, and again by a resumed run: no
    checkpoint holds it. Its own, `own`, is in the checkpoint.

    Its own is a DiscreteVAE with a quantizer, by squared error, on views valued as DALL-E's; after its pass it is frozen. With
    Gumbel-softmax, one pass is too short: on squares of four colours the quantizer had told them apart after 150 steps (error
    0.05 of a variance of 0.16), Gumbel-softmax after 300 not yet (0.12).
    """

    def __init__(self, config: TokenTargetsConfig, in_chans: int) -> None:
        super().__init__()
        self.config = config
        self.own: DiscreteVAE | None = None
        self._opened: list[Tokenizer] = []  # in a list no module finds it: neither checkpoints nor optimizers do
        self._adam: torch.optim.Adam | None = None
        if config.tokenizer == OWN:
            self.own = DiscreteVAE(vocabulary=config.vocabulary, code_dim=2 * config.tokenizer_width, quantizer="vq",
                                   width=config.tokenizer_width, halvings=config.tokenizer_halvings,
                                   in_chans=in_chans).requires_grad_(False)

    def wants_pass(self, epoch: float) -> bool:
        return epoch == 0 and self.own is not None

    def observe(self, images: Tensor) -> None:
        """images (N, C, h, w) of this rank: one step of its own tokenizer, the same on all ranks."""
        assert self.own is not None
        weights = [weight for name, weight in self.own.named_parameters() if not name.startswith("codebook.")]
        if self._adam is None:
            refuse_values(images, *DALLE_VALUES, "target", "model.tokenizer=dvae")
            self._adam = torch.optim.Adam(weights, lr=RATE)
        self.own.train()
        with torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
            for weight in weights:
                weight.requires_grad_(True)
            coded = self.own(images.float(), images.new_ones(()))
            gradients = torch.autograd.grad(coded.cost + COMMITMENT * coded.prior, weights)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.requires_grad_(False)
            weight.grad = add_up(gradient) / world_size()
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)

    def open(self) -> None:
        """So that a run fails before its first step. Raises ValueError, one line, where there is no tokenizer, or one of another
        vocabulary."""
        self._adam = None  # a pass is over once a step begins
        if self.own is not None or self._opened:
            return
        if self.config.tokenizer is None:
            raise ValueError("this method tells a tokenizer's codes and has none: model.tokenizer=dvae trains one of its own in "
                             "a pass before the first step; model.tokenizer=PLACE takes the folder of a run of dvae (viewmill "
                             "train dvae), BEiT's customized tokenizer or DALL-E's encoder from there")
        found = open_tokenizer(self.config.tokenizer, pickled=self.config.tokenizer_pickled)
        if found.vocabulary != self.config.vocabulary:
            raise ValueError(f"{found.name} has {found.vocabulary} codes, the method model.vocabulary={self.config.vocabulary}; "
                             f"use model.vocabulary={found.vocabulary}")
        self._opened.append(found)

    def codes(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """images (N, C, h, w) of group "target" to (N, rows * columns) int64. Raises ValueError, one line, where the codes' grid
        is not `grid`, of patches, and as `open` does."""
        if self.own is not None:
            with torch.autocast(images.device.type, enabled=False):
                found, stride = self.own.codes(images.float()), self.own.stride
        else:
            self.open()
            tokenizer = self._opened[0].to(images.device)
            found, stride = tokenizer.codes(images), tokenizer.stride
        if tuple(found.shape[1:]) != grid:
            raise ValueError(f"views of {images.shape[2]} x {images.shape[3]} px in group 'target' have {found.shape[1]} x "
                             f"{found.shape[2]} codes of {stride} px, the backbone has {grid[0]} x {grid[1]} patches; use "
                             f"recipe.target.size_px={grid[0] * stride}")
        return found.flatten(1)

    def paint(self, codes: Tensor, grid: tuple[int, int]) -> Tensor | None:
        """codes (N, rows * columns) to pictures valued as group "target"; None where the tokenizer has no decoder. After
        `codes`."""
        network = self.own if self.own is not None else self._opened[0]
        return network.paint(codes.unflatten(1, grid))
