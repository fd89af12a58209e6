"""Methods that compare views with keys of an encoder that slowly follows."""

from __future__ import annotations

from typing import Any

from ..info import MethodInfo, Variant

_SGD = {"name": "sgd", "lr": 0.03, "scaling": "linear", "weight_decay": 1e-4, "momentum": 0.9, "exclude": "none"}

# As the authors' demo for CIFAR-10 (facebookresearch/moco, colab/moco_cifar10_demo.ipynb), eight devices in one.
_CIFAR: dict[str, Any] = {"backbone": "resnet18", "bn_splits": 8, "queue": 4096, "momentum": 0.99, "temperature": 0.1}
_CIFAR_RUN: dict[str, Any] = {"epochs": 200, "batch_size": 512, "optimizer": {"weight_decay": 5e-4},
                              "schedule": {"law": "cosine", "per": "epoch"}}

# A short queue and a low rate: keys of some steps ago are no measure of an encoder that has moved on since. It then tells new
# keys from old ones instead of images (its own key's cosine rises, its accuracy falls).
_SMALL = ("model.backbone=convnet4", "model.queue=1024", "model.bn_splits=4", "model.temperature=0.2", "batch_size=128",
          "epochs=4", "optimizer.name=adamw", "optimizer.lr=7e-4", "optimizer.scaling=none", "optimizer.weight_decay=1e-4",
          "schedule.per=step")


def _r50(epochs: int, lr: float, weight_decay: float, momentum: float = 0.99) -> Variant:
    return Variant(f"a ResNet-50 of {epochs} epochs", {"backbone": "resnet50", "patch_px": None, "momentum": momentum}, {
        "epochs": epochs, "recipe": "moco_v3_r50", "schedule": {"warmup_epochs": 10},
        "optimizer": {"name": "lars", "lr": lr, "weight_decay": weight_decay, "exclude": "norm-and-bias"}})


MOMENTUM = (
    MethodInfo(
        name="moco", module="moco", cls="MoCo", recipe="moco", recipe_32px="moco_cifar",
        paper="He et al. 2019, Momentum Contrast for Unsupervised Visual Representation Learning, arXiv:1911.05722",
        published={
            # Batch norm over each device's own images, which is why keys are shuffled among devices.
            "epochs": 200, "batch_size": 256, "recipe": "moco", "clip_grad": None, "sync_bn": False, "optimizer": _SGD,
            "schedule": {"warmup_epochs": 0, "law": "steps", "steps_at": (120, 160), "step_factor": 0.1},
        },
        fields_32px=_CIFAR, published_32px=_CIFAR_RUN, metric="knn", small=_SMALL,
    ),
    MethodInfo(
        name="moco_v2", module="moco", cls="MoCo", recipe="moco_v2", recipe_32px="moco_cifar",
        paper="Chen et al. 2020, Improved Baselines with Momentum Contrastive Learning, arXiv:2003.04297",
        fields={"projector_layers": 2, "temperature": 0.2},
        published={
            "epochs": 200, "batch_size": 256, "recipe": "moco_v2", "clip_grad": None, "sync_bn": False, "optimizer": _SGD,
            "schedule": {"warmup_epochs": 0, "law": "cosine", "per": "epoch", "final_lr": 0.0},
        },
        fields_32px=_CIFAR, published_32px=_CIFAR_RUN, metric="knn", small=_SMALL,
    ),
    # The ViT-S of 300 epochs.
    MethodInfo(
        name="moco_v3", module="moco_v3", cls="MoCoV3", recipe="moco_v3_vit", recipe_32px="moco_v3_cifar",
        paper="Chen, Xie, He 2021, An Empirical Study of Training Self-Supervised Vision Transformers, arXiv:2104.02057",
        published={
            "epochs": 300, "batch_size": 4096, "recipe": "moco_v3_vit", "clip_grad": None,
            "optimizer": {"name": "adamw", "lr": 1.5e-4, "scaling": "linear", "weight_decay": 0.1, "betas": (0.9, 0.999),
                          "exclude": "none"},
            "schedule": {"warmup_epochs": 40, "final_lr": 0.0},
        },
        variants={"vit_b": Variant("ViT-B/16", {"backbone": "vit_base_patch16_224"}), "r50_100ep": _r50(100, 0.6, 1e-6),
                  "r50_300ep": _r50(300, 0.3, 1e-6), "r50_1000ep": _r50(1000, 0.3, 1.5e-6, 0.996)},
        fields_32px={"backbone": "vit_tiny_patch16_224", "patch_px": 4, "projector_hidden": 1024},
        metric="knn",
        small=("model.backbone=convnet4", "model.patch_px=null", "model.projector_hidden=512", "model.projector_dim=128",
               "model.temperature=0.2", "batch_size=128", "epochs=3", "optimizer.lr=2e-3", "optimizer.scaling=none",
               "optimizer.weight_decay=1e-4"),
    ),
)
