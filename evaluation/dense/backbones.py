"""Backbones as dense tasks see them: maps at several strides, on pictures of any size."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.ops import FeaturePyramidNetwork

from ...augment.ops import LabSplit, Normalize, Sobel
from ...augment.render import apply_ops
from ...models.backbone import is_resnet, set_drop_path
from ...models.layers import maps
from ...models.relative_vit import is_relative_vit, open_grids, set_grid
from ...models.vit import is_plain_vit, open_to_sizes, tokens
from ..encoder import Encoder

LOOKED_AT_PX = 128
LEVELS = 4


class Shown(nn.Module):
    """Pictures (3, H, W), levels 0 to 255, as pretraining showed them to the encoder: its colour space and normalisation, without
    its crop."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.ops = [op for op in encoder.view.instances[0].ops if isinstance(op, Normalize | LabSplit | Sobel)]

    def forward(self, picture: Tensor) -> Tensor:
        return apply_ops(picture[None].float(), self.ops, {op.name: {} for op in self.ops})[0]


class Levels(nn.Module):
    """A copy of an encoder's backbone: images (N, C, H, W), sides multiples of `multiple`, to maps, the finest first.

    Of a convolutional network or a Swin the last map of each resolution, the LEVELS deepest of them; with an output_stride the
    last two maps, of a ResNet no coarser than that. Of a plain vision transformer, or BEiT's, its patches after the last block,
    before the norm. channels, strides: of each map; a stride may be a rounded one. Weights that no map depends on do not train.
    Raises ValueError, one line, for networks that take one size alone or show no maps.
    """

    def __init__(self, encoder: Encoder, drop_path: float = 0.0, output_stride: int | None = None) -> None:
        super().__init__()
        self.module: Any = copy.deepcopy(encoder.module).requires_grad_(True)
        if drop_path:
            set_drop_path(self.module, drop_path)
        open_to_sizes(self.module)
        self.relative = is_relative_vit(self.module)
        self.transformer = is_plain_vit(self.module) or self.relative
        if self.relative:
            open_grids(self.module)
        elif self.transformer:
            self.module.norm = nn.Identity()
        elif output_stride is not None and is_resnet(self.module):
            dilate(self.module, output_stride)
        network: Any = self.module
        patch_px = int(network.patch_embed.patch_size[0]) if self.transformer else 1
        side = 8 * patch_px if self.transformer else LOOKED_AT_PX
        self._last_two = output_stride is not None
        self.kept: tuple[int, ...] = ()
        try:
            with torch.enable_grad():
                found = self._looked_at(torch.zeros(1, encoder.view.instances[0].channels, side, side))
        except (AssertionError, RuntimeError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise ValueError(f"{encoder.name} shows no maps of pictures of other sizes ({reason}); dense tasks need a "
                             "convolutional network, a Swin, a plain vision transformer or BEiT's") from error
        self.channels = tuple(int(each.shape[1]) for each in found)
        self.strides = tuple(patch_px if self.transformer else _power_of_two(side / each.shape[2]) for each in found)
        self.multiple = max(self.strides)
        self._spare_unused(found)

    def forward(self, images: Tensor) -> list[Tensor]:
        if self.transformer:
            patch_px = self.module.patch_embed.patch_size[0]
            grid = images.shape[2] // patch_px, images.shape[3] // patch_px
            if self.relative:
                set_grid(self.module, *grid)
                last: list[Tensor] = self.module.forward_intermediates(images, indices=1, intermediates_only=True)
                return last
            patches = tokens(self.module, images)[:, self.module.num_prefix_tokens :]
            return [patches.transpose(1, 2).unflatten(2, grid)]
        shown = list(maps(self.module, images).values())
        return [shown[number] for number in self.kept]

    def _looked_at(self, images: Tensor) -> list[Tensor]:
        training = self.module.training
        self.module.eval()
        if not self.transformer:
            rows = [each.shape[2] for each in maps(self.module, images).values()]
            last = [number for number in range(len(rows)) if number + 1 == len(rows) or rows[number + 1] != rows[number]]
            self.kept = tuple(range(len(rows)))[-2:] if self._last_two else tuple(last[-LEVELS:])
        found = self(images)
        self.module.train(training)
        return found

    def _spare_unused(self, found: Sequence[Tensor]) -> None:
        parameters = list(self.module.parameters())
        used = torch.autograd.grad(torch.stack([each.sum() for each in found]).sum(), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, used, strict=True):
            parameter.requires_grad_(gradient is not None)


class Pyramid(nn.Module):
    """images to maps of `out_channels` each, "0", "1", ..., the finest first, and "pool", half as fine as the last: a feature
    pyramid (arXiv:1612.03144) or, on a transformer's one map, ViTDet's simple one (arXiv:2203.16527). strides: of all."""

    def __init__(self, levels: Levels, out_channels: int, norms: bool) -> None:
        super().__init__()
        self.levels, self.out_channels = levels, out_channels
        self.neck: nn.Module
        if levels.transformer:
            self.neck = SimplePyramid(levels.channels[0], out_channels, levels.strides[0])
            self.strides: tuple[int, ...] = self.neck.strides
        else:
            self.neck = FeaturePyramidNetwork(list(levels.channels), out_channels, norm_layer=nn.BatchNorm2d if norms else None)
            self.strides = levels.strides
        self.strides = (*self.strides, 2 * self.strides[-1])
        self.multiple = self.strides[-1]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        shown = self.levels(images)
        named = OrderedDict((str(number), each) for number, each in enumerate(shown))
        found = self.neck(shown[0]) if self.levels.transformer else list(self.neck(named).values())
        found.append(F.max_pool2d(found[-1], 1, 2))
        return OrderedDict(zip([*map(str, range(len(found) - 1)), "pool"], found, strict=True))


class SimplePyramid(nn.Module):
    """One map (N, D, h, w) of a stride to four, of a quarter of it, half, itself and twice; of an odd half none, since anchors
    need whole pixels. Source: detectron2, SimpleFeaturePyramid."""

    def __init__(self, dim: int, out_channels: int, stride: int) -> None:
        super().__init__()
        quarter = [nn.ConvTranspose2d(dim, dim // 2, 2, 2), LayerNorm2d(dim // 2, eps=1e-6), nn.GELU(),
                   nn.ConvTranspose2d(dim // 2, dim // 4, 2, 2)]
        scales: list[tuple[float, list[nn.Module], int]] = [
            (4, quarter, dim // 4), (2, [nn.ConvTranspose2d(dim, dim // 2, 2, 2)], dim // 2), (1, [], dim),
            (0.5, [nn.MaxPool2d(2, 2)], dim)]
        kept = [each for each in scales if (stride / each[0]).is_integer()]
        self.strides = tuple(int(stride / scale) for scale, _, _ in kept)
        self.parts = nn.ModuleList(nn.Sequential(
            *layers, nn.Conv2d(width, out_channels, 1, bias=False), LayerNorm2d(out_channels, eps=1e-6),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False), LayerNorm2d(out_channels, eps=1e-6))
            for _, layers, width in kept)

    def forward(self, shown: Tensor) -> list[Tensor]:
        return [part(shown) for part in self.parts]


class Trunk(nn.Module):
    """A ResNet up to its third stage: images to one map "0", of stride 16 (4 where its stem keeps the full resolution). `head`:
    the fourth stage, taken out. Raises ValueError for other networks."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        if not is_resnet(encoder.module):
            raise ValueError(f"neck=c4 cuts a ResNet after its third stage, {encoder.name} is none; use neck=pyramid")
        self.module: Any = copy.deepcopy(encoder.module).requires_grad_(True)
        network: Any = self.module
        self.head: Any = network.layer4
        self.head_channels = int(network.num_features)
        self.module.layer4 = nn.Identity()
        with torch.no_grad():
            images = torch.zeros(1, encoder.view.instances[0].channels, LOOKED_AT_PX, LOOKED_AT_PX)
            shown = self._shown(self.module.eval(), images)
        self.module.train()
        self.out_channels = int(shown.shape[1])
        self.multiple = _power_of_two(LOOKED_AT_PX / shown.shape[2])
        self.strides = (self.multiple,)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return OrderedDict([("0", self._shown(self.module, images))])

    @staticmethod
    def _shown(resnet: Any, images: Tensor) -> Tensor:
        x = resnet.maxpool(resnet.act1(resnet.bn1(resnet.conv1(images))))
        found: Tensor = resnet.layer3(resnet.layer2(resnet.layer1(x)))
        return found


def dilate(resnet: Any, output_stride: int) -> None:
    """Have a ResNet's map no coarser than output_stride: stages beyond it no longer step, and look as far as before by dilation,
    in their first block half as far (timm's output_stride, mmsegmentation's contract_dilation). Weights stay."""
    stride = 4 if not isinstance(resnet.maxpool, nn.Identity) else 1
    dilation = 1
    for stage in (resnet.layer2, resnet.layer3, resnet.layer4):
        stride *= 2
        if stride <= output_stride:
            continue
        before, dilation = dilation, 2 * dilation
        for number, block in enumerate(stage):
            reach = dilation if number else before
            for layer in block.modules():
                if isinstance(layer, nn.Conv2d):
                    layer.stride = (1, 1)
                    if layer.kernel_size == (3, 3):
                        # A basic block's second convolution looks as far as its stage.
                        second = layer is block.conv2 and not hasattr(block, "conv3")
                        own = dilation if second else reach
                        layer.dilation = layer.padding = (own, own)
                elif isinstance(layer, nn.AvgPool2d):
                    layer.kernel_size = layer.stride = 1


def _power_of_two(value: float) -> int:
    return 1 << max(round(torch.log2(torch.tensor(value)).item()), 0)
