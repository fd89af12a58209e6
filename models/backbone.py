"""Backbones by name: timm's, fitted to the image size, and our own small ones."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any

import timm
import torch
from timm.layers import DropPath, LayerScale, PatchEmbed
from timm.models.resnet import ResNet
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from .alexnet import AlexNet
from .convnet import WIDTHS, ConvNet4

OWN: dict[str, Callable[[int, int], Any]] = {"convnet4": lambda in_chans, image_px: ConvNet4(in_chans), "alexnet": AlexNet}
RESNET_CHANNELS = (64, 128, 256, 512)  # of the four stages, before a bottleneck's expansion
CIFAR_STEM_PX = 64  # up to here a ResNet keeps the full resolution through its stem, as SimCLR's CIFAR-10 code does


def backbone(name: str, image_px: int, in_chans: int = 3, *, patch_px: int | None = None, embed_dim: int | None = None,
             depth: int | None = None, heads: int | None = None, zero_init_last: bool | None = None,
             width: float = 1.0, window: int | None = None) -> tuple[nn.Module, int]:
    """An untrained network from images (N, in_chans, image_px, image_px) to features (N, D), and D.

    name: one of timm's, `convnet4` or `alexnet`. ResNets for images of at most 64 px get the stem of the CIFAR experiments: one
    3x3 convolution of stride 1, no max pool. patch_px, embed_dim, depth, heads: for vision transformers alone, where the name's
    own value shall not stand. zero_init_last: for ResNets alone, whether the gain of each block's last batch norm begins at 0
    (SimCLR, SimSiam, Barlow Twins, VICReg, MoCo v3) or at 1 (MoCo v1 and v2, SwAV, DINO); None: at 0. width: for ResNets and
    convnet4, how many times the channels, but for a ResNet's stem, as CMC has it. window: for Swins alone, side of their windows
    in patches.

    Raises ValueError, one line: an unknown name with the nearest, an image size that the network cannot take, or would take
    without the image's edge, with the nearest that it can, options that do not apply.
    """
    overrides = {"patch_size": patch_px, "embed_dim": embed_dim, "depth": depth, "num_heads": heads, "window_size": window}
    overrides = {key: value for key, value in overrides.items() if value is not None}
    if image_px < 1 or in_chans < 1:
        raise ValueError(f"a backbone needs image_px and in_chans of at least 1, got {image_px} and {in_chans}")
    if name in OWN:
        if overrides:
            raise ValueError(_no_overrides(name))
        if width != 1 and name != "convnet4":
            raise ValueError(_no_width(name))
        if zero_init_last is not None:
            raise ValueError(_no_residual(name))
        own = OWN[name](in_chans, image_px) if width == 1 else ConvNet4(in_chans, _times(width, WIDTHS))
        return own, own.num_features
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, [*OWN, *timm.list_models()], 1, 0.0)[0]
        raise ValueError(f"unknown backbone {name!r}; did you mean {close!r}? timm.list_models() has them all, and there are "
                         f"{', '.join(OWN)}")
    if embed_dim is not None and heads is not None and embed_dim % heads:
        raise ValueError(f"embed_dim={embed_dim} needs to be a multiple of heads={heads}")
    module = _create(name, image_px, in_chans, overrides)
    if width != 1:
        if not isinstance(module, ResNet):
            raise ValueError(_no_width(name))
        module = timm.create_model(name, num_classes=0, in_chans=in_chans, channels=_times(width, RESNET_CHANNELS))
    if isinstance(module, ResNet):
        if zero_init_last is False:  # timm's own way is to begin at 0
            unit_gains(module)
        if image_px <= CIFAR_STEM_PX:
            _cifar_stem(module, in_chans)
    elif zero_init_last is not None:
        raise ValueError(_no_residual(name))
    return module, _width(name, module, image_px, in_chans)


def published(name: str, image_px: int | None = None) -> tuple[nn.Module, int, int, tuple[float, ...], tuple[float, ...]]:
    """One of timm's networks with the weights that timm publishes, fetched when they are not in its cache: the network, D of
    its features, the side in pixels it takes, and the mean and standard deviation of what it was trained on.

    Raises ValueError, one line, where there are none, or they cannot be fetched.
    """
    if name in OWN or not timm.is_model(name):
        backbone(name, image_px or 224)
        raise ValueError(f"{name} has no published weights; give a checkpoint, or pretrained=false for the untrained network")
    known = timm.get_pretrained_cfg(name)
    if known is None or not known.has_weights:
        raise ValueError(f"timm publishes no weights of {name!r}; give a checkpoint, or pretrained=false: the untrained network")
    side = image_px or known.input_size[-1]
    try:
        try:
            module = timm.create_model(name, pretrained=True, num_classes=0, img_size=side)
        except TypeError:
            module = timm.create_model(name, pretrained=True, num_classes=0)  # convolutional: any size
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(f"the weights of {name!r} cannot be had ({reason}); give a file of them with backbone={name}, or "
                         "pretrained=false for the untrained network") from error
    return module, _width(name, module, side, 3), side, tuple(known.mean), tuple(known.std)


def vision_transformer(name: str, image_px: int, in_chans: int = 3, *, patch_px: int | None = None, embed_dim: int | None = None,
                       depth: int | None = None, heads: int | None = None) -> VisionTransformer:
    """`backbone`, for methods that work on a plain ViT's patches: patch_embed, pos_embed, cls_token, blocks, norm.

    Raises ValueError also where the network is none, or has no table of absolute positions.
    """
    module, _ = backbone(name, image_px, in_chans, patch_px=patch_px, embed_dim=embed_dim, depth=depth, heads=heads)
    if type(module) is not VisionTransformer or module.pos_embed is None:
        raise ValueError(f"backbone {name!r} is no plain vision transformer with absolute positions; use for example "
                         "'vit_base_patch16_224' or 'vit_small_patch16_224'")
    return module


def transformer_blocks(dim: int, depth: int, heads: int, mlp_ratio: float = 4.0) -> nn.Sequential:
    """Pre-norm blocks on tokens (N, L, dim), LayerNorm eps 1e-6, with biases. Raises ValueError unless heads divides dim."""
    if dim < 1 or depth < 1 or heads < 1 or dim % heads:
        raise ValueError(f"transformer blocks need depth >= 1 and a width that heads divides, got width {dim}, depth {depth}, "
                         f"heads {heads}")
    return nn.Sequential(*(Block(dim, heads, mlp_ratio, qkv_bias=True, norm_layer=_LayerNorm) for _ in range(depth)))


def set_drop_path(module: nn.Module, rate: float) -> None:
    """Give a network stochastic depth, whatever it had: the chance that a block's residual branch is left out for an image grows
    linearly over the blocks, from 0 at the first to `rate` at the last, as timm and DINO have it; 0 removes it.

    Weights and their names stay. Networks that stand side by side in one (`side_by_side`: their names) each have it so. Raises
    ValueError, one line, on a rate outside [0, 1) and on a network whose blocks have no place for it, of timm's for example VGG,
    of ours all.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"drop path needs a rate in [0, 1), got {rate}")
    beside: Any = getattr(module, "side_by_side", ())
    if beside:
        for part in beside:
            set_drop_path(getattr(module, part), rate)
        return
    blocks = [(block, names) for block in module.modules() if (names := _drop_paths(block))]
    if not blocks:
        raise ValueError(f"{type(module).__name__} has no residual branches that drop path could leave out; use a rate of 0, or "
                         "for example a ViT, ResNet, Swin or ConvNeXt of timm's")
    for number, (block, names) in enumerate(blocks):
        own = rate * number / max(len(blocks) - 1, 1)
        for name in names:
            path: nn.Module = DropPath(own) if own else nn.Identity()
            setattr(block, name, path.train(block.training))


