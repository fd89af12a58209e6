"""torchvision's Faster and Mask R-CNN on a backbone of ours."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import initLevelMapper

from ..encoder import Encoder
from .backbones import Levels, Pyramid, Shown, Trunk
from .schedules import Detection

SHAPES = (0.5, 1.0, 2.0)
"""Of anchors, height over width."""


def detector(encoder: Encoder, classes: int, masks: bool, of: Detection, pyramid_dim: int, head_dim: int) -> Any:
    """A network from pictures (3, H, W), levels 0 to 255, each at its size, to losses by name in training, and in evaluation to
    what it finds in each: {"boxes", "labels", "scores"} and {"masks": (n, 1, 28, 28), of each box}, in the pixels given.

    classes: without the background. What is published of heads stands, whatever the stride of the maps: anchors are 8 times their
    level's stride, 32 to 512 px at strides of 4 to 64.
    """
    count, options = classes + 1, {}
    body = Trunk(encoder) if of.neck == "c4" else Pyramid(Levels(encoder, of.drop_path), pyramid_dim, of.new_norms)
    if isinstance(body, Trunk):
        width, last = body.head_channels, body.head
        assert isinstance(last, nn.Module)
        stage = nn.Sequential(last, nn.BatchNorm2d(width)) if of.new_norms else nn.Sequential(last)
        sizes: tuple[tuple[int, ...], ...] = (tuple(2 * times * body.strides[0] for times in (1, 2, 4, 8, 16)),)
        # Numbers of detectron2's C4, of all proposals of its one level.
        options = {"rpn_pre_nms_top_n_train": 12_000, "rpn_pre_nms_top_n_test": 6_000, "rpn_post_nms_top_n_train": 2_000,
                   "box_head": nn.Sequential(stage, nn.AdaptiveAvgPool2d(1), nn.Flatten()), "rpn_depth": 1,
                   "box_predictor": InFull(FastRCNNPredictor(width, count)), "box_roi_pool": _pool(body.strides, 14),
                   "mask_head": stage, "mask_predictor": MaskRCNNPredictor(width, pyramid_dim, count)}
        del body.head  # it is in the heads
    else:
        plain: Callable[..., nn.Module] | None = nn.BatchNorm2d if of.new_norms else None
        depth, norm, box_head = 1, plain, None
        if body.levels.transformer:  # as ViTDet has it
            depth, norm = 2, LayerNorm2d
            box_head = FastRCNNConvFCHead((pyramid_dim, 7, 7), [pyramid_dim] * 4, [head_dim], norm)
        sizes = tuple((8 * stride,) for stride in body.strides)
        options = {"rpn_post_nms_top_n_train": 1_000, "box_head": box_head or TwoMLPHead(pyramid_dim * 49, head_dim),
                   "box_predictor": InFull(FastRCNNPredictor(head_dim, count)), "box_roi_pool": _pool(body.strides[:-1], 7),
                   "mask_head": MaskRCNNHeads(pyramid_dim, [pyramid_dim] * 4, 1, norm), "rpn_depth": depth,
                   "mask_predictor": MaskRCNNPredictor(pyramid_dim, pyramid_dim, count)}
    anchors = AnchorGenerator(sizes, (SHAPES,) * len(sizes))
    rpn_head = InFull(RPNHead(body.out_channels, len(sizes[0]) * len(SHAPES), options.pop("rpn_depth")))
    if masks:
        options["mask_roi_pool"] = _pool(body.strides[: len(body.strides) - (of.neck == "pyramid")], 14)
    else:
        del options["mask_head"], options["mask_predictor"]
    kind = MaskRCNN if masks else FasterRCNN
    network = kind(InFull(body, body.out_channels), rpn_anchor_generator=anchors, rpn_head=rpn_head, **options)
    network.transform = Prepared(encoder, body.multiple)
    return network


class InFull(nn.Module):
    """A module whose tensors come out in float32. torchvision gives anchors and boxes the precision of what they are worked out
    of, and bf16 has a step of 4 px at 800."""

    def __init__(self, module: nn.Module, out_channels: int = 0) -> None:
        super().__init__()
        self.module, self.out_channels = module, out_channels

    def forward(self, *given: Any) -> Any:
        return _in_full(self.module(*given))


def _in_full(found: Any) -> Any:
    if isinstance(found, dict):
        return OrderedDict((name, each.float()) for name, each in found.items())
    return found.float() if isinstance(found, Tensor) else type(found)(_in_full(each) for each in found)


class Prepared(GeneralizedRCNNTransform):
    """Pictures at the size they have, normalised, then filled up with zeros to a common one. What is found stays in their pixels,
    masks as large as the network makes them."""

    def __init__(self, encoder: Encoder, multiple: int) -> None:
        super().__init__(1, 1, [0.0], [1.0], size_divisible=multiple)
        self.shown = Shown(encoder)

    def normalize(self, image: Tensor) -> Tensor:
        found: Tensor = self.shown(image)
        return found

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        return image, target

    def postprocess(self, result: list[dict[str, Tensor]], image_shapes: Any,
                    original_image_sizes: Any) -> list[dict[str, Tensor]]:
        return result


def _pool(strides: tuple[int, ...], side: int) -> MultiScaleRoIAlign:
    """Of maps of these strides: torchvision would guess them from the first batch, to a power of two."""
    pool: Any = MultiScaleRoIAlign([str(number) for number in range(len(strides))], side, 2)
    pool.scales = [1 / stride for stride in strides]
    low, high = (round(torch.log2(torch.tensor(float(stride))).item()) for stride in (strides[0], strides[-1]))
    pool.map_levels = initLevelMapper(low, high, canonical_scale=224, canonical_level=4)
    return pool
