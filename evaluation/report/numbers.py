"""Numbers as a reader wants them: so many digits as mean something, shares in per cent, ticks at round places."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z_95 = 1.959963984540054
"""The normal distribution's quantile at 0.975."""

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def short(value: float, digits: int = 4) -> str:
    """Four digits that count: 4.439, 0.00198, 1,338, −0.5, 1.5×10⁻⁵."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if 10 ** (digits - 1) <= abs(value) < 1e9:
        text = f"{value:,.0f}"
    else:
        text, _, power = f"{value:.{digits}g}".partition("e")
        text += f"×10{str(int(power)).translate(_RAISED)}" if power else ""
    return text.replace("-", "−")


def percent(share: float, decimals: int = 1) -> str:
    return f"{100 * share:.{decimals}f} %"


def round_percent(share: float) -> str:
    """With a decimal only where it is not 0."""
    return percent(share).replace(".0 %", " %")


def duration(seconds: float) -> str:
    """75 s, 12 min, 3 h 20 min, 2 d 4 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def size(count: float) -> str:
    """Bytes: 940 B, 91.9 MB, 1.3 GB, in powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers, evenly spaced, from the last one not above low to the first not below high: `about` steps, or somewhat
    more or less. Of a range of one value, around it."""
    if not high > low:
        around = abs(low) / 2 or 1.0
        low, high = low - around, high + around
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * min(_STEPS, key=lambda each: abs(math.log(each * power / rough)))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12 - math.floor(math.log10(step))) for number in range(first, last + 1)]


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` answers that were right. Source: Wilson 1927, "Probable inference, the law of
    succession, and statistical inference"."""
    middle = (share + Z_95**2 / (2 * count)) / (1 + Z_95**2 / count)
    half = Z_95 / (1 + Z_95**2 / count) * math.sqrt(share * (1 - share) / count + Z_95**2 / (4 * count**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def smoothed(values: Sequence[float], share: float = 0.05) -> list[float]:
    """Means over a window around each value, as wide as this share of all of them, narrower towards the ends."""
    half = max(round(len(values) * share / 2), 1)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    out = []
    for place in range(len(values)):
        reach = min(half, place, len(values) - 1 - place)
        out.append((sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1))
    return out
