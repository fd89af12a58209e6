"""timm's layout: the folder that timm.create_model("local-dir:FOLDER", pretrained=True) opens, and the Hugging Face hub holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import LayerScale
from timm.models.beit import Beit
from timm.models.resnet import ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from .network import Features, Layout, Network, Shown, tensors_of

BEIT = "beit_base_patch16_224"
"""The architecture that a transformer with relative positions is said to be, whose sizes are then stated."""


def timm_layout(network: Network) -> Layout:
    """Raises ValueError, one line, for a network that timm has no arguments for."""
    module, shown = network.module, network.shown
    args = _arguments(network)
    name = BEIT if type(module) is Beit and not network.name.startswith("beit") else network.name.partition(".")[0]
    known: Any = timm.get_pretrained_cfg(name)
    size = [shown.channels, shown.image_px, shown.image_px]
    pictures = {"input_size": size, "interpolation": shown.interpolation, "crop_pct": 1.0 if shown.crop is None else shown.crop,
                "crop_mode": "squash" if shown.crop is None else "center", "mean": list(shown.mean), "std": list(shown.std)}
    where = {key: getattr(known, key) for key in ("first_conv", "classifier") if getattr(known, key, None)}
    width: Any = module.num_features
    config = {"architecture": name, "num_classes": 0, "num_features": int(width), "model_args": args,
              "pretrained_cfg": {**pictures, **where, "num_classes": 0}}
    return Layout(tensors_of(module), {"config.json": config}, opened=_opened, needs=f"timm {timm.__version__}",
                  opening='import timm\n\nmodel = timm.create_model("local-dir:" + FOLDER, pretrained=True).eval()',
                  features="model(images)")


def _opened(folder: Path) -> Features:
    module: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    return module.eval()


@dataclass(frozen=True)
class Folder:
    """A network of timm's from a folder in this layout, without a classifier, and how its configuration says that pictures are
    shown. dim: of its features."""

    module: nn.Module
    architecture: str
    dim: int
    shown: Shown


def is_timm_folder(folder: Path) -> bool:
    """Whether there is a config.json that names an architecture, as timm's do, and neither a run's nor transformers'."""
    return "architecture" in _configuration(folder)


def open_timm_folder(folder: Path) -> Folder:
    """What `viewmill export to=timm` wrote, or a snapshot of one of timm's networks on the Hugging Face hub; a classifier is left
    out. Raises ValueError, one line, where timm does not open it."""
    name = str(_configuration(folder).get("architecture"))
    try:
        module = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
        known = timm.data.resolve_model_data_config(module)
        channels, side, other = (int(each) for each in known["input_size"])
        if side != other:
            raise ValueError(f"pictures of {side} x {other} px, where square ones are needed")
        with torch.no_grad():
            dim = int(module(torch.zeros(1, channels, side, side)).shape[1])
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(f"timm {timm.__version__} does not open {folder} as a {name} ({reason}); give a folder with config.json "
                         "and model.safetensors, as viewmill export to=timm writes it") from error
    crop = None if known["crop_mode"] == "squash" else float(known["crop_pct"])
    return Folder(module, name, dim, Shown(side, channels, tuple(known["mean"]), tuple(known["std"]),
                                           "bilinear" if known["interpolation"] == "bilinear" else "bicubic", crop))


