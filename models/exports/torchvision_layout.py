"""torchvision's ResNets and vision transformers: weights under its names, and the few lines that load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from ..backbone import is_resnet
from ..vit import is_plain_vit
from .network import Features, Layout, Network, tensors_of
from .timm_layout import is_small_stem

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
           "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2")
"""Those that timm and torchvision give the same name, and the same names inside."""


def torchvision_layout(network: Network) -> Layout:
    """Raises ValueError, one line, for a network that torchvision does not have."""
    if is_resnet(network.module) and network.pooling == "own":
        return _of_resnet(network)
    if is_plain_vit(network.module):
        return _of_vit(network)
    raise ValueError(f"torchvision has no {type(network.module).__name__}: its ResNets ({', '.join(RESNETS)}) and plain vision "
                     "transformers can be written for it; use to=timm")


def _layout(network: Network, tensors: dict[str, Tensor], made: list[str], features: str, facts: dict[str, Any], build: Any,
            run: Any) -> Layout:
    shown = network.shown
    config = {**facts, "image_px": shown.image_px, "channels": shown.channels, "mean": list(shown.mean), "std": list(shown.std),
              "interpolation": shown.interpolation, "crop": shown.crop}
    opening = "\n".join(["import torch", "import torchvision", "from safetensors.torch import load_file", "", *made,
                         'model.load_state_dict(load_file(FOLDER + "/model.safetensors"))', "model.eval()"])

    def opened(folder: Path) -> Features:
        model: nn.Module = build()
        model.load_state_dict(load_file(folder / "model.safetensors"))
        model.eval()
        return lambda images: run(model, images)

    return Layout(tensors, {"config.json": config}, opening, features, f"torchvision {torchvision.__version__}", opened)


def _of_resnet(network: Network) -> Layout:
    name, channels = network.name.partition(".")[0], network.shown.channels
    if name not in RESNETS:
        raise ValueError(f"torchvision has no {name}; its ResNets are {', '.join(RESNETS)}; use to=timm")
    small, tensors = is_small_stem(network.module), tensors_of(network.module)
    stem = [3, 1, 1] if small else [7, 2, 3]
    made = [f"model = torchvision.models.{name}()", "model.fc = torch.nn.Identity()"]
    if small or channels != 3:
        made.append(f"model.conv1 = torch.nn.Conv2d({channels}, 64, {stem[0]}, stride={stem[1]}, padding={stem[2]}, bias=False)")
    if small:
        made.append("model.maxpool = torch.nn.Identity()")

    def build() -> nn.Module:
        model: Any = getattr(torchvision.models, name)()
        model.fc = nn.Identity()
        if small or channels != 3:
            model.conv1 = nn.Conv2d(channels, 64, stem[0], stride=stem[1], padding=stem[2], bias=False)
        if small:
            model.maxpool = nn.Identity()
        return model

    with torch.device("meta"):
        wanted = build().state_dict()
    for key in (*wanted, *tensors):
        if key not in tensors or key not in wanted or wanted[key].shape != tensors[key].shape:
            raise ValueError(f"torchvision's {name} differs from this network in {key}; use to=timm")
    facts = {"architecture": name, "stem": "one 3 x 3 convolution of stride 1, no pool" if small else "torchvision's own"}
    return _layout(network, tensors, made, "model(images)", facts, build, lambda model, images: model(images))


def _of_vit(network: Network) -> Layout:
    vit: Any = network.module
    first = vit.blocks[0]
    sizes = {"image_size": network.shown.image_px, "patch_size": int(vit.patch_embed.patch_size[0]),
             "num_layers": len(vit.blocks), "num_heads": int(first.attn.num_heads), "hidden_dim": int(vit.embed_dim),
             "mlp_dim": int(first.mlp.fc1.out_features)}
    tensors = _vit_tensors(vit)
    stated = ", ".join(f"{key}={value}" for key, value in sizes.items())
    made = [f"model = torchvision.models.VisionTransformer({stated})", "model.heads = torch.nn.Identity()"]
    channels = network.shown.channels
    if channels != 3:
        made.append(f"model.conv_proj = torch.nn.Conv2d({channels}, {sizes['hidden_dim']}, {sizes['patch_size']}, "
                    f"stride={sizes['patch_size']})")

    def build() -> nn.Module:
        model: Any = torchvision.models.VisionTransformer(**sizes)
        model.heads = nn.Identity()
        if channels != 3:
            model.conv_proj = nn.Conv2d(channels, sizes["hidden_dim"], sizes["patch_size"], stride=sizes["patch_size"])
        return model

    facts = {"architecture": "VisionTransformer", "arguments": sizes,
             "features": "the mean of the patch tokens" if network.pooling == "mean" else "the class token"}
    if network.pooling != "mean":
        return _layout(network, tensors, made, "model(images)", facts, build, lambda model, images: model(images))
    made += ["", "def features(images):",
             "    patches = model._process_input(images)",
             "    front = model.class_token.expand(len(images), -1, -1)",
             "    return model.encoder(torch.cat([front, patches], 1))[:, 1:].mean(1)", ""]

    def run(model: Any, images: Tensor) -> Tensor:
        patches = model._process_input(images)
        front = model.class_token.expand(len(images), -1, -1)
        mean: Tensor = model.encoder(torch.cat([front, patches], 1))[:, 1:].mean(1)
        return mean

    return _layout(network, tensors, made, "features(images)", facts, build, run)


def _vit_tensors(vit: Any) -> dict[str, Tensor]:
    """Raises ValueError where torchvision's transformer lacks something that this one has."""
    names = {"cls_token": "class_token", "pos_embed": "encoder.pos_embedding", "patch_embed.proj": "conv_proj",
             "norm": "encoder.ln", "norm1": "ln_1", "norm2": "ln_2", "attn.qkv.weight": "self_attention.in_proj_weight",
             "attn.qkv.bias": "self_attention.in_proj_bias", "attn.proj": "self_attention.out_proj", "mlp.fc1": "mlp.0",
             "mlp.fc2": "mlp.3"}
    tensors = tensors_of(vit)
    first = vit.blocks[0]
    if ("cls_token" not in tensors or tensors["pos_embed"].shape[1] != 1 + vit.patch_embed.num_patches
            or not isinstance(first.mlp.act, nn.GELU) or first.norm1.eps != 1e-6 or "blocks.0.attn.qkv.bias" not in tensors):
        raise ValueError("torchvision's vision transformers have a class token with a position, biases, GELU and norms of eps "
                         "1e-6, which this one has not all; use to=timm")
    found = {}
    for name, value in tensors.items():
        front, inside = "", name
        if name.startswith("blocks."):
            _, number, inside = name.split(".", 2)
            front = f"encoder.layers.encoder_layer_{number}."
        stem, _, last = inside.rpartition(".")
        if inside in names:
            found[front + names[inside]] = value
        elif stem in names:
            found[f"{front}{names[stem]}.{last}"] = value
        else:
            raise ValueError(f"torchvision's vision transformers have no {name}; use to=timm")
    return found
