"""`viewmill export ENCODER OUT to=...`: an encoder as timm, torchvision or transformers keep theirs, and opened again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from .. import __version__
from ..augment.op import nearest
from ..augment.ops import CenterCrop, LabSplit, Normalize, Resize, Sobel
from ..augment.recipe import Recipe
from ..models.exports import LAYOUTS, Layout, Network, Shown, pooling_of
from ..models.exports.network import Features
from ..models.official import Published
from ..models.training.config import describe, key
from ..models.training.manual import rows
from ..models.training.overrides import filled, split
from .encoder import Encoder
from .opening import open_encoder

SEED, PICTURES = 0, 2
"""Of the random pictures that the network and the one opened again are compared on."""

TOLERANCE = 1e-4
"""Of the largest feature: the same sums in another order lie far below."""


@dataclass(frozen=True)
class ExportConfig:
    to: Literal["timm", "torchvision", "huggingface"] = key(
        "whose layout: timm.create_model('local-dir:OUT', pretrained=True); torchvision's ResNets and vision transformers; "
        "transformers.AutoModel.from_pretrained('OUT')", "timm")
    backbone: str | None = key("the network that a file of weights belongs to; null: what names of a published one tell", None)
    weights_key: str | None = key("which network of a file that holds several, for example teacher", None)
    image_px: int | None = key("side of the pictures; null: as the encoder was trained, 224 for a file of weights", None)
    pretrained: bool = key("of a name of timm's: its published weights; false: untrained", True)
    view: str | None = key("how pictures are shown, which the configuration will say: a recipe of one view; null: as the "
                           "encoder was trained, or eval_bicubic", None)


@dataclass(frozen=True)
class Exported:
    """largest_difference: between features of the network and of what was opened again, over the largest feature; 0 where they
    are the same bits; None where the other library is not installed."""

    files: tuple[str, ...]
    weights: int
    largest_difference: float | None
    needs: str


def main(words: Sequence[str]) -> int:
    """Run `viewmill export WORDS` and print what came of it. Raises ValueError, one line."""
    names = [word for word in words if "=" not in word]
    if len(names) != 2:
        raise ValueError("viewmill export needs an encoder, a run's folder, a checkpoint or a file of weights, and the folder to "
                         f"write, got {len(names)}: {' '.join(names) or 'none'}")
    pairs = [split(word) for word in words if "=" in word]
    to = dict(pairs).get("to")
    if to is None or to not in LAYOUTS:
        close = "" if to is None else f", not {to!r}; {nearest(to, list(LAYOUTS))}"
        raise ValueError(f"viewmill export needs to=, one of {', '.join(LAYOUTS)}{close}")
    config = filled(ExportConfig(), pairs)
    encoder = open_encoder(names[0], backbone=config.backbone, image_px=config.image_px, pretrained=config.pretrained,
                           weights_key=config.weights_key, view=config.view)
    found = export(encoder, Path(names[1]), config.to)
    print(f"encoder    {encoder.name}, {encoder.dim} features, {encoder.image_px} px\n"
          f"written    {names[1]}: {', '.join(found.files)}; {found.weights / 1e6:.2f} million weights\n"
          f"opened     {_in_words(found)}\nhow to     {Path(names[1]) / 'README.md'}", flush=True)
    return 0


def export(encoder: Encoder, out: Path, to: str) -> Exported:
    """Write an encoder into the folder `out`, whole or not at all: model.safetensors, config.json, what else the layout has, and
    README.md with the lines that open it. It is opened again with the library it is for, where that is installed, and has to
    give the same features.

    Raises ValueError, one line, where `out` has something in it already, or the layout has no such network, pooling or
    preparation of pictures.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already; give a folder that is empty, or not there yet")
    torch.manual_seed(SEED)
    shown = shown_of(encoder.view)
    images = torch.randn(PICTURES, shown.channels, encoder.image_px, encoder.image_px)
    network = network_of(encoder, shown, images)
    layout = LAYOUTS[to](network)
    part = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        part.mkdir(parents=True)
        save_file(layout.tensors, part / "model.safetensors", metadata={"format": "pt"})
        for name, content in layout.files.items():
            (part / name).write_text(json.dumps(content, indent=2) + "\n")
        (part / "README.md").write_text(read_me(encoder, network, layout, out))
        try:
            off = None if layout.opened is None else _difference(encoder, layout.opened(part), images)
        except Exception as error:
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise ValueError(f"{layout.needs} does not open {encoder.name} from this layout ({reason}), so nothing was written "
                             f"to {out}; use another to=") from error
        if off is not None and not off <= TOLERANCE:
            raise ValueError(f"{encoder.name}, opened again with {layout.needs}, gives other features ({off:.1e} of the "
                             f"largest), so nothing was written to {out}; use another to=")
        if out.exists():
            out.rmdir()
        os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    weights = sum(value.numel() for value in layout.tensors.values())
    return Exported(("model.safetensors", *layout.files, "README.md"), weights, off, layout.needs)


