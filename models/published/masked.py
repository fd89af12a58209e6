"""Methods that fill in what a mask hides."""

from __future__ import annotations

from ..info import MethodInfo, Variant
from .masked_regression import MASKED_REGRESSION
from .online_tokens import ONLINE_TOKENS
from .taught import TAUGHT
from .tokens import TOKENS

MASKED: tuple[MethodInfo, ...] = (
    *TOKENS,
    MethodInfo(
        name="mae", module="mae", cls="MAE", recipe="mae", recipe_32px="mae_cifar",
        paper="He et al. 2021, Masked Autoencoders Are Scalable Vision Learners, arXiv:2111.06377",
        published={
            "epochs": 800, "batch_size": 4096, "recipe": "mae", "clip_grad": None,
            "optimizer": {"name": "adamw", "lr": 1.5e-4, "scaling": "linear", "weight_decay": 0.05, "betas": (0.9, 0.95),
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 40, "final_lr": 0.0},
        },
        fields_32px={"backbone": "vit_tiny_patch16_224", "patch_px": 4, "decoder_dim": 96, "decoder_depth": 2,
                     "decoder_heads": 3},
        variants={
            "1600ep": Variant("the longer run, of the paper's headline figures", numbers={"epochs": 1600}),
            "vitl16": Variant("ViT-L/16", {"backbone": "vit_large_patch16_224"}),
            "vith14": Variant("ViT-H/14", {"backbone": "vit_huge_patch14_224"}, {"recipe": "mae_h14"}),
        },
        # What it learns lies in patches, not in one direction of the features: a classifier finds it, neighbours do not.
        metric="linear",
        small=("model.embed_dim=128", "model.depth=4", "model.heads=4", "model.decoder_dim=64", "model.decoder_depth=1",
               "model.decoder_heads=4", "model.pooling=mean", "batch_size=64", "epochs=1", "optimizer.lr=1e-3",
               "optimizer.scaling=none"),
    ),
    MethodInfo(
        name="maskfeat", module="maskfeat", cls="MaskFeat", recipe="maskfeat", recipe_32px="maskfeat_cifar",
        paper="Wei et al. 2021, Masked Feature Prediction for Self-Supervised Visual Pre-Training, arXiv:2112.09133",
        published={
            "epochs": 300, "batch_size": 2048, "recipe": "maskfeat", "clip_grad": 0.02,
            "optimizer": {"name": "adamw", "lr": 2e-4, "scaling": "linear", "weight_decay": 0.05, "betas": (0.9, 0.999),
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 30, "first_lr": 1e-6, "final_lr": 1e-6},
        },
        fields={"positions": "absolute", "layer_scale": None, "drop_path": 0.0},
        fields_32px={"backbone": "vit_tiny_patch16_224", "patch_px": 4},
        variants={"1600ep": Variant("the run of the paper's headline figures", numbers={"epochs": 1600})},
        metric="linear",  # as MAE, for the same reason
        small=("model.embed_dim=96", "model.depth=2", "model.heads=3", "batch_size=64", "epochs=1", "optimizer.lr=2e-3",
               "optimizer.scaling=none", "clip_grad=1", "schedule.warmup_epochs=0.1"),
    ),
    *MASKED_REGRESSION,
    *TAUGHT,
    *ONLINE_TOKENS,
)
