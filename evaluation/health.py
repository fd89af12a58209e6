"""How well features fill their space: what tells a run that learns from one that collapses, whatever its loss says."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1024


def feature_std(x: Tensor) -> float:
    """Mean over coordinates of the L2-normalised features' standard deviation, times sqrt(D): 1 where x (N, D) fills the
    sphere, 0 where all are alike, and little where most coordinates are. Source: SimSiam, arXiv:2011.10566, section 4.1."""
    _refuse(x)
    return float(_unit(x).std(0, unbiased=False).mean()) * math.sqrt(x.shape[1])


def rankme(x: Tensor, eps: float = 1e-7) -> float:
    """In [1, min(N, D)]: how many directions x (N, D) uses, as exp of the entropy of its singular values over their sum. Not
    centred, not normalised. Source: RankMe, arXiv:2210.02885, equation 3, which takes eps 1e-7 for float32."""
    _refuse(x)
    values = torch.linalg.svdvals(_wide(x))
    p = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny) + eps
    return float((-(p * p.log()).sum()).exp())


def alignment(x: Tensor, y: Tensor, alpha: float = 2.0) -> float:
    """Mean distance to the power of alpha, in [0, 2^alpha], between the normalised features x and y (N, D) of two views of each
    image: 0 where they agree. Source: Wang & Isola, arXiv:2005.10242, equation 1."""
    _refuse(x, y)
    return float((_unit(x) - _unit(y)).norm(dim=1).pow(alpha).mean())


def uniformity(x: Tensor, t: float = 2.0, chunk: int = CHUNK) -> float:
    """Log of the mean of exp(-t distance^2) over all pairs of the normalised features x (N, D), in [-4 t, 0]: 0 where all are
    alike; evenly on a large sphere it comes near -2 t. chunk: rows compared at a time.
    Source: Wang & Isola, arXiv:2005.10242, equation 2."""
    _refuse(x)
    unit, sums = _unit(x), []
    for start in range(0, len(unit), chunk):
        rows = unit[start : start + chunk]
        exponent = -t * (2 - 2 * rows @ unit[start:].T).clamp_min(0)
        # Each pair once: what lies right of the diagonal, which begins where the rows do.
        later = torch.ones_like(exponent, dtype=torch.bool).triu(1)
        sums.append(exponent.masked_fill(~later, -math.inf).flatten().logsumexp(0))
    pairs = len(unit) * (len(unit) - 1) / 2
    return float(torch.stack(sums).logsumexp(0)) - math.log(pairs)


def mean_cosine(x: Tensor, y: Tensor) -> float:
    """Of row i of x with row i of y, (N, D) each: positives, if they are two views of each image."""
    _refuse(x, y)
    return float((_unit(x) * _unit(y)).sum(1).mean())


def mean_cosine_of_others(x: Tensor, y: Tensor) -> float:
    """Of each row of x with all rows of y but its own, (N, D) each: negatives. y may be x."""
    _refuse(x, y)
    a, b = _unit(x), _unit(y)
    own = (a * b).sum()
    return float((a.sum(0) @ b.sum(0) - own) / (len(a) * (len(a) - 1)))


def entropy(p: Tensor) -> Tensor:
    """(..., K) probabilities to (...) nats, in [0, ln K]; what has no probability adds nothing."""
    return -torch.special.xlogy(p, p).sum(-1)


def spread(a: Tensor, b: Tensor | None, prefix: str) -> dict[str, float]:
    """All of the above, of features a (N, D) of one view of each image and, where there is a second one, b (N, D)."""
    a = a.float()
    values = {"std": feature_std(a), "rankme": rankme(a), "uniformity": uniformity(a)}
    if b is None:
        values["negative"] = mean_cosine_of_others(a, a)
    else:
        b = b.float()
        values |= {"negative": mean_cosine_of_others(a, b), "positive": mean_cosine(a, b), "alignment": alignment(a, b)}
    return {f"{prefix}_{name}": value for name, value in values.items()}


def _refuse(*features: Tensor) -> None:
    for x in features:
        if x.ndim != 2 or len(x) < 2 or x.shape != features[0].shape:
            raise ValueError(f"health needs features (N, D) of at least two images, as many for each view, got "
                             f"{' and '.join(str(tuple(each.shape)) for each in features)}")


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _unit(x: Tensor) -> Tensor:
    return F.normalize(_wide(x), dim=1)
