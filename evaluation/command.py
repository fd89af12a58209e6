"""`viewmill eval PROTOCOL ENCODER data=... test_data=... [key=value]`: one encoder, by one of the field's protocols."""

# ruff: noqa: RUF009 (key() gives a dataclass field)
from __future__ import annotations

import json
import os
import re
import shlex
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from .. import __version__
from ..augment.op import nearest
from ..models.training import process
from ..models.training.config import RemoteConfig, describe, key
from ..models.training.manual import rows
from ..models.training.overrides import filled, plain, split
from ..models.training.step import autocast_for
from ..pipelines.remote.options import Remote
from ..pipelines.source import Source, open_source
from . import pseudo_labels
from .dense import TASKS
from .figures import COMMANDS
from .multilabel import MultiLabelSource, open_labelled
from .opening import open_encoder
from .pictures import Pictures
from .resumable import Stopped
from .task import ALONE, Task
from .transfer import command as transfer
from .transfer.sets import mean_per_class


@dataclass(frozen=True)
class Protocol:
    """module, config: where its keys and its `run` are; about: one line. unlabelled: whether it learns from pictures without a
    label, too. several: whether a picture may show several classes, see `multilabel`."""

    module: str
    config: str
    about: str
    unlabelled: bool = False
    several: bool = False

    def load(self) -> Any:
        return import_module(f".{self.module}", __package__)

    def defaults(self, given: Mapping[str, str]) -> Any:
        """Its keys before the user's. given: the user's texts; a module's `published` reads off them which defaults are meant."""
        module = self.load()
        published = getattr(module, "published", None)
        return getattr(module, self.config)() if published is None else published(given)


PROTOCOLS = {
    "knn": Protocol("neighbours", "KnnEvalConfig", "weighted nearest neighbours of frozen features"),
    "linear": Protocol("linear", "LinearConfig", "linear heads on frozen features, as papers publish them, or by L-BFGS"),
    "layers": Protocol("layers", "LayersConfig", "a linear head on every layer at once: the conv1 .. conv5 tables"),
    "finetune": Protocol("finetune", "FinetuneConfig", "all weights trained end to end, from where pretraining left them"),
    "distill": Protocol("distill", "DistillConfig", "a network learns what a fine-tuned one answers, labels or not", True),
    "svm": Protocol("svm", "SvmConfig", "linear SVMs, one class against the rest: VOC's mean average precision", several=True),
    "fewshot": Protocol("fewshot", "FewshotConfig", "episodes of a few classes and pictures: nearest mean or regression"),
    "logistic": Protocol("transfer.regression", "LogisticConfig", "logistic regression by L-BFGS, C chosen by the set's metric",
                         several=True),
    "semi": Protocol("semi", "SemiConfig", "fine-tuning on 1 % and 10 % of the labels, whose lists are kept"),
    "clusters": Protocol("clusters", "ClustersConfig", "k-means beside the classes: NMI, ARI, purity"),
}

FIGURES = {"top1": "top-1", "top5": "top-5", "map_11_point": "mAP of 11 points", "map_all_point": "mAP of all points",
           "nmi": "NMI", "ari": "ARI", "purity": "purity", "accuracy": "accuracy"}
"""What a result is read for, in words; whichever it has."""

OTHERS: dict[str, Any] = {**COMMANDS, "pseudo_labels": pseudo_labels, "transfer": transfer, **TASKS}


@dataclass(frozen=True)
class EvalConfig:
    data: Any = key("labelled pictures to learn from: tar shards, a folder of class folders, addresses")
    test_data: Any = key("labelled pictures to be tested on")
    out: str | None = key("folder of the results and of what an interrupted evaluation goes on from; null: eval/ in the run's "
                          "folder, eval/NAME for other encoders", None)
    backbone: str | None = key("the network that a file of weights belongs to; null: what names of a published one tell", None)
    weights_key: str | None = key("which network of a file that holds several, for example teacher", None)
    image_px: int | None = key("side of the pictures; null: as the encoder was trained, 224 for a file of weights", None)
    pretrained: bool = key("of a name of timm's: its published weights; false: untrained", True)
    view: str | None = key("how pictures are shown: a recipe of one view, for example eval_bicubic; null: as the encoder was "
                           "trained, or eval_bicubic", None)
    head_layers: int = key("keep so many first layers of pretraining's projection head on the encoder, 1 as SimCLR v2 is "
                           "fine-tuned; 0: none", 0)
    max_images: int | None = key("at most so many pictures to learn from, a fixed random part; null: all", None)
    max_test_images: int | None = key("at most so many pictures to be tested on, a fixed random part; null: all", None)
    cache: bool = key("keep features in out, so that an interrupted or another evaluation finds them", True)
    seed: int = key("of orders, draws and first weights", 0)
    device: Literal["auto", "cpu", "cuda"] = key("auto: cuda where there is one", "auto")
    precision: Literal["auto", "fp32", "bf16"] = key("auto: bf16 autocast on CUDA, fp32 elsewhere", "auto")
    threads: int | None = key("threads that render pictures, of each rank; null: a share of its cores", None)
    torch_threads: int | None = key("threads of torch of each rank on the CPU; null: the cores that rendering leaves", None)
    remote: RemoteConfig = key("", RemoteConfig())

    def __post_init__(self) -> None:
        for name in ("image_px", "max_images", "max_test_images", "threads", "torch_threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} needs a whole number of at least 1, got {value}")
        for name in ("seed", "head_layers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} needs a whole number of at least 0, got {getattr(self, name)}")


