"""From measured ceilings to a verdict: which one limits training, and what would help, by how much. Pure arithmetic.

All rates are images a second. Where rendering and the model step run on the same cores, an image costs core-seconds of
both: render_threads / views for its views, torch_threads / step for its step, out of `cores` a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ENOUGH = 1.1
"""How many times as fast training could be at most, if views cost nothing, for data not to count as what limits it."""

WORTH = 1.05
"""The least gain that is recommended."""


@dataclass(frozen=True)
class Setup:
    """What was measured on. on_cpu: the model steps on the CPU; reads: how many are under way at once; reads_ahead: while other
    images are decoded and rendered; data_bytes: of all encoded images, about, 0 of those that are no local files;
    memory_bytes: that can hold file pages."""

    cores: int
    render_threads: int
    torch_threads: int
    on_cpu: bool
    engine: str
    prefetch: int = 2
    reads: int = 1
    reads_ahead: bool = False
    data_bytes: float = 0.0
    memory_bytes: float = 2.0**63

    @property
    def shared(self) -> bool:
        """Whether rendering and the step want more cores than there are."""
        return self.on_cpu and self.render_threads + self.torch_threads > self.cores

    @property
    def fits(self) -> bool:
        """Whether all data stay in the page cache once they were read."""
        return self.data_bytes <= self.memory_bytes


@dataclass(frozen=True)
class Ceilings:
    """read_cold: None where storage could not be shown to have been read; decode, render: None where an engine does both in one.
    together: real steps, data_wait the share of them that went by waiting."""

    read_warm: float
    read_cold: float | None
    decode: float | None
    render: float | None
    views: float
    copy: float | None
    step: float
    together: float | None = None
    data_wait: float | None = None


@dataclass(frozen=True)
class Trial:
    """Something else that was tried. views: its rate, together: that of real steps, each None where it was not measured;
    read_bytes: of what is read without it; pixels: whether other pixels come out."""

    change: str
    views: float | None = None
    together: float | None = None
    render_threads: int | None = None
    read_bytes: float = 1.0
    pixels: bool = False


@dataclass(frozen=True)
class Recommendation:
    """gain: times as fast as training is now, by real steps where they were made, else by its bound; how: "measured" where it
    was tried, or "computed"; because: from which numbers."""

    change: str
    gain: float
    how: str
    because: str


@dataclass(frozen=True)
class Diagnosis:
    """binding: "read", "decode", "render", "views" (where its parts cannot be told apart), "copy" or "step". bound: images/s
    that training can reach at most; most: times that, if views cost nothing; headroom: views / step."""

    binding: str
    bound: float
    most: float
    headroom: float
    verdict: tuple[str, ...]
    recommendations: tuple[Recommendation, ...]

    @property
    def data_limits(self) -> bool:
        return self.most > ENOUGH


def bound(views: float, step: float, setup: Setup, render_threads: int | None = None, copy: float | None = None) -> float:
    """The rate of training: the lowest ceiling, and on shared cores what their seconds allow. With as many threads of each
    kind as there are cores that is 1 / (1 / views + 1 / step)."""
    threads = render_threads or setup.render_threads
    ceilings = [views, step, *([] if copy is None else [copy])]
    if setup.on_cpu and threads + setup.torch_threads > setup.cores:
        ceilings.append(setup.cores / (threads / views + setup.torch_threads / step))
    return min(ceilings)


def supply(ceilings: Ceilings, setup: Setup, views: float | None = None, read_bytes: float = 1.0) -> float:
    """Views that a loader brings, from their rate with files in the page cache. Where the data do not fit there, storage limits
    it too: min(views, read_cold / read_bytes) if it reads ahead; else a thread reads before it decodes, and each image's
    storage time comes on top: 1 / (1 / views + read_bytes / read_cold - 1 / read_warm)."""
    warm = ceilings.views if views is None else views
    if setup.fits or ceilings.read_cold is None:
        return warm
    if setup.reads_ahead:
        return min(warm, ceilings.read_cold / read_bytes)
    return 1 / max(1 / warm + max(0.0, read_bytes / ceilings.read_cold - 1 / ceilings.read_warm), 1e-12)


def reading(ceilings: Ceilings, setup: Setup) -> float:
    """The read ceiling that applies after the first epoch."""
    return ceilings.read_warm if setup.fits or ceilings.read_cold is None else ceilings.read_cold


def diagnose(ceilings: Ceilings, setup: Setup, trials: Sequence[Trial] = ()) -> Diagnosis:
    """The verdict. Nothing is recommended unless data limit the run."""
    views = supply(ceilings, setup)
    most_now = bound(views, ceilings.step, setup, copy=ceilings.copy)
    most = ceilings.step / most_now
    binding = _binding(ceilings, setup, views)
    advice: list[Recommendation] = []
    if most > ENOUGH:
        advice = sorted((each for each in _advice(ceilings, setup, trials, most_now, binding) if each.gain >= WORTH),
                        key=lambda each: -each.gain)
    verdict = tuple(_verdict(ceilings, setup, views, most_now, most, binding, bool(advice)))
    return Diagnosis(binding, most_now, most, views / ceilings.step, verdict, tuple(advice))


def _binding(ceilings: Ceilings, setup: Setup, views: float) -> str:
    copy = ceilings.copy or float("inf")
    if ceilings.step <= min(views, copy):
        return "step"
    return "copy" if copy < views else slowest_part(ceilings, setup)


def slowest_part(ceilings: Ceilings, setup: Setup) -> str:
    """Of making views: "read", "decode" or "render"; "views" where an engine that does the last two at once is slower."""
    parts = {"read": reading(ceilings, setup), "decode": ceilings.decode, "render": ceilings.render}
    known = {name: rate for name, rate in parts.items() if rate is not None}
    if ceilings.decode is None:
        known["views"] = ceilings.views
    return min(known, key=lambda name: known[name])


def _advice(ceilings: Ceilings, setup: Setup, trials: Sequence[Trial], now: float, binding: str) -> Iterator[Recommendation]:
    for trial in trials:
        note = "; other pixels than now" if trial.pixels else ""
        views = "" if trial.views is None else f"views {number(trial.views)} images/s instead of {number(ceilings.views)}"
        if trial.together is not None and ceilings.together and (setup.fits or trial.views is None):
            steps = f"real steps {number(trial.together)} images/s instead of {number(ceilings.together)}"
            yield Recommendation(trial.change, trial.together / ceilings.together, "measured",
                                 f"{steps}{', ' if views else ''}{views}{note}")
        elif trial.views is not None:
            then = bound(supply(ceilings, setup, trial.views, trial.read_bytes), ceilings.step, setup, trial.render_threads,
                         ceilings.copy)
            yield Recommendation(trial.change, then / now, "measured", f"{views}{note}")
    if binding == "read" and not setup.fits:
        then = bound(ceilings.views, ceilings.step, setup, copy=ceilings.copy)
        yield Recommendation(f"memory for all data, {setup.data_bytes / 2**30:,.1f} GiB, or as much smaller files", then / now,
                             "computed", f"views {number(ceilings.views)} images/s from memory, from the second epoch on")


def _verdict(ceilings: Ceilings, setup: Setup, views: float, now: float, most: float, binding: str,
             advised: bool) -> Iterator[str]:
    names = {"read": "reading", "decode": "decoding", "render": "rendering", "views": "the engine that decodes and renders",
             "copy": "the copy to the device", "step": "the model step"}
    free = f"if views cost nothing, training would be {most:.2f} times as fast"
    if most <= ENOUGH:
        yield (f"the model step binds, at {number(ceilings.step)} images/s: data is not what limits. Views come at "
               f"{number(views)} images/s, {views / ceilings.step:.1f} times that; {free}.")
    elif binding == "step":
        yield (f"the model step is the lowest ceiling, at {number(ceilings.step)} images/s, but views, at {number(views)}, take "
               f"{_share(views, ceilings.step, setup):.0%} of the same cores' time: {free}.")
    else:
        rate = {"copy": ceilings.copy, "decode": ceilings.decode, "render": ceilings.render, "read": reading(ceilings, setup)}
        own = rate.get(binding) or views
        yield (f"{names[binding]} binds, at {number(own)} images/s: views come at {number(views)} images/s, the model could take "
               f"{number(ceilings.step)}; {free}.")
    if setup.shared:
        yield (f"views and the step share {setup.cores} cores ({setup.render_threads} rendering and {setup.torch_threads} torch "
               f"threads): together at most {number(now)} images/s.")
    if not setup.fits:
        state = "so the cold read counts" if ceilings.read_cold is not None else "but no cold read could be shown"
        data, memory = setup.data_bytes / 2**30, setup.memory_bytes / 2**30
        yield f"the data, about {data:,.1f} GiB, do not fit into {memory:,.1f} GiB of memory, {state}."
    elif ceilings.read_cold is not None and ceilings.read_cold < now:
        yield f"in the first epoch, before the files are in memory, reading binds: {number(ceilings.read_cold)} images/s."
    if most > ENOUGH and not advised:
        yield "nothing that was tried helps; what is left is faster or more cores, or a recipe with fewer or smaller views."


def _share(views: float, step: float, setup: Setup) -> float:
    """Of the core-seconds of an image, those of its views."""
    cost = setup.render_threads / views
    return cost / (cost + setup.torch_threads / step)


def number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
