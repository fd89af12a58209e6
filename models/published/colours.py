"""Methods that guess a picture's colours from its lightness, among other things."""

from __future__ import annotations

from typing import Any

from ..info import MethodInfo, Variant

# 450,000 steps of 80 images; the rate falls after 240,000, 300,000 and 400,000.
_COLORIZATION: dict[str, Any] = {
    "epochs": 28, "batch_size": 80, "recipe": "colorization", "clip_grad": None,
    "optimizer": {"name": "adam", "lr": 3e-5, "scaling": "none", "weight_decay": 1e-3, "exclude": "none"},
    "schedule": {"warmup_epochs": 0, "law": "steps", "steps_at": (15, 18.75, 25), "step_factors": (1 / 3, 0.3, 1 / 3)},
}

COLOURS: tuple[MethodInfo, ...] = (
    MethodInfo(
        name="colorization", module="colorization", cls="Colorization", recipe="colorization", recipe_32px="colorization_cifar",
        paper="Zhang, Isola, Efros 2016, Colorful Image Colorization, arXiv:1603.08511",
        published=_COLORIZATION,
        fields_32px={"backbone": "resnet18", "doublings": 1},  # the paper has no run on 32 px
        metric="linear",
        small=("model.backbone=convnet4", "model.doublings=2", "model.decoder_dim=64", "batch_size=128", "epochs=3",
               "optimizer.name=adamw", "optimizer.lr=2e-3", "optimizer.weight_decay=1e-4", "schedule.law=cosine"),
        variants={
            "v2": Variant(
                "the code's later run, its numbers on a ResNet-50 for a network like VGG that ends in a transposed convolution",
                {"backbone": "resnet50", "doublings": 1},
                # 500,000 steps of 40 images; the rate falls after each 225,000.
                {"epochs": 16, "batch_size": 40, "recipe": "colorization_v2", "optimizer": {"betas": (0.9, 0.99)},
                 "schedule": {"steps_at": (7, 14), "step_factors": (0.1, 0.1)}}),
            "paper": Variant("targets and frequencies as the paper has them, unverified, where its code differs",
                             {"neighbours": 5, "prior_sigma": 5.0}),
        },
    ),
    MethodInfo(
        name="split_brain", module="split_brain", cls="SplitBrain", recipe="splitbrain", recipe_32px="splitbrain_cifar",
        paper="Zhang, Isola, Efros 2017, Split-Brain Autoencoders: Unsupervised Learning by Cross-Channel Prediction, "
              "arXiv:1611.09842",
        published={**_COLORIZATION, "recipe": "splitbrain"},  # the code that trained it was never released: unverified
        fields_32px={"backbone": "resnet18", "doublings": 1, "grid": 8},
        metric="linear",
        small=("model.backbone=convnet4", "model.doublings=2", "model.decoder_dim=64", "batch_size=128", "epochs=3",
               "optimizer.name=adamw", "optimizer.lr=2e-3", "optimizer.weight_decay=1e-4", "schedule.law=cosine"),
        variants={"regression": Variant("numbers in the place of classes, by squared errors", {"form": "regression"})},
    ),
    MethodInfo(
        name="damaged_jigsaw", module="damaged_jigsaw", cls="DamagedJigsaw", recipe="damaged_jigsaw_lab",
        recipe_32px="damaged_jigsaw_cifar",
        paper="Kim et al. 2018, Learning Image Representations by Completing Damaged Jigsaw Puzzles, arXiv:1802.01880",
        # No code was found, and the paper's numbers are not known: Jigsaw's: 350,000 steps, the rate falls after each 100,000.
        published={
            "epochs": 70, "batch_size": 256, "recipe": "damaged_jigsaw_lab", "clip_grad": None,
            "optimizer": {"name": "sgd", "lr": 0.01, "scaling": "none", "weight_decay": 5e-4, "momentum": 0.9, "exclude": "none"},
            "schedule": {"warmup_epochs": 0, "law": "steps", "steps_at": (20, 40, 60), "step_factor": 0.1},
        },
        fields_32px={"backbone": "resnet18", "permutations": 100, "hidden_dim": 1024, "colour_stride": 4},
        metric="linear",
        small=("model.backbone=convnet4", "model.hidden_dim=256", "model.dropout=0", "model.adversarial_weight=0",
               "model.decoder_dim=32", "batch_size=128", "epochs=1", "optimizer.name=adamw", "optimizer.lr=2e-3",
               "optimizer.weight_decay=1e-4", "schedule.law=cosine"),
    ),
)
