"""`viewmill eval figure KIND ENCODER data=... out=FILE.png`: a picture that says something about an encoder."""

# ruff: noqa: RUF009 (key() gives a dataclass field)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ...augment.op import nearest
from ...models.training import process
from ...models.training.config import describe, key
from ...models.training.manual import rows
from ...models.training.overrides import filled, split
from ..command import EvalConfig, default_out
from .figure import save
from .scene import Drawn, Scene


@dataclass(frozen=True)
class Kind:
    """module, config: where its keys and its `draw(scene, keys) -> Drawn` are; about: one line. needs: which of data and
    test_data it cannot do without; takes: which it may be given. any_size: pictures may have another side than in training."""

    module: str
    config: str
    about: str
    needs: tuple[str, ...] = ("data",)
    takes: tuple[str, ...] = ()
    any_size: bool = False

    def load(self) -> Any:
        return import_module(f".{self.module}", __package__)

    def defaults(self) -> Any:
        return getattr(self.load(), self.config)()


KINDS = {
    "embedding": Kind("embedding", "EmbeddingConfig", "features on a plane, by t-SNE, UMAP or PCA, coloured by class"),
    "attention": Kind("attention", "AttentionConfig", "where the class token of a vision transformer looks, head by head",
                      any_size=True),
    "pca": Kind("patch_pca", "PatchPcaConfig", "what is alike within and across pictures: patches by their first components",
                any_size=True),
    "neighbours": Kind("neighbours", "NeighboursConfig", "the pictures whose features are nearest to those of a few",
                       takes=("test_data",)),
    "filters": Kind("filters", "FiltersConfig", "the weights of the first layer", needs=()),
    "confusion": Kind("confusion", "ConfusionConfig", "which classes are taken for which", needs=("data", "test_data")),
    "reconstructions": Kind("reconstructions", "ReconstructionsConfig", "what a run that paints makes of a few images", needs=(),
                            takes=("data",)),
}

EVERY = "all"

LIMITS = {"data": "max_images", "test_data": "max_test_images"}
"""Of each key of pictures, the one that says how many of them at most."""


