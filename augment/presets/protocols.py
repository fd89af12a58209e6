"""Not of one paper: the views that linear probes train on, and those that all are tested on."""

from __future__ import annotations

from ..ops import CenterCrop, Clip, Crop, Erase, Flip, Normalize, Op, RandomCrop, Resize
from ..recipe import Recipe, View
from .preset import IMAGENET, UNIT, Preset, bicubic_crop, bilinear_crop, center_of, short_side
from .swav import SWAV_NORMALIZE


def _one(name: str, *ops: Op) -> Recipe:
    return Recipe(name=name, views=(View(group="global", size_px=224, ops=ops),))


def _probe(name: str, crop: Crop, normalize: Normalize) -> Recipe:
    return _one(name, crop, Flip(p=0.5), normalize)


def _tf_eval(name: str, *after: Op) -> Recipe:
    return _one(name, CenterCrop(fraction=0.875, of="short-side"),
                Resize(mode="exact", side_px=224, filter="bicubic", antialias=False, cubic_a=-0.5), *after)


probe = _probe("probe", bilinear_crop(224), IMAGENET)
probe_dinov2 = _probe("probe_dinov2", bicubic_crop(224), IMAGENET)
probe_swav = _probe("probe_swav", bilinear_crop(224), SWAV_NORMALIZE)
probe_mae = _probe("probe_mae", bicubic_crop(224, law="clamp", attempts=1, fallback="none"), IMAGENET)
probe_rotnet = _one("probe_rotnet", short_side(256), RandomCrop(size_px=224), Flip(p=0.5), IMAGENET)
finetune = _one("finetune", bicubic_crop(224), Flip(p=0.5), Erase(p=0.25, value="noise"), IMAGENET)

evaluation = _one("eval", *center_of(256, 224), IMAGENET)
eval_bicubic = _one("eval_bicubic", Resize(mode="short-side", side_px=256, filter="bicubic", antialias=True, cubic_a=-0.5),
                    CenterCrop(size_px=224), IMAGENET)
eval_swav = _one("eval_swav", *center_of(256, 224), SWAV_NORMALIZE)
eval_simclr = _tf_eval("eval_simclr", UNIT)
eval_byol = _tf_eval("eval_byol", Clip(lo=0.0, hi=1.0), IMAGENET)

_ALL = "as the methods' repositories"
_OF = "0.875 of the short side, a square: the sources do not say of which side"

PRESETS = (
    Preset(probe, _ALL),
    Preset(probe_dinov2, "facebookresearch/dinov2 @ b8931f7"),
    Preset(probe_swav, "facebookresearch/swav @ 06b1b7c"),
    Preset(probe_mae, "facebookresearch/mae util/crop.py; also used by CAE and MILAN",
           "224 px, ratio 3/4 to 4/3, flip 0.5, Pillow's bicubic: the sources leave these open"),
    Preset(probe_rotnet, "gidariss/FeatureLearningRotNet @ edafaba; arXiv 1803.07728",
           "antialiased, flip 0.5 and ImageNet mean and std, where the sources are silent"),
    Preset(finetune, "facebookresearch/deit @ 7e160fe, as BEiT and MAE fine-tune",
           "without RandAugment and jitter, which the sources add; boxes are filled with noise of levels before normalisation"),
    Preset(evaluation, _ALL),
    Preset(eval_bicubic, _ALL + ": DINO, DINOv2, EsViT"),
    Preset(eval_swav, "facebookresearch/swav @ 06b1b7c"),
    Preset(eval_simclr, "google-research/simclr @ 383d414; arXiv 2002.05709", _OF + "; cubic_a -0.5, TensorFlow 2's resize"),
    Preset(eval_byol, "google-deepmind/deepmind-research @ f5de0ed, byol/", _OF),
)