def set_layer_scale(module: nn.Module, gain: float) -> None:
    """Give each of a plain vision transformer's blocks a gain for each channel of what its two branches add, `gain` at first, as
    BEiT has it (arXiv:2106.08254). Raises ValueError unless it is above 0."""
    if not gain > 0:
        raise ValueError(f"layer scale needs a gain above 0, got {gain}")
    blocks: list[Any] = [block for block in module.modules() if isinstance(block, Block)]
    for block in blocks:
        block.ls1, block.ls2 = (LayerScale(block.attn.qkv.in_features, init_values=gain) for _ in range(2))


def set_even_drop_path(module: nn.Module, rate: float) -> None:
    """`set_drop_path`, but that every block has the same rate, as DINOv2 has it. Raises ValueError for the same reasons."""
    set_drop_path(module, rate)
    for block in list(module.modules()):
        for name in _drop_paths(block):
            path: nn.Module = DropPath(rate) if rate else nn.Identity()
            setattr(block, name, path.train(block.training))


def _drop_paths(block: nn.Module) -> list[str]:
    """Where timm's blocks keep their drop path: drop_path, drop_path1, ...; None (in a ResNet) or a module."""
    places = {**vars(block), **block._modules}
    return [name for name, value in places.items()
            if re.fullmatch(r"drop_path\d*", name) and (value is None or isinstance(value, DropPath | nn.Identity))]