@dataclass(frozen=True)
class FigureConfig(EvalConfig):
    data: Any = key("pictures: tar shards, a folder, addresses", None)
    test_data: Any = key("other pictures, where a figure has two kinds", None)
    out: str | None = key("the PNG that is written; null: figures/KIND.png in the run's folder, or in eval/NAME for other "
                          "encoders", None)
    max_images: int | None = key("at most so many pictures of data, a fixed random part; null: all", None)
    max_test_images: int | None = key("at most so many pictures of test_data, a fixed random part; null: all", None)
    cache: bool = key("keep features where evaluations do, and find them there", True)
    seed: int = key("of orders and draws", 0)
    classes: Any = key("names of the classes, a list or a file of them; null: a folder's own, classes.json beside shards, or "
                       "numbers", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out is not None and Path(self.out).suffix.lower() != ".png":
            raise ValueError(f"out={self.out}: figures are PNG files; let the name end in .png")


def main(words: Sequence[str]) -> int:
    """Run `viewmill eval figure WORDS` and print what came of it. Raises ValueError, one line."""
    if next((word for word in words if "=" not in word), None) == EVERY:
        return every(words)
    kind, what, config, own = read(words)
    world = process.start(config.device)
    try:
        if world.size > 1:
            raise ValueError(f"a figure is drawn by one process, not by {world.size}; start it without torchrun")
        path, drawn = draw(kind, what, config, own, world, command_of(words))
    finally:
        process.leave(world)
    print(f"{kind:<10} {drawn.title}\n{drawn.caption}\nfigure     {path}", flush=True)
    return 0


def every(words: Sequence[str]) -> int:
    """Draw every kind that can be, each as by a command of its own; the others are named, with the reason. Raises ValueError, one
    line, for keys that figures do not share, and where nothing could be drawn."""
    known = {f.name for f in fields(FigureConfig)} - {"out"}
    own = [name for name, _ in (split(word) for word in words if "=" in word) if name.partition(".")[0] not in known]
    if own:
        raise ValueError(f"{own[0]}= is not for every figure; draw the one it is for, as in viewmill eval figure embedding ...")
    drawn = 0
    for kind in KINDS:
        try:
            drawn += main(words_of(kind, words)) == 0
        except ValueError as error:
            print(f"{kind:<10} left out: {error}", flush=True)
    if not drawn:
        raise ValueError("not one figure could be drawn; the reasons are above")
    return 0


def words_of(kind: str, words: Sequence[str]) -> list[str]:
    """The words of one kind, of those that ask for every. What is shown of one set of pictures is shown of test_data, if it is
    given."""
    given = dict(split(word) for word in words if "=" in word)
    used = {*KINDS[kind].needs, *KINDS[kind].takes}
    if KINDS[kind].needs == ("data",) and "test_data" not in used and "test_data" in given:
        (data, most), (test_data, most_test) = LIMITS.items()
        given[data] = given.pop(test_data)
        given.pop(most, None)
        given |= {most: given[most_test]} if most_test in given else {}
    unused = {name for part, limit in LIMITS.items() if part not in used for name in (part, limit)}
    names = [word for word in words if "=" not in word]
    return [kind, *names[1:], *(f"{name}={text}" for name, text in given.items() if name not in unused)]


def command_of(words: Sequence[str]) -> list[str]:
    return ["viewmill", "eval", "figure", *words]


def read(words: Sequence[str]) -> tuple[str, str, FigureConfig, Any]:
    """(kind, encoder, common keys, the kind's keys). Raises ValueError, one line."""
    names = [word for word in words if "=" not in word]
    if not names or names[0] not in KINDS:
        close = f"; {nearest(names[0], list(KINDS))}" if names else ""
        raise ValueError(f"which figure? viewmill eval figure KIND ENCODER data=..., KIND one of {', '.join(KINDS)}, or {EVERY}"
                         f"{close}")
    kind = KINDS[names[0]]
    if len(names) != 2:
        raise ValueError(f"viewmill eval figure {names[0]} needs one encoder, a run's folder, a checkpoint, a file of weights or "
                         f"a name of timm's, got {len(names) - 1}: {' '.join(names[1:]) or 'none'}")
    pairs = [split(word) for word in words if "=" in word]
    own = kind.defaults()
    common = FigureConfig()
    belongs, theirs = {f.name for f in fields(own)}, [f.name for f in fields(common)]
    config = filled(common, [pair for pair in pairs if pair[0].partition(".")[0] not in belongs], sorted(belongs))
    own = filled(own, [pair for pair in pairs if pair[0].partition(".")[0] in belongs], theirs)
    for part in ("data", "test_data"):
        given = getattr(config, part) is not None
        if part in kind.needs and not given:
            raise ValueError(f"viewmill eval figure {names[0]} needs pictures: {part}=PATTERN, for example "
                             f"{part}='test-{{0000..0009}}.tar', or a folder")
        if given and part not in (*kind.needs, *kind.takes):
            raise ValueError(f"viewmill eval figure {names[0]} takes no {part}=; leave it out")
    return names[0], names[1], config, own


def draw(kind: str, what: str, config: FigureConfig, own: Any, world: process.World,
         command: Sequence[str]) -> tuple[Path, Drawn]:
    """Draw a figure and save it with the command that makes it again."""
    torch_threads, threads = process.split_cores(process.cores(), 1, world.device.type == "cuda", config.torch_threads,
                                                 config.threads)
    torch.set_num_threads(torch_threads)
    process.seed_all(config.seed)
    folder = Path(default_out(what))  # eval in a run's folder, eval/NAME for others
    scene = Scene(what, config, world, folder, threads, KINDS[kind].any_size)
    drawn: Drawn = KINDS[kind].load().draw(scene, own)
    home = folder.parent if folder.name == "eval" else folder
    path = Path(config.out) if config.out is not None else home / "figures" / f"{kind}.png"
    return save(drawn.image, path, title=drawn.title, caption=drawn.caption, command=command), drawn


def manual(kind: str | None = None, *words: str) -> str:
    """All keys, of one kind or of every one. Raises ValueError for an unknown kind."""
    if kind is not None and kind not in (*KINDS, EVERY):
        raise ValueError(f"viewmill eval figure has no {kind!r}; {nearest(kind, [*KINDS, EVERY])}")
    lines = [HEAD, "Figures:", *(f"  {name:<16} {each.about}" for name, each in KINDS.items()),
             f"  {EVERY:<16} every one that can be drawn, where only keys of all may be given", ""]
    for name in KINDS if kind in (None, EVERY) else (kind,):
        lines += [f"Keys of {name}:", *rows(describe(type(KINDS[name].defaults()))), ""]
    return "\n".join([*lines, "Keys of all:", *rows(describe(FigureConfig))])


HEAD = """Usage: viewmill eval figure KIND ENCODER data=... out=FILE.png [KEY=VALUE]...

Draw a picture that says something about an encoder. ENCODER: the folder of a run, a checkpoint of it, a file of weights (with
backbone=), or a name of timm's. The PNG says of itself what it shows and which command makes it again; a run's report has all
that lie in its folder.

  viewmill eval figure embedding runs/simclr data='cifar10/test-*.tar'
  viewmill eval figure pca runs/dino data=photographs/ image_px=96
  viewmill eval figure all runs/simclr data='cifar10/train-*.tar' test_data='cifar10/test-*.tar'
"""
