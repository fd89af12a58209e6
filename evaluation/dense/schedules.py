"""Published fine-tunings of dense tasks, and ours for little data. A run counts steps, each of one batch over all ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """lr: of the published batch; a run with another batch has it scaled in proportion, unless lr is given. law: "steps": a tenth
    after each of drops_at; "poly": lr * (1 - done)^0.9, never below final_lr; "cosine" to final_lr. A warm-up is linear, from a
    thousandth. layer_decay: a layer's rate over that of the layer above it. norms: of the backbone, "batch": batch statistics,
    over all ranks; "frozen": as pretraining left them. Norms, positions and tokens do not decay."""

    source: str
    lr: float
    batch_size: int = 16
    steps: int = 24_000
    optimizer: Literal["sgd", "adamw"] = "sgd"
    law: Literal["steps", "poly", "cosine"] = "steps"
    drops_at: tuple[int, ...] = ()
    final_lr: float = 0.0
    warmup_steps: int = 1000
    weight_decay: float = 1e-4
    layer_decay: float = 1.0
    drop_path: float = 0.0
    norms: Literal["batch", "frozen"] = "batch"
    precise_bn: int = 0


@dataclass(frozen=True)
class Detection(Schedule):
    """neck "pyramid": FPN, of a vision transformer ViTDet's simple pyramid; "c4": one map of stride 16, the last stage in the
    heads. sides_px: of the short side in training, one of them drawn for each picture; jitter: instead, a scale drawn from this
    range, and a square of test_side_px cut. new_norms: batch norm in the new layers."""

    neck: Literal["pyramid", "c4"] = "pyramid"
    masks: bool = False
    sides_px: tuple[int, ...] = tuple(range(640, 801, 32))
    test_side_px: int = 800
    longest_px: int = 1333
    jitter: tuple[float, ...] = ()
    new_norms: bool = True


@dataclass(frozen=True)
class Segmentation(Schedule):
    """Pictures are resized so that short_px, longest_px hold them, in training times a ratio drawn from `ratio`, of which
    crop_px are cut, ten times anew where one class has more than most_of_one of it. aux: weight of a second head's loss, on the
    map before the last. output_stride: of a ResNet's map, by dilation."""

    law: Literal["steps", "poly", "cosine"] = "poly"
    short_px: int = 512
    longest_px: int = 2048
    ratio: tuple[float, float] = (0.5, 2.0)
    crop_px: int = 512
    most_of_one: float = 0.75
    aux: float = 0.4
    output_stride: int = 8


MOCO_SIDES = tuple(range(480, 801, 32))

DETECTION: dict[str, Detection] = {
    "small": Detection("ours: a few minutes on small pictures", lr=2e-4, batch_size=8, steps=1000, optimizer="adamw",
                       law="cosine", warmup_steps=50, weight_decay=0.05, sides_px=(112, 128, 144), test_side_px=128,
                       longest_px=256),
    "moco_voc": Detection("facebookresearch/moco detection/configs/pascal_voc_R_50_C4_24k.yaml", lr=0.02,
                          drops_at=(18_000, 22_000), warmup_steps=100, neck="c4", sides_px=MOCO_SIDES, precise_bn=200),
    # The longer one is in the repository; the shorter is detectron2's 1x, as the paper has both.
    "moco_coco_1x": Detection("MoCo, arXiv:1911.05722, with detectron2's 1x", lr=0.02, steps=90_000, drops_at=(60_000, 80_000),
                              neck="c4", masks=True, precise_bn=200),
    "moco_coco_2x": Detection("facebookresearch/moco detection/configs/coco_R_50_C4_2x.yaml", lr=0.02, steps=180_000,
                              drops_at=(120_000, 160_000), neck="c4", masks=True, precise_bn=200),
    "fpn_1x": Detection("facebookresearch/detectron2 Base-RCNN-FPN.yaml, with batch norm as MoCo has it", lr=0.02, steps=90_000,
                        drops_at=(60_000, 80_000), masks=True, precise_bn=200),
    "vitdet": Detection("facebookresearch/detectron2 projects/ViTDet mask_rcnn_vitdet_b_100ep.py", lr=1e-4, batch_size=64,
                        steps=184_375, optimizer="adamw", drops_at=(163_889, 177_546), warmup_steps=250, weight_decay=0.1,
                        layer_decay=0.7, drop_path=0.1, masks=True, sides_px=(1024,), test_side_px=1024, longest_px=1024,
                        jitter=(0.1, 2.0), new_norms=False),
}

SEGMENTATION: dict[str, Segmentation] = {
    "small": Segmentation("ours: a few minutes on small pictures", lr=5e-4, batch_size=8, steps=500, optimizer="adamw",
                          law="cosine", warmup_steps=20, weight_decay=0.05, short_px=128, longest_px=512, crop_px=128,
                          ratio=(0.75, 1.5)),
    "mmselfsup": Segmentation("open-mmlab/mmselfsup fcn_r50-d8, 20k on VOC12 with SBD", lr=0.01, steps=20_000, final_lr=1e-4,
                              warmup_steps=0, weight_decay=5e-4),
}
