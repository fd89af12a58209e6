"""Noise for pixels: a pure function of a drawn seed and the element's number, the same on every machine.

Sources: the hash is C. Wellons' 32-bit "lowbias32" (two multiply-xorshift rounds) over a Weyl sequence; the normal law is
P. J. Acklam's rational approximation of the inverse normal distribution function (relative error below 1.2e-9).
"""

from __future__ import annotations

import torch
from torch import Tensor

WEYL = 0x9E3779B9
"""2**32 / the golden ratio: the step from one element's hash input to the next."""
_LOW = 0xFFFFFFFF
_FIRST = 0x7FEB352D
_SECOND = 0x846CA68B - 2**32  # the same modulo 2**32, and no product leaves int64

CENTRE = ((-3.969683028665376e+01, 2.209460984245205e+02, -2.759285104469687e+02, 1.383577518672690e+02,
           -3.066479806614716e+01, 2.506628277459239e+00),
          (-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01,
           -1.328068155288572e+01, 1.0))
"""Numerator and denominator in (p - 1/2)^2, highest power first; the quotient times p - 1/2."""
TAIL = ((-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00, -2.549732539343734e+00,
         4.374664141464968e+00, 2.938163982698783e+00),
        (7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00, 1.0))
"""The same in sqrt(-2 log p), for p below TAIL_BELOW; the upper tail by symmetry."""
TAIL_BELOW = 0.02425

_AT_ONCE = 2**20
"""Elements whose 64-bit steps are in memory together: a batch's would take gigabytes."""

_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_SQRT_HALF = 0.70710678118654752440


def uniform(seed: Tensor, count: int) -> Tensor:
    """(N, count) float32 in [0, 1), multiples of 2**-24. seed (N,) int64 of 32 random bits, see `laws.seed`."""
    return (words(seed, count) >> 8).to(torch.float32) * 2.0**-24


def normal(seed: Tensor, count: int) -> Tensor:
    """(N, count) float32 of mean 0 and standard deviation 1, computed in float64; all within 6.34."""
    some = max(1, _AT_ONCE // max(count, 1))
    parts = [seed] if torch.compiler.is_compiling() else seed.split(some)
    return torch.cat([quantile((words(part, count).to(torch.float64) + 0.5) * 2.0**-32).to(torch.float32) for part in parts])


def words(seed: Tensor, count: int) -> Tensor:
    """(N, count) int64 of 0 .. 2**32 - 1: the hash of seed + j * WEYL for element j."""
    step = torch.arange(count, dtype=torch.int64, device=seed.device) * WEYL
    x = (seed[:, None] + step) & _LOW
    x = ((x ^ (x >> 16)) * _FIRST) & _LOW
    x = ((x ^ (x >> 15)) * _SECOND) & _LOW
    return x ^ (x >> 16)


def quantile(p: Tensor) -> Tensor:
    """The inverse normal distribution function of p in (0, 1), float64; p and 1 - p give opposite numbers."""
    q = p - 0.5
    square = q * q
    x = _polynomial(square, CENTRE[0]) * q / _polynomial(square, CENTRE[1])
    nearer = p.minimum(1 - p)
    outside = nearer < TAIL_BELOW
    if torch.compiler.is_compiling():  # shapes may not depend on values there
        return torch.where(outside, _tail(nearer) * -q.sign(), x)
    x[outside] = _tail(nearer[outside]) * -q[outside].sign()  # the logarithm is dear, and 19 of 20 do without
    return x


def _tail(p: Tensor) -> Tensor:
    q = (-2 * _log(p)).sqrt()
    return _polynomial(q, TAIL[0]) / _polynomial(q, TAIL[1])


def _log(x: Tensor) -> Tensor:
    """`laws.log` in torch, the same steps: torch's own differs by processor and device."""
    mantissa, exponent = torch.frexp(x)
    small = mantissa < _SQRT_HALF
    mantissa = torch.where(small, mantissa * 2, mantissa)
    e = (exponent - small.to(exponent.dtype)).to(x.dtype)
    s = (mantissa - 1) / (mantissa + 1)
    square = s * s
    series = torch.zeros_like(s)
    for n in range(23, 0, -2):
        series = series * square + 1.0 / n
    return e * _LN2_HIGH + (e * _LN2_LOW + 2 * s * series)


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    total = torch.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        total = total * x + c
    return total