def _configuration(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "pretrained_cfg" in found else {}


def is_small_stem(module: nn.Module) -> bool:
    """Whether a ResNet keeps the full resolution through its stem, as for images of 32 px."""
    return isinstance(module, ResNet) and isinstance(module.maxpool, nn.Identity)


def _arguments(network: Network) -> dict[str, Any]:
    """What timm.create_model needs, besides the architecture, to build it."""
    module: Any = network.module
    args: dict[str, Any] = {} if network.shown.channels == 3 else {"in_chans": network.shown.channels}
    if type(module) is VisionTransformer:
        return args | _of_vit(module, network.pooling)
    if type(module) is Beit:
        return args | _of_beit(module, network.pooling)
    if network.pooling != "own":
        raise ValueError(f"a {type(module).__name__} of timm's cannot say that its features are pooled as {network.pooling}")
    if isinstance(module, SwinTransformer):
        return args | _of_swin(module)
    if is_small_stem(module):
        raise ValueError("timm's ResNets have no stem for small pictures among their arguments; use to=torchvision, whose code "
                         "that opens it replaces the stem")
    if isinstance(module, ResNet):
        stages: list[Any] = [module.layer1, module.layer2, module.layer3, module.layer4]
        return args | {"layers": [len(stage) for stage in stages]}
    if not module.__class__.__module__.startswith("timm."):
        raise ValueError(f"timm has no {type(module).__name__}: the run itself, or a checkpoint of it, is what opens it again, "
                         "with viewmill.evaluation.opening.open_encoder")
    patches = getattr(module, "patch_embed", None)
    return args | ({} if getattr(patches, "img_size", None) is None else {"img_size": network.shown.image_px})


def _blocks(module: Any) -> dict[str, Any]:
    width, first = int(module.embed_dim), module.blocks[0]
    hidden = int(first.mlp.fc1.out_features)
    # timm rounds hidden down, which a ratio that is no whole number may miss by one.
    ratio: float = hidden // width if hidden % width == 0 else (hidden + 0.25) / width
    return {"img_size": int(module.patch_embed.img_size[0]), "patch_size": int(module.patch_embed.patch_size[0]),
            "embed_dim": width, "depth": len(module.blocks), "num_heads": int(first.attn.num_heads), "mlp_ratio": ratio}


def _of_vit(module: VisionTransformer, pooling: str) -> dict[str, Any]:
    first: Any = module.blocks[0]
    pool = {"own": module.global_pool, "cls": "token", "mean": "avg"}[pooling]
    return {**_blocks(module), "qkv_bias": first.attn.qkv.bias is not None, "class_token": module.cls_token is not None,
            "reg_tokens": 0 if module.reg_token is None else int(module.reg_token.shape[1]),
            "no_embed_class": module.no_embed_class, "init_values": 1.0 if isinstance(first.ls1, LayerScale) else None,
            "global_pool": pool, "fc_norm": not isinstance(module.fc_norm, nn.Identity)}


def _of_beit(module: Beit, pooling: str) -> dict[str, Any]:
    first: Any = module.blocks[0]
    normed_late = not isinstance(module.fc_norm, nn.Identity)
    pool = {"own": module.global_pool, "cls": "token", "mean": "avg"}[pooling]
    # Said only where it is not what follows from the pooling, since older versions of timm have no such argument.
    late = {} if normed_late == (pool == "avg") else {"use_fc_norm": normed_late}
    return {**_blocks(module), "use_abs_pos_emb": module.pos_embed is not None,
            "use_rel_pos_bias": first.attn.relative_position_bias_table is not None,
            "use_shared_rel_pos_bias": module.rel_pos_bias is not None,
            "init_values": None if first.gamma_1 is None else 1.0, "global_pool": pool, **late}


def _of_swin(module: SwinTransformer) -> dict[str, Any]:
    stages: list[Any] = list(module.layers)
    patches: Any = module.patch_embed
    # A window is never larger than a stage's map: the largest one is what all were asked to be.
    window = max(int(side) for stage in stages for block in stage.blocks for side in block.window_size)
    return {"img_size": int(patches.img_size[0]), "patch_size": int(patches.patch_size[0]), "embed_dim": int(module.embed_dim),
            "depths": [len(stage.blocks) for stage in stages], "num_heads": [int(s.blocks[0].attn.num_heads) for s in stages],
            "window_size": window}


@torch.no_grad()
def pooling_of(module: nn.Module, features: Features, images: torch.Tensor) -> str | None:
    """How features come of a network: "own", "cls" or "mean" (see `Network`), of those that agree with `features` on the images
    (N, C, H, W) the nearest; None where none does."""
    wanted, network = features(images), module
    own = network(images)
    found = {"own": own}
    if isinstance(network, VisionTransformer | Beit) and isinstance(network.norm, nn.LayerNorm):
        tokens = network.forward_features(images)
        found |= {"cls": tokens[:, 0], "mean": tokens[:, network.num_prefix_tokens:].mean(1)}
        if network.cls_token is None:
            del found["cls"]
    off = {name: float((each - wanted).abs().max()) for name, each in found.items() if each.shape == wanted.shape}
    nearest = min(off, key=lambda name: off[name], default=None)
    return nearest if nearest is not None and off[nearest] <= 1e-4 * float(wanted.abs().max()) else None