class _LayerNorm(nn.LayerNorm):
    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **{"eps": 1e-6, **options})


def _create(name: str, image_px: int, in_chans: int, overrides: dict[str, Any]) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=False, num_classes=0, in_chans=in_chans, img_size=image_px, **overrides)
    except TypeError:
        if overrides:
            raise ValueError(_no_overrides(name)) from None
        return timm.create_model(name, pretrained=False, num_classes=0, in_chans=in_chans)  # convolutional: any size
    except (AssertionError, RuntimeError, ValueError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        given = f" {overrides}" if overrides else ""
        published = timm.get_pretrained_cfg(name)
        own = f"; its own size is {published.input_size[-1]} px" if published is not None else ""
        raise ValueError(f"backbone {name!r} cannot be built for image_px={image_px}{given}: {reason}{own}") from error


def _no_overrides(name: str) -> str:
    return f"backbone {name!r} takes no patch_px, embed_dim, depth, heads or window; they are for vision transformers"


def _no_residual(name: str) -> str:
    return f"backbone {name!r} takes no zero_init_last; it is for ResNets"


def _no_width(name: str) -> str:
    return f"backbone {name!r} takes no width; it is for ResNets and convnet4"


def _times(width: float, channels: tuple[int, ...]) -> tuple[int, ...]:
    found = tuple(round(width * count) for count in channels)
    if min(found) < 1:
        raise ValueError(f"a backbone needs a width that leaves at least 1 channel, got {width}")
    return found


def is_resnet(module: nn.Module) -> bool:
    """Whether it is one of timm's ResNets, whose stem depends on the size of images."""
    return isinstance(module, ResNet)


def unit_gains(module: nn.Module) -> None:
    """Have the gain of each ResNet block's last batch norm begin at 1 (see `backbone`); other networks have none."""
    for block in module.modules() if isinstance(module, ResNet) else ():
        if hasattr(block, "zero_init_last"):
            last: Any = getattr(block, "bn3", None) or block.bn2
            nn.init.ones_(last.weight)


def _cifar_stem(module: ResNet, in_chans: int) -> None:
    width: Any = module.bn1.num_features
    first = nn.Conv2d(in_chans, width, 3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    module.add_module("conv1", first)
    module.add_module("maxpool", nn.Identity())


def _width(name: str, module: nn.Module, image_px: int, in_chans: int) -> int:
    """D of the features (N, D), and whether the network really takes such an image, before hours of other work are done."""
    dim: Any = module.num_features
    # Some networks without padding would cut off, unsaid, what is left beside the last whole patch.
    cuts = next((m for m in module.children() if isinstance(m, PatchEmbed) and not m.dynamic_img_pad), None)
    step = int(cuts.patch_size[0]) if cuts is not None else 0
    if step and image_px % step:
        raise ValueError(f"image size {image_px} px: backbone {name!r} cuts patches of {step} px, which do not divide it; "
                         f"use {_nearest_sizes(image_px, step)}")
    if isinstance(module, ResNet) or (isinstance(module, VisionTransformer) and step):
        return int(dim)
    try:
        training = module.training
        with torch.no_grad():
            features = module.eval()(torch.zeros(1, in_chans, image_px, image_px))
        module.train(training)
        # Looked at, not believed: timm's num_features is the width before a head that some, MobileNetV3 for one, keep.
        return int(features.shape[1])
    except Exception as error:
        info = getattr(module, "feature_info", None) or [{}]
        step = max(step, int(info[-1].get("reduction", 0)) if isinstance(info[-1], dict) else 0, 1)
        raise ValueError(f"image size {image_px} px: backbone {name!r} rejects it ({' '.join(str(error).split())[:120]}); its "
                         f"patch or total stride is {step} px, use {_nearest_sizes(image_px, step)}") from error


def _nearest_sizes(image_px: int, step: int) -> str:
    below = image_px // step * step
    return f"{below} or {below + step} px" if below else f"{step} px"
