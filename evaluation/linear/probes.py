"""Linear probes as they were published, as data; and one of ours, for features that are extracted once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...augment.op import nearest

Rates = tuple[float, ...]


@dataclass(frozen=True)
class Probe:
    """Heads on frozen features: one on each of `kinds` (see `kinds`) for each base rate of lr. The backbone is in evaluation
    mode throughout. scaling "linear": times batch_size / 256. Exactly one of epochs and steps is given. The schedule is
    `Course`'s. exclude "none": the bias decays and is adapted as the weights are. norm: batch norm without affine in front.
    """

    source: str
    lr: Rates
    optimizer: Literal["sgd", "nesterov", "lars", "adamw"] = "sgd"
    scaling: Literal["linear", "none"] = "none"
    batch_size: int = 256
    epochs: int | None = 100
    steps: int | None = None
    law: Literal["cosine", "steps"] = "cosine"
    per: Literal["step", "epoch"] = "epoch"
    warmup_epochs: float = 0
    steps_at: tuple[float, ...] = ()
    step_factor: float = 0.1
    weight_decay: float = 0.0
    momentum: float = 0.9
    exclude: Literal["norm-and-bias", "none"] = "none"
    init_std: float = 0.01
    norm: bool = False
    norm_eps: float = 1e-5
    kinds: tuple[str, ...] = ("features",)
    recipe: str = "probe"
    cached: bool = False


_SWAV = "facebookresearch/swav eval_linear.py"
_DINOV2_RATES = (*(float(f"{m}e{e}") for e in (-5, -4, -3, -2) for m in (1, 2, 5)), 0.1)
_IBOT_RATES = tuple(float(f"{m}e{e}") for e in (-4, -3, -2, -1, 0) for m in range(1, 10))

PROBES: dict[str, Probe] = {
    "sweep": Probe("ours: standardised features, rates of two and a half decades", lr=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
                   epochs=30, per="step", norm=True, cached=True),
    "moco": Probe("facebookresearch/moco main_lincls.py, of MoCo v1 and v2", lr=(30.0,), law="steps", steps_at=(60, 80)),
    # LARC without clipping is LARS that adapts and decays all there is, biases too.
    "simsiam": Probe("facebookresearch/simsiam main_lincls.py with --lars", lr=(0.1,), optimizer="lars", scaling="linear",
                     batch_size=4096, epochs=90),
    "swav": Probe(_SWAV, lr=(0.3,), weight_decay=1e-6, recipe="probe_swav"),
    "deepcluster_v2": Probe(_SWAV, lr=(0.3,), weight_decay=1e-6, recipe="probe_swav"),
    "barlow": Probe("facebookresearch/barlowtwins evaluate.py", lr=(0.3,), weight_decay=1e-6),
    "vicreg": Probe("facebookresearch/vicreg evaluate.py, its README's rate", lr=(0.02,), weight_decay=1e-6),
    "simclr": Probe("google-research/simclr, its README's command", lr=(0.1,), optimizer="nesterov", scaling="linear",
                    batch_size=4096, epochs=90, per="step", weight_decay=1e-6, init_std=0.0),
    # The first weights are open here: the authors' library draws them by its own default.
    "byol": Probe("google-deepmind/deepmind-research byol/eval_experiment.py", lr=(0.2,), optimizer="nesterov", scaling="linear",
                  batch_size=4096, epochs=80, per="step"),
    "moco_v3": Probe("facebookresearch/moco-v3 main_lincls.py, vision transformers", lr=(3.0,), scaling="linear",
                     batch_size=1024, epochs=90),
    "moco_v3_resnet": Probe("facebookresearch/moco-v3 main_lincls.py, ResNet-50", lr=(0.1,), scaling="linear", batch_size=1024,
                            epochs=90),
    "dino": Probe("facebookresearch/dino eval_linear.py, ViT-S", lr=(1e-3,), scaling="linear", batch_size=1024,
                  kinds=("cls4",)),
    "dino_base": Probe("facebookresearch/dino eval_linear.py, ViT-B", lr=(1e-3,), scaling="linear", batch_size=1024,
                       kinds=("cls1+mean",)),
    "dinov2": Probe("facebookresearch/dinov2 eval/linear.py", lr=_DINOV2_RATES, scaling="linear", batch_size=1024, epochs=None,
                    steps=12_500, per="step", kinds=("cls1", "cls1+mean", "cls4", "cls4+mean"), recipe="probe_dinov2"),
    "ibot": Probe("bytedance/ibot eval_linear.py, ViT-S", lr=_IBOT_RATES, scaling="linear", batch_size=1024, kinds=("cls4",)),
    "ibot_base": Probe("bytedance/ibot eval_linear.py, ViT-B and L", lr=_IBOT_RATES, scaling="linear", batch_size=1024,
                       kinds=("cls1+mean",)),
    "vissl": Probe("facebookresearch/vissl, of PIRL and NPID", lr=(0.01,), optimizer="nesterov", scaling="linear", epochs=28,
                   law="steps", steps_at=(8, 16, 24), weight_decay=5e-4, norm=True),
    "rotnet": Probe("gidariss/FeatureLearningRotNet config/ImageNet_LinearClassifiers, of conv1 .. conv5", lr=(0.01,),
                    optimizer="nesterov", batch_size=192, epochs=35, law="steps", steps_at=(5, 15, 25), step_factor=0.2,
                    weight_decay=5e-4, norm=True, recipe="probe_rotnet"),
    "decoupling": Probe("Feng et al. 2019, of conv1 .. conv5", lr=(0.01,), optimizer="nesterov", batch_size=192, epochs=65,
                        law="steps", steps_at=(5, 25, 45), step_factor=0.2, weight_decay=5e-4, norm=True, recipe="probe_rotnet"),
    "mae": Probe("facebookresearch/mae main_linprobe.py", lr=(0.1,), optimizer="lars", scaling="linear", batch_size=16_384,
                 epochs=90, per="step", warmup_epochs=10, exclude="norm-and-bias", norm=True, norm_eps=1e-6, recipe="probe_mae"),
    "milan": Probe("zejiangh/MILAN, ViT-B", lr=(0.05,), optimizer="lars", scaling="linear", batch_size=16_384,
                   epochs=100, per="step", warmup_epochs=10, exclude="norm-and-bias", norm=True, norm_eps=1e-6,
                   recipe="probe_mae"),
}


def probe(name: str) -> Probe:
    """Raises ValueError for an unknown protocol, naming the nearest."""
    if name not in PROBES:
        raise ValueError(f"unknown protocol {name!r}; {nearest(name, list(PROBES))}")
    return PROBES[name]