def main(words: Sequence[str]) -> int:
    """Run `viewmill eval WORDS` and print what came of it; the exit status is 130 after SIGINT, else 0. Under torchrun every
    rank calls it; rank 0 writes and prints."""
    first = next((place for place, word in enumerate(words) if "=" not in word), None)
    if first is not None and words[first] in OTHERS:
        status: int = OTHERS[words[first]].main([*words[:first], *words[first + 1 :]])
        return status
    name, what, config, own = read(words)
    world = process.start(config.device)
    try:
        evaluate(name, what, config, own, world)
    except Stopped as stopped:
        if world.rank == 0:
            print(f"{stopped}: viewmill eval {shlex.join(words)}", flush=True)
        return 130 if stopped.signal == signal.SIGINT else 0
    finally:
        process.leave(world)
    return 0


def read(words: Sequence[str]) -> tuple[str, str, EvalConfig, Any]:
    """(protocol, encoder, common keys, the protocol's keys). Raises ValueError, one line."""
    names = [word for word in words if "=" not in word]
    if not names or names[0] not in PROTOCOLS:
        close = f"; {nearest(names[0], [*PROTOCOLS, *OTHERS])}" if names else ""
        raise ValueError(f"which protocol? viewmill eval PROTOCOL ENCODER data=... test_data=..., PROTOCOL one of "
                         f"{', '.join([*PROTOCOLS, *OTHERS])}{close}")
    if len(names) != 2:
        raise ValueError(f"viewmill eval {names[0]} needs one encoder, a run's folder, a checkpoint, a file of weights or a name "
                         f"of timm's, got {len(names) - 1}: {' '.join(names[1:]) or 'none'}")
    pairs = [split(word) for word in words if "=" in word]
    own = PROTOCOLS[names[0]].defaults(dict(pairs))
    common = EvalConfig(data="unset", test_data="unset")
    belongs = {f.name for f in fields(own)}
    theirs = [f.name for f in fields(common)]
    config = filled(common, [pair for pair in pairs if pair[0].partition(".")[0] not in belongs], sorted(belongs))
    own = filled(own, [pair for pair in pairs if pair[0].partition(".")[0] in belongs], theirs)
    for needed in ("data", "test_data"):
        if needed not in (name for name, _ in pairs):
            part = "train" if needed == "data" else "test"
            kind = "pictures" if needed == "data" and PROTOCOLS[names[0]].unlabelled else "labelled pictures"
            raise ValueError(f"viewmill eval {names[0]} needs {kind}: {needed}=PATTERN, for example "
                             f"{needed}='{part}-{{0000..0009}}.tar', or a folder of class folders")
    return names[0], names[1], config, own


def evaluate(name: str, what: str, config: EvalConfig, own: Any, world: process.World = ALONE) -> dict[str, Any]:
    """What a protocol finds, as JSON-able data; out/NAME.json keeps it, out/NAME.npz which test pictures were answered rightly,
    and what else there is of each."""
    on_cuda = world.device.type == "cuda"
    torch_threads, threads = process.split_cores(process.cores(), world.local_size, on_cuda, config.torch_threads, config.threads)
    torch.set_num_threads(torch_threads)
    process.seed_all(config.seed)
    encoder = open_encoder(what, backbone=config.backbone, image_px=config.image_px, pretrained=config.pretrained,
                           weights_key=config.weights_key, view=config.view, head_layers=config.head_layers).to(world.device)
    protocol = PROTOCOLS[name]
    taught, asked = opened(name, config)
    several = isinstance(taught, MultiLabelSource)
    train = Pictures(taught, config.max_images, f"data={config.data}", threads, unlabelled=protocol.unlabelled or several)
    test = Pictures(asked, config.max_test_images, f"test_data={config.test_data}", threads, unlabelled=several)
    out = Path(config.out or default_out(what))
    leader = world.rank == 0
    autocast = autocast_for(config.precision, world.device)
    kept = out if autocast is nullcontext else out / "bf16"  # other features, and other steps, than in full precision
    task = Task(encoder, train, test, kept, world, threads, config.seed, config.cache, autocast, _say if leader else _silent)
    with process.alone_in(out) if leader else nullcontext():
        began = time.monotonic()
        task.say(f"encoder    {encoder.name}, {sum(p.numel() for p in encoder.module.parameters()) / 1e6:.2f} million weights, "
                 f"{encoder.dim} features, {encoder.image_px} px\npictures   {len(train):,} to learn from, {len(test):,} to be "
                 f"tested on" + ("" if protocol.unlabelled or several else f", {task.classes()} classes"))
        found = protocol.load().run(task, own)
        arrays = {**found.pop("arrays", {}), **({"correct": found.pop("correct")} if "correct" in found else {})}
        if "correct" in arrays and not several:
            found["mean_per_class"] = mean_per_class(arrays["correct"], test.label)
        result = {"eval": name, "encoder": what, "name": encoder.name, "fingerprint": encoder.fingerprint, **found,
                  "seconds": round(time.monotonic() - began, 1), "pictures": len(train), "test_pictures": len(test),
                  "config": {**plain(config), **plain(own)}, "viewmill": __version__}
        if leader:
            save(out, name, result, arrays, test.index)
            task.say(f"{in_words(name, result)}\nresult     {out / f'{name}.json'}")
    return result


