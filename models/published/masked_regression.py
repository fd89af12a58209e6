"""Masked methods that regress what is hidden: its pixels, or what the network itself, some time ago, made of it."""

from __future__ import annotations

from typing import Any

from ..info import MethodInfo, Variant

_ADAMW: dict[str, Any] = {"name": "adamw", "weight_decay": 0.05, "betas": (0.9, 0.999), "exclude": "norm-and-bias"}

# As MAE's, whose small run they share the size of: a ViT of width 128 and 4 blocks on 8 x 8 patches.
_SMALL = ("model.embed_dim=96", "model.depth=2", "model.heads=3", "batch_size=64", "epochs=1", "optimizer.lr=2e-3",
          "optimizer.scaling=none", "schedule.warmup_epochs=0.1")


def _swin(size: str, window: int, numbers: dict[str, Any]) -> Variant:
    return Variant(f"Swin-{size[0].upper()}, windows of {window}, images of 192 px, {numbers.get('epochs', 800)} epochs",
                   {"backbone": f"swin_{size}_patch4_window7_224", "window": window, "layer_scale": None, "drop_path": 0.0},
                   {"recipe": "simmim_swin", **numbers})


_SIMMIM_100 = {"epochs": 100, "optimizer": {"lr": 1e-4},  # 2e-4 of 512 images
               "schedule": {"law": "cosine", "steps_at": (), "first_lr": 4e-6, "final_lr": 4e-5}}

# Epochs of the two smaller networks are unverified, and that all else is as H/14's.
_IJEPA_VARIANTS = {
    "vit_b16": Variant("ViT-B/16", {"backbone": "vit_base_patch16_224"}, {"epochs": 600, "recipe": "ijepa_p16"}),
    "vit_l16": Variant("ViT-L/16", {"backbone": "vit_large_patch16_224"}, {"epochs": 600, "recipe": "ijepa_p16"}),
    "vit_h16_448": Variant("ViT-H/16 on images of 448 px", {"backbone": "vit_huge_patch16_gap_448"}, {"recipe": "ijepa_448"}),
    "vit_h14_22k": Variant("ViT-H/14 on ImageNet-22k", numbers={"epochs": 66, "schedule": {"warmup_epochs": 3}}),
    "vit_g16_22k": Variant("ViT-g/16 on ImageNet-22k", {"backbone": "vit_giant_patch16_gap_224", "predictor_depth": 16},
                           {"epochs": 44, "recipe": "ijepa_p16", "schedule": {"warmup_epochs": 3}}),
}

MASKED_REGRESSION = (
    MethodInfo(
        name="simmim", module="simmim", cls="SimMIM", recipe="simmim_vit", recipe_32px="simmim_cifar",
        paper="Xie et al. 2021, SimMIM: A Simple Framework for Masked Image Modeling, arXiv:2111.09886",
        published={
            # The authors' rates are for 512 images and scaled to the batch, where a warm-up begins and a cosine ends too: of 16
            # GPUs with 128 images, as in their README, four times as much. Here those two are rates as they are.
            "epochs": 800, "batch_size": 2048, "recipe": "simmim_vit", "clip_grad": 5.0,
            "optimizer": {**_ADAMW, "lr": 5e-5, "scaling": "linear"},
            "schedule": {"warmup_epochs": 10, "first_lr": 2e-6, "law": "steps", "steps_at": (700,), "step_factor": 0.1},
        },
        fields_32px={"backbone": "vit_tiny_patch16_224", "patch_px": 4},
        variants={"swin_b_100ep": _swin("base", 6, _SIMMIM_100), "swin_b": _swin("base", 6, {}),
                  "swin_l": _swin("large", 12, {})},
        metric="linear",  # as MAE, for the same reason
        small=(*_SMALL, "model.drop_path=0", "schedule.law=cosine"),
    ),
    MethodInfo(
        name="data2vec", module="data2vec", cls="Data2Vec", recipe="data2vec", recipe_32px="data2vec_cifar",
        paper="Baevski et al. 2022, data2vec: A General Framework for Self-supervised Learning in Speech, Vision and Language, "
              "arXiv:2202.03555",
        published={
            "epochs": 800, "batch_size": 2048, "recipe": "data2vec", "clip_grad": 3.0,
            "optimizer": {**_ADAMW, "lr": 2e-3, "scaling": "none"},
            "schedule": {"warmup_epochs": 10, "final_lr": 1e-5},
        },
        fields_32px={"backbone": "vit_tiny_patch16_224", "patch_px": 4},
        # The published L/16 goes on from there for 800 more epochs, with a momentum of 0.9999 and a warm-up of 40.
        variants={"vit_l": Variant("ViT-L/16, the first 800 epochs", {
            "backbone": "vit_large_patch16_224", "layer_scale": 1e-5, "drop_path": 0.2, "attention_dropout": 0.15,
        }, {"batch_size": 4096, "optimizer": {"lr": 1e-3}, "schedule": {"warmup_epochs": 80}})},
        metric="linear",
        # A teacher that follows in some hundred steps, not in some thousand, of which there are none; and half of its blocks.
        small=(*_SMALL, "model.target_blocks=2", "model.layer_scale=0.1", "model.drop_path=0", "model.attention_dropout=0",
               "model.teacher_momentum=0.99"),
    ),
    MethodInfo(
        name="ijepa", module="ijepa", cls="IJEPA", recipe="ijepa", recipe_32px="ijepa_cifar",
        paper="Assran et al. 2023, Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture, "
              "arXiv:2301.08243",
        published={
            # As the code has it. In the paper schedules are those of runs a quarter longer, cut at their end.
            "epochs": 300, "batch_size": 2048, "recipe": "ijepa", "clip_grad": None,
            "optimizer": {**_ADAMW, "lr": 1e-3, "scaling": "none", "weight_decay": 0.04, "final_weight_decay": 0.4},
            "schedule": {"warmup_epochs": 40, "first_lr": 2e-4, "final_lr": 1e-6},
        },
        fields_32px={"backbone": "vit_tiny_patch16_224", "patch_px": 4, "predictor_dim": 96, "predictor_depth": 4},
        variants=_IJEPA_VARIANTS,
        metric="linear",
        # Louder pixels: beside positions, small pictures in patches of 4 px are hardly heard by first weights of deviation 0.02.
        small=(*_SMALL, "model.predictor_dim=48", "model.predictor_depth=2", "model.teacher_momentum=0.998",
               "optimizer.final_weight_decay=null", "recipe.global.normalize.std=[0.07,0.07,0.07]"),
    ),
)
