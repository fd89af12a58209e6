"""The numbers of published fine-tunings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Tuning:
    """All weights of the backbone and a new linear head, trained end to end. scaling "linear": the rate times batch_size / 256,
    "sqrt": times its root. A layer's rate is layer_decay times that of the layer above it; 1: all alike. final_lr is absolute.
    adapt_head: whether LARS adapts the new head's rate, and decays its weights. head_lr: base rate of the new head, where it has
    one of its own; lr is that of the uppermost layer below it then."""

    source: str
    lr: float
    optimizer: Literal["adamw", "sgd", "nesterov", "lars"] = "adamw"
    scaling: Literal["linear", "sqrt", "none"] = "linear"
    batch_size: int = 1024
    epochs: int = 100
    law: Literal["cosine", "steps"] = "cosine"
    per: Literal["step", "epoch"] = "step"
    warmup_epochs: float = 5
    final_lr: float = 1e-6
    steps_at: tuple[float, ...] = ()
    step_factor: float = 0.1
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    drop_path: float = 0.1
    mixup: float = 0.8
    cutmix: float = 1.0
    smoothing: float = 0.1
    init_std: float = 0.02
    pool: Literal["features", "mean"] = "features"
    clip_grad: float | None = None
    adapt_head: bool = True
    head_lr: float | None = None
    recipe: str = "finetune"


_MAE = Tuning("facebookresearch/mae main_finetune.py, ViT-B", lr=5e-4, layer_decay=0.65, init_std=2e-5, pool="mean")

TUNINGS: dict[str, Tuning] = {
    "small": Tuning("ours: a few epochs on small pictures", lr=1e-3, scaling="none", batch_size=128, epochs=10, warmup_epochs=1,
                    layer_decay=0.75, drop_path=0.0, mixup=0.0, cutmix=0.0, recipe="probe"),
    # 5e-4 * batch / 512.
    "deit": Tuning("facebookresearch/deit main.py, as MoCo v3 fine-tunes ViT-B", lr=2.5e-4, epochs=150, final_lr=1e-5),
    "beit": Tuning("microsoft/unilm beit run_class_finetuning.py, as iBOT has it", lr=4e-3, scaling="none", warmup_epochs=20,
                   layer_decay=0.65),
    "mae": _MAE,
    "mae_l": replace(_MAE, source="facebookresearch/mae FINETUNE.md, ViT-L", lr=1e-3, epochs=50, layer_decay=0.75, drop_path=0.2),
    "mae_h": replace(_MAE, source="facebookresearch/mae FINETUNE.md, ViT-H", lr=1e-3, epochs=50, layer_decay=0.75, drop_path=0.3),
    "milan": replace(_MAE, source="zejiangh/MILAN, ViT-B", lr=1e-4, init_std=0.02),
    # 1.25e-3 * batch / 512; Swin-B after 100 epochs has a layer decay of 0.9, after 800 one of 0.8.
    "simmim": Tuning("microsoft/SimMIM, ViT-B", lr=6.25e-4, batch_size=2048, warmup_epochs=20, layer_decay=0.65, pool="mean"),
    # 2e-3 * batch / 512; the batch is unverified.
    "maskfeat": Tuning("facebookresearch/SlowFast, ViT-B", lr=1e-3, warmup_epochs=20, layer_decay=0.65, pool="mean"),
    "cae": Tuning("Atten4Vis/CAE, ViT-B", lr=8e-3, scaling="none", batch_size=4096, layer_decay=0.65, pool="mean"),
    "cae_l": Tuning("Atten4Vis/CAE, ViT-L", lr=2e-3, scaling="none", batch_size=4096, epochs=50, layer_decay=0.75, drop_path=0.2,
                    pool="mean"),
    "data2vec": Tuning("facebookresearch/data2vec_vision, ViT-B", lr=4e-3, scaling="none", warmup_epochs=10, weight_decay=0.0,
                       layer_decay=0.65, drop_path=0.2, pool="mean"),
    "resnet": Tuning("facebookresearch/vissl, ResNet-50", lr=0.1, optimizer="nesterov", batch_size=256, epochs=105, law="steps",
                     per="epoch", warmup_epochs=0, final_lr=0.0, steps_at=(30, 60, 90, 100), weight_decay=0.0, drop_path=0.0,
                     mixup=0.0, cutmix=0.0, smoothing=0.0, init_std=0.01, recipe="probe"),
    # Of 1 % of the labels; of 10 % and more 30 epochs, unverified.
    "simclr_v2": Tuning("google-research/simclr, its command for 1 %", lr=0.005, optimizer="lars", scaling="sqrt", epochs=60,
                        warmup_epochs=0, final_lr=0.0, weight_decay=0.0, drop_path=0.0, mixup=0.0, cutmix=0.0, smoothing=0.0,
                        init_std=0.0, adapt_head=False, recipe="probe"),
}