def opened(name: str, config: EvalConfig) -> tuple[Source, Source]:
    """The sources of a protocol's training and test pictures. Raises ValueError or DataError, one line."""
    remote = Remote(**{**asdict(config.remote), "storage_options": config.remote.storage_options or {}})
    reading = open_labelled if PROTOCOLS[name].several else open_source
    return reading(config.data, remote=remote), reading(config.test_data, remote=remote)


def default_out(what: str) -> str:
    """eval in a run's folder, whichever checkpoint of it is meant; eval/NAME where there is no such folder."""
    path = Path(what)
    for folder in (path, path.parent, path.parent.parent):
        if (folder / "checkpoints").is_dir():
            return str(folder / "eval")
    return str(Path("eval") / re.sub(r"[^\w.-]+", "-", path.stem if path.is_file() else what))


def save(out: Path, name: str, result: Mapping[str, Any], arrays: Mapping[str, np.ndarray], index: np.ndarray) -> None:
    """Written whole or not at all."""
    temporary = out / f".{name}.{os.getpid()}"
    with open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays, index=index)
    os.replace(temporary, out / f"{name}.npz")
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    os.replace(temporary, out / f"{name}.json")


def in_words(name: str, result: Mapping[str, Any]) -> str:
    """The figures of a result, a line each."""
    told = [f"{words} {result[figure]:.4f}" for figure, words in FIGURES.items() if figure in result]
    told += [f"mean per class {result['mean_per_class']:.4f}"] if result.get("metric") == "mean_per_class" else []
    lines = [f"{name:<10} {', '.join(told)}"]
    for title, value in result.items():
        if title in ("config", "chosen"):
            continue
        if isinstance(value, dict) and all(isinstance(v, float) for v in value.values()):
            figures = "  ".join(f"{label} {number:.4f}" for label, number in value.items())
            lines.append(f"{title.replace('_', ' '):<10} {figures}")
    if "chosen" in result:
        lines.append(f"{'chosen':<10} {shlex.join(f'{k}={v}' for k, v in result['chosen'].items())}")
    return "\n".join([*lines, f"{'seconds':<10} {result['seconds']:,.0f}"])


def manual(name: str | None = None, *further: str) -> str:
    """All keys; with a protocol, its own too. further: the words after it, of which a figure's first is its kind. Raises
    ValueError for an unknown one."""
    if name in OTHERS:
        found: str = OTHERS[name].manual(*(further if name in COMMANDS else ()))
        return found
    if name is not None and name not in PROTOCOLS:
        raise ValueError(f"viewmill eval has no protocol {name!r}; {nearest(name, [*PROTOCOLS, *OTHERS])}")
    lines = [HEAD, "Protocols:", *(f"  {each:<10} {protocol.about}" for each, protocol in PROTOCOLS.items()),
             "  transfer   one of these on several data sets, by the metrics of the field's table of twelve",
             "", "On COCO's and VOC's formats", "  detection      boxes and masks of things, by Faster and Mask R-CNN",
             "  segmentation   each pixel's class, by FCN", "", "No results, but",
             "  figure         pictures: of features, of their neighbours, of where a network looks, and more",
             "  attention      short for figure attention",
             "  pseudo_labels  every picture's cluster, for another network to learn", ""]
    if name is not None:
        lines += [f"Keys of {name}:", *rows(describe(type(PROTOCOLS[name].defaults({})))), ""]
    return "\n".join([*lines, "Keys of all:", *rows(describe(EvalConfig))])


HEAD = """Usage: viewmill eval PROTOCOL ENCODER data=... test_data=... [KEY=VALUE]...

Say how good an encoder's features are. ENCODER: the folder of a run, a checkpoint of it, a file of weights (with backbone=), or a
name of timm's. The same command again goes on where an interrupted evaluation stopped. Several processes:
torchrun --nproc-per-node N -m viewmill.cli eval ...

  viewmill eval knn runs/simclr data='cifar10/train-*.tar' test_data='cifar10/test-*.tar'
  viewmill eval knn dino.pth backbone=vit_small_patch16_224 weights_key=teacher data=imagenet/train test_data=imagenet/val
"""


def _say(line: str) -> None:
    print(line, flush=True)


def _silent(line: str) -> None:
    pass
