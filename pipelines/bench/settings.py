"""What a benchmark may be told: every key with its default and meaning, checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...augment.op import nearest
from ..engines import ENGINES
from ..placement import cores
from ..words import key, key_lines, values_of
from .peers import PEERS

COUNTED = 40
"""Batches that are counted of each arm over all rounds, unless `batches` says otherwise."""


@dataclass(frozen=True)
class Settings:
    """Raises ValueError, in one line, for a value that cannot be."""

    engine: str = key("auto", "viewmill's engines: auto, cpu, dali, torch, or several, as in cpu,torch")
    peers: str = key("", "others to measure beside: true or all for those installed, or names, as in kornia,dali")
    threads: int = key(0, "that decode and render, of every arm: threads or worker processes; 0: all cores")
    rounds: int = key(5, "each measures every arm once, in turn, each right after bare decoding")
    batches: int = key(0, f"of each arm in a round; 0: as many as make {COUNTED} over the rounds")
    batch_size: int = key(32, "images in a batch")
    images: int = key(256, "how many files of the data are used, spread evenly; all arms show the same ones")
    prefetch: int = key(2, "batches that viewmill makes ahead; peers keep their own defaults")
    busy: bool = key(True, "measure also beside a trainer that runs pure Python without rest")
    memory: bool = key(True, "before the rounds, take the peak memory of all processes of each arm")
    stages: bool = key(True, "measure planning, reading, decoding, rendering and hand-over apart, in one thread")
    scaling: bool = key(False, "measure instead how the rate goes with threads, image size and number of views")

    def __post_init__(self) -> None:
        for name, least in (("threads", 0), ("rounds", 1), ("batches", 0), ("batch_size", 1), ("images", 1), ("prefetch", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                meant = {"threads": " (or leave it out, for all cores)"}.get(name, "")
                raise ValueError(f"{name} needs a whole number >= {max(least, 1)}{meant}, got {value!r}")
        for name in self.engines:
            if name not in ENGINES:
                raise ValueError(f"engine: there is no engine {name!r}; {nearest(name, list(ENGINES))}")
        for name in self.named_peers:
            if name not in PEERS:
                raise ValueError(f"peers: there is no peer {name!r}; {nearest(name, list(PEERS))}")

    @property
    def engines(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name in self.engine.split(",") if name)) or ("auto",)

    @property
    def named_peers(self) -> tuple[str, ...]:
        """All of them for "true" or "all", none for "" or "false"; asked for by name they are measured or refused aloud."""
        if self.peers.lower() in ("true", "all"):
            return tuple(PEERS)
        return tuple(dict.fromkeys(name for name in self.peers.split(",") if name and name.lower() != "false"))

    @property
    def thread_budget(self) -> int:
        return self.threads or cores()

    @property
    def counted(self) -> int:
        """Batches of each arm in a round. Workers finish together: a multiple of their number leaves none half-counted."""
        wanted = self.batches or -(-COUNTED // self.rounds)
        return -(-wanted // self.thread_budget) * self.thread_budget if not self.batches else wanted


def settings_of(words: Mapping[str, str]) -> Settings:
    """From KEY=VALUE texts. Raises ValueError for an unknown key, naming the nearest, and for a value of another type."""
    given = values_of(Settings, words, OTHER_KEYS)
    if given.get("threads") == 0:  # nobody who writes a number means all cores
        raise ValueError("threads needs a whole number >= 1 (or leave it out, for all cores), got 0")
    return Settings(**given)


OTHER_KEYS = {
    "data": "images: tar shards (path, brace pattern, glob) or a folder of images",
    "out": "FILE.json: keep everything that was measured, every round's number too",
    "chart": "FILE.png: draw images/s of all arms",
    "from": "FILE.json of an earlier run: print it, or draw its chart, again; nothing is measured",
}


def manual() -> str:
    """What `viewmill bench --help` says."""
    lines = ["usage: viewmill bench RECIPE... data=... [--peers] [--scaling] [KEY=VALUE]...",
             "       viewmill bench --diagnose METHOD data=... [KEY=VALUE]...", "",
             "How fast RECIPEs' views come, in one run beside bare decoding of the same files and other libraries: paired",
             "rounds that alternate, medians with the smallest and largest. --peers is peers=all, --scaling is scaling=true.",
             "", "keys:"]
    lines += [f"  {name + '=':22s} {meaning}" for name, meaning in OTHER_KEYS.items()]
    lines += key_lines(Settings)
    lines.append("  recipe.VIEW.OP.FIELD=  changes the recipes, as in recipe.global.blur.p=0 or recipe.decode=scaled")
    lines += ["", "peers:", *(f"  {peer.name:22s} {peer.title}; {peer.missing() or 'installed'}" for peer in PEERS.values())]
    lines += ["", "--diagnose METHOD data=... [KEY=VALUE of train]...", "  what limits that run here: the ceilings of reading, "
              "decoding, rendering, copying and the model step, which of them", "  binds, what would help and by how much; "
              "seconds=2: for each; out=FILE.json"]
    lines += ["", "examples:",
              "  viewmill bench dino simclr_pil mae data='imagenet/train-*.tar' --peers out=bench.json chart=bench.png",
              "  viewmill bench simclr_pil data='imagenet/train-*.tar' --scaling",
              "  viewmill bench from=bench.json chart=bench.png"]
    return "\n".join(lines)
