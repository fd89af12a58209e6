"""Masked methods whose targets are named by a teacher that is made of the student."""

from __future__ import annotations

from typing import Any

from ..info import MethodInfo, Variant

# As third parties report the authors' arguments of ViT-B: all but the epochs, which are the paper's for L too, unverified, and
# so are the batch, and that L has the rest of B's.
_LARGER: dict[str, Any] = {"batch_size": 1024, "recipe": "ibot_vit_bl", "clip_grad": 0.3, "optimizer": {"lr": 7.5e-4},
                           "schedule": {"final_lr": 2e-6}}
_LARGER_FIELDS: dict[str, Any] = {"trainable_gain": False, "frozen_epochs": 3}

# 500 times 1250 steps of 3072 images are 135 epochs of ImageNet-22k's 14.2 million, on which this configuration trains; 80 times
# 1250 are 21.6 of them, 30 times are 8, and once, for which prototypes are held, a quarter, here rounded up.
_LONG: dict[str, Any] = {
    "epochs": 135, "batch_size": 3072, "recipe": "dinov2_p14",
    "optimizer": {"lr": 6.25e-6, "final_weight_decay": 0.2}, "schedule": {"warmup_epochs": 21.6},
}
_LONG_FIELDS: dict[str, Any] = {
    "patch_px": 14, "drop_path": 0.4, "prototypes": 131072, "head_bottleneck": 384, "separate_heads": True,
    "patch_prototypes": 131072, "sinkhorn": True, "teacher_momentum": 0.994, "teacher_temperature_epochs": 8, "frozen_epochs": 1,
    "layer_decay": 1.0,
}

# For runs of a minute: a teacher that is decided from the first step, and follows fast; many steps of a small network.
_QUICK = ("model.embed_dim=64", "model.depth=2", "model.heads=2", "model.drop_path=0", "model.frozen_epochs=0",
          "model.teacher_momentum=0.99", "model.teacher_temperature=0.04", "model.teacher_temperature_epochs=0",
          "epochs=1", "optimizer.lr=2e-3", "optimizer.scaling=none", "optimizer.final_weight_decay=null",
          "schedule.warmup_epochs=0.1")

ONLINE_TOKENS = (
    MethodInfo(
        name="ibot", module="ibot", cls="IBOT", recipe="ibot", recipe_32px="ibot_2x32",
        paper="Zhou et al. 2021, iBOT: Image BERT Pre-Training with Online Tokenizer, arXiv:2111.07832",
        published={
            # ViT-S/16, on 16 GPUs of 64 images.
            "epochs": 800, "batch_size": 1024, "recipe": "ibot", "clip_grad": 3.0, "clip_mode": "per-tensor",
            "optimizer": {"name": "adamw", "lr": 5e-4, "scaling": "linear", "weight_decay": 0.04, "final_weight_decay": 0.4,
                          "betas": (0.9, 0.999), "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 10, "final_lr": 1e-6},
        },
        fields_32px={"backbone": "vit_tiny_patch16_224", "patch_px": 4, "prototypes": 4096},
        variants={
            "vitb16": Variant("ViT-B/16", {**_LARGER_FIELDS, "backbone": "vit_base_patch16_224"}, {**_LARGER, "epochs": 400}),
            "vitl16": Variant("ViT-L/16", {**_LARGER_FIELDS, "backbone": "vit_large_patch16_224"}, {**_LARGER, "epochs": 250}),
        },
        metric="linear",  # as DINO, for the same reason
        small=(*_QUICK, "model.prototypes=512", "model.head_hidden=256", "model.head_bottleneck=128", "batch_size=64"),
    ),
    MethodInfo(
        name="dinov2", module="dinov2", cls="DINOv2", recipe="dinov2_p16", recipe_32px="dinov2_2x32",
        paper="Oquab et al. 2023, DINOv2: Learning Robust Visual Features without Supervision, arXiv:2304.07193",
        published={
            # ViT-L/16 on ImageNet-1k, on 32 GPUs of 64 images: 100 times 1250 steps are 200 epochs of 625, 10 times are 20. The
            # peak is 4e-3 at 1024 images and grows with the root of their number: 4e-3 / sqrt(1024).
            "epochs": 200, "batch_size": 2048, "recipe": "dinov2_p16", "clip_grad": 3.0, "clip_mode": "per-part",
            "optimizer": {"name": "adamw", "lr": 1.25e-4, "scaling": "sqrt", "weight_decay": 0.04, "final_weight_decay": 0.4,
                          "betas": (0.9, 0.999), "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 20, "final_lr": 1e-6},
        },
        fields_32px={"backbone": "vit_tiny_patch16_224", "patch_px": 4, "drop_path": 0.1, "prototypes": 4096},
        variants={
            # On 96 GPUs of 32 images.
            "vitl14": Variant("the longer ViT-L/14, with an MLP where the authors' has SwiGLU", _LONG_FIELDS, _LONG),
            # The batch is unverified: 12 images on each of a number of GPUs.
            "vitg14": Variant("the longer ViT-g/14", {**_LONG_FIELDS, "backbone": "vit_giant_patch14_dinov2"}, _LONG),
        },
        metric="linear",
        small=(*_QUICK, "model.prototypes=256", "model.head_hidden=128", "model.head_bottleneck=64", "model.layer_decay=1",
               "model.patch_embed_rate=1", "batch_size=32"),
    ),
)
