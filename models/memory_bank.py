"""A memory bank: every image's embedding as it was when the image was last seen, to be told from all the others."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ..losses.nce import nce_terms
from .distributed import gather, world_size
from .rows import ShardedRows
from .shared_draws import SharedDraws
from .training.bounds import above_zero, whole

DENSE = 64
"""Rows per negative up to which a product with all rows is cheaper than fetching those that were drawn."""

FAR = -1e30  # the score of a row that is elsewhere: finite, so that a query without a row here has no undefined gradient


@dataclass(frozen=True)
class Drawn:
    """Of all ranks' images together, the same on each: index (N,), rows (N, 1 + m) int64, an image's own row first."""

    index: Tensor
    rows: Tensor


def refuse_bank(config: Any) -> None:
    """Raise ValueError where a method's fields dim, negatives, temperature and bank_momentum make no bank."""
    whole(config, "dim")
    whole(config, "negatives", least=0)
    above_zero(config, "temperature")
    if not 0 <= config.bank_momentum < 1:
        raise ValueError(f"model.bank_momentum needs a number of at least 0 and below 1, got {config.bank_momentum}")


class MemoryBank(nn.Module):
    """One row of length about 1 for each image, shared out over ranks; compared with by noise-contrastive estimation, or by the
    softmax over those that were drawn (`law`), or, with `negatives` 0, by the softmax over all rows. Source: InstDisc,
    arXiv:1805.01978; zhirongw/lemniscate.pytorch.

    A step: `draw` what the batch's images are compared with, `compare` embeddings with it, as many kinds as there are,
    `remember` those that enter the bank, and once the weights have moved, `update`. Embeddings go to the rows' ranks, never rows
    to embeddings; the loss and its gradient are those of one process with all images, to the last digits.

    z, the normalizer of the estimate: images times the mean of the first batch's exp(score / temperature), then frozen.
    images: None for a network that is only to be judged: it has no rows, and refuses to compare.
    """

    def __init__(self, images: int | None, dim: int, *, negatives: int, temperature: float, momentum: float = 0.5,
                 start: Literal["uniform", "unit"] = "uniform", law: Literal["nce", "softmax"] = "nce") -> None:
        super().__init__()
        refuse_bank(SimpleNamespace(dim=dim, negatives=negatives, temperature=temperature, bank_momentum=momentum))
        if law not in ("nce", "softmax"):
            raise ValueError(f"law needs 'nce' or 'softmax', got {law!r}")
        self.law = law
        self.images, self.negatives, self.temperature, self.momentum = images or 0, negatives, temperature, momentum
        self.rows = ShardedRows(self.images, dim, start)
        self.draws = SharedDraws()
        self.z = 0.0
        self._seen: list[tuple[Tensor, Tensor]] = []

    def draw(self, index: Tensor) -> Drawn:
        """index (B,): the numbers of this rank's images. Noise is uniform, with replacement: an image may meet itself."""
        if not self.images:
            raise ValueError("a memory bank needs the number of images, build(..., images=N); this one was built to be judged")
        index, _ = gather(index)
        rows = index[:, None]
        if self.negatives:
            noise = torch.randint(self.images, (len(index), self.negatives), generator=self.draws.generator(index.device),
                                  device=index.device)
            # By the images' numbers, not their places: which rank an image is on changes nothing.
            rows = torch.cat([rows, noise[index.argsort().argsort()]], 1)
        return Drawn(index, rows)

    def compare(self, embeddings: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """embeddings (B, dim) of length 1, of this rank's images in the order that `draw` had them: (loss, accuracy).

        loss: this rank's share times the world size, so that the mean over ranks is that of all. accuracy: share of all
        images whose own row scores higher than every other it was compared with; no gradient. float32 inside autocast.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            queries, offset = gather(embeddings.float())
            scores, here, own, other = (self._drawn if self.negatives else self._all)(queries, drawn)
            if self.negatives and self.law == "nce":
                parts = self._estimated(scores, here)
            else:
                candidates = scores.where(here, FAR) if self.negatives else scores
                sums, _ = gather((candidates / self.temperature).logsumexp(1)[None])
                # The logarithm of the sum by the rank that has the image, the own row's score by the rank that has the row.
                parts = sums.logsumexp(0)[offset : offset + len(embeddings)].sum() - (own * here[:, 0]).sum() / self.temperature
            both = torch.stack([own.detach().where(here[:, 0], -torch.inf), other])
            if world_size() > 1:
                dist.all_reduce(both, dist.ReduceOp.MAX)
            return parts * world_size() / len(queries), (both[0] > both[1]).float().mean()

    def proximity(self, embeddings: Tensor, drawn: Drawn) -> Tensor:
        """The mean over images of |embedding - own row|^2, the paper's proximal term; this rank's share times the world size."""
        with torch.autocast(embeddings.device.type, enabled=False):
            queries, _ = gather(embeddings.float())
            here, place = self.rows.here(drawn.index)
            apart = (queries - self.rows.local[place]).square().sum(1)
            return (apart * here).sum() * world_size() / len(queries)

    @torch.no_grad()
    def remember(self, embeddings: Tensor, drawn: Drawn) -> None:
        """embeddings (B, dim): what `update` will mix into the rows of this rank's images."""
        self._seen.append((drawn.index, gather(embeddings.float())[0]))

    @torch.no_grad()
    def update(self) -> None:
        """Rows of the images that were remembered become momentum * row + (1 - momentum) * embedding, of length 1."""
        for index, embeddings in self._seen:
            _, place = self.rows.here(index)
            mixed = self.momentum * self.rows.local[place] + (1 - self.momentum) * embeddings
            self.rows.write(index, F.normalize(mixed, dim=1))
        self._seen.clear()

    def _drawn(self, queries: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scores (N, 1 + m) with the rows that were drawn, which of them are here, an image's score with its own row if that is
        here, (N,), and with the nearest other row here, (N,), without a gradient."""
        here, place = self.rows.here(drawn.rows)
        scores = _scores(queries, self.rows.local, place, here)
        others = here[:, 1:] & (drawn.rows[:, 1:] != drawn.index[:, None])
        return scores, here, scores[:, 0], scores.detach()[:, 1:].where(others, -torch.inf).amax(1)

    def _all(self, queries: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same with all rows that are here: scores (N, rows); (N, 1), whether the image's own row is."""
        here, place = self.rows.here(drawn.index[:, None])
        scores = queries @ self.rows.local.T
        own = scores.gather(1, place)[:, 0]
        two = scores.detach().topk(min(2, scores.shape[1]), 1).values
        first = here[:, 0] & (own.detach() == two[:, 0])
        second = two[:, 1] if two.shape[1] == 2 else torch.full_like(own, -torch.inf)
        return scores, here, own, torch.where(first, second, two[:, 0])

    def _estimated(self, scores: Tensor, here: Tensor) -> Tensor:
        """scores and here (N, 1 + m): the sum of the terms of the rows on this rank."""
        if not self.z:
            exp = ((scores.detach() / self.temperature).exp() * here).sum(dtype=torch.float64)
            if world_size() > 1:
                dist.all_reduce(exp)
            self.z = self.images * float(exp) / here.numel()
        terms = nce_terms(scores, temperature=self.temperature, z=self.z, images=self.images)
        return (terms * here).sum()

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.z, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        self.z = float(state)


def _scores(queries: Tensor, rows: Tensor, place: Tensor, here: Tensor) -> Tensor:
    """queries (N, D) with rows[place], place (N, k): (N, k); whatever is not `here` is not looked at, and its score is 0."""
    if len(rows) <= DENSE * place.shape[1]:
        return (queries @ rows.T).gather(1, place) * here
    if world_size() == 1:
        scores: Tensor = _Products.apply(queries, rows, place)
        return scores
    # Each query has about k / W rows here: move those to the front, and fetch no more columns than the fullest needs.
    order = here.int().argsort(dim=1, descending=True, stable=True)[:, : int(here.sum(1).max())]
    found = _Products.apply(queries, rows, place.gather(1, order)) * here.gather(1, order)
    return torch.zeros_like(place, dtype=found.dtype).scatter(1, order, found)


class _Products(torch.autograd.Function):
    """Dot products of queries with rows that are fetched again for the backward pass, a few queries' at a time: (N, k, D) values
    are never held. Rows get no gradient."""

    FETCHED = 1 << 24  # values at a time

    @staticmethod
    def forward(ctx: Any, queries: Tensor, rows: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(rows, place)
        step = _Products._step(rows, place)
        parts = zip(queries.split(step), place.split(step), strict=True)
        return torch.cat([torch.bmm(rows[p], q[:, :, None])[:, :, 0] for q, p in parts])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        rows, place = ctx.saved_tensors
        step = _Products._step(rows, place)
        parts = zip(gradients[0].split(step), place.split(step), strict=True)
        return torch.cat([torch.bmm(g[:, None], rows[p])[:, 0] for g, p in parts]), None, None

    @staticmethod
    def _step(rows: Tensor, place: Tensor) -> int:
        return max(_Products.FETCHED // max(place.shape[1] * rows.shape[1], 1), 1)