@torch.no_grad()
def _difference(encoder: Encoder, opened: Features, images: torch.Tensor) -> float:
    wanted, found = encoder(images), opened(images)
    if wanted.shape != found.shape:
        return float("inf")
    return float((wanted - found).abs().max() / wanted.abs().max().clamp_min(1e-12))


def network_of(encoder: Encoder, shown: Shown, images: torch.Tensor) -> Network:
    """images (N, C, H, W): what its way of pooling is told by. Raises ValueError where its features are none that come of its
    network by a pooling."""
    whole = encoder.whole
    name = whole.kind if isinstance(whole, Published) else _backbone_of(encoder.origin)
    module = encoder.module
    if name is None:
        raise ValueError(f"{encoder.name} does not say what network it has; give the run's folder, or a file with backbone=")
    if not callable(getattr(module, "forward_features", None)):
        raise ValueError(f"{encoder.name} has a {type(module).__name__}, which no other library has; viewmill opens it itself, "
                         "with viewmill.evaluation.opening.open_encoder")
    pooling = pooling_of(module, encoder, images)
    if pooling is None:
        raise ValueError(f"features of {encoder.name} are neither what its {name} returns nor its class token nor the mean of "
                         "its patch tokens, so no other library would give them")
    return Network(module, name, pooling, shown)  # type: ignore[arg-type]  # the checker takes callable() for another type


def _backbone_of(origin: Mapping[str, Any]) -> str | None:
    found = origin.get("backbone", origin.get("config", {}).get("model", {}).get("backbone"))
    return None if found is None else str(found)


def shown_of(view: Recipe) -> Shown:
    """How a view of one plain picture is made, in the words of other libraries. Raises ValueError where they have none for it."""
    instance = view.instances[0]
    side, channels, ops = instance.size_hw[0], instance.channels, instance.ops
    norm = next((op for op in ops if isinstance(op, Normalize)), Normalize(kind="none"))
    if any(isinstance(op, LabSplit | Sobel) for op in ops) or not norm.pixelwise:
        raise ValueError(f"pictures reach this network by {view}, in other values than levels with a mean and a standard "
                         "deviation, which configurations of other libraries cannot say")
    gain, offset = norm.affine(channels)
    mean = tuple(-shift / (255 * by) if shift else 0.0 for by, shift in zip(gain, offset, strict=True))
    std = tuple(1 / (255 * by) for by in gain)
    if norm.kind == "mean-std" and norm.mean is not None and norm.std is not None:
        mean, std = norm.mean, norm.std  # as they were written
    resize = next((op for op in ops if isinstance(op, Resize)), None)
    cut = next((op for op in ops if isinstance(op, CenterCrop)), None)
    crop = None
    if cut is not None and cut.fraction is not None:
        crop = cut.fraction
    elif resize is not None and resize.mode == "short-side" and resize.side_px:
        crop = side / resize.side_px
    filter_: Literal["bilinear", "bicubic"] = "bilinear" if resize is not None and resize.filter == "bilinear" else "bicubic"
    return Shown(side, channels, mean, std, filter_, crop)


def read_me(encoder: Encoder, network: Network, layout: Layout, out: Path) -> str:
    """What the folder is and how it is opened, in Markdown; its Python runs as it stands."""
    shown = network.shown
    how = ("the whole picture, squeezed into the square" if shown.crop is None
           else f"the short side resized to {round(shown.image_px / shown.crop)} px, the central square cut out")
    pictures = (f"Pictures of {shown.image_px} x {shown.image_px} px ({how}; {shown.interpolation}), "
                f"{shown.channels} channels, (level / 255 - mean) / std with mean {_numbers(shown.mean)} and std "
                f"{_numbers(shown.std)}.")
    code = layout.opening.replace("FOLDER", json.dumps(str(out))).replace('" + "', "")  # two texts become one
    return (f"# {encoder.name}\n\nA {type(network.module).__name__}, {encoder.dim} features, written by viewmill {__version__} "
            f"for {layout.needs}.\n\n```python\n{code}\n```\n\nFeatures (N, {encoder.dim}) of `images` (N, {shown.channels}, "
            f"{shown.image_px}, {shown.image_px}): `{layout.features}`\n\n{pictures}\n")


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _in_words(found: Exported) -> str:
    if found.largest_difference is None:
        return f"not tried: {found.needs} is not installed"
    same = "the same features, bit for bit" if found.largest_difference == 0 else (
        f"the same features up to {found.largest_difference:.1e} of the largest")
    return f"again with {found.needs}: {same}"


def manual() -> str:
    return "\n".join([HEAD, *rows(describe(ExportConfig))])


HEAD = """Usage: viewmill export ENCODER OUT to=timm|torchvision|huggingface [KEY=VALUE]...

Write an encoder into the folder OUT as another library keeps its networks: weights as safetensors, a configuration, and README.md
with the lines that open it. It is opened again and compared before it counts as written. ENCODER: the folder of a run, a
checkpoint of it, or a file of weights.

  viewmill export runs/dino exported to=timm
  viewmill export runs/mae exported to=huggingface
"""
