"""Methods in which a student follows a teacher that is made of it."""

from __future__ import annotations

from typing import Any

from ..info import MethodInfo, Variant

# What the authors add to a run of more than 100 epochs; learnt gains for ViT-S alone.
_WARM: dict[str, Any] = {"teacher_temperature": 0.07, "teacher_temperature_epochs": 30}
_WARM_S = {**_WARM, "trainable_gain": True}

# As the README advises for patches of 8 px; and as published with VISSL for B/16 too (dino_32gpus_deit_b16.yaml).
_FULL: dict[str, Any] = {"precision": "fp32"}

# Epochs, batch, clipping, prototypes' epochs and warm-up as in VISSL; views and rates are from a third party's copy of the
# authors' arguments, unverified, and so is that B/8 has the same.
_VIT_B: dict[str, Any] = {
    "epochs": 400, "batch_size": 1024, "recipe": "dino_800ep", "clip_grad": 0.3, **_FULL,
    "optimizer": {"lr": 7.5e-4}, "schedule": {"final_lr": 2e-6},
}
_VIT_B_FIELDS: dict[str, Any] = {**_WARM, "teacher_temperature_epochs": 50, "frozen_epochs": 3}

_DINO_VARIANTS = {
    "vits16_300ep": Variant("the authors' boosted ViT-S/16, on 16 GPUs of 64 images", _WARM_S,
                            {"epochs": 300, "batch_size": 1024}),
    # Batch unverified.
    "vits16_800ep": Variant("the published ViT-S/16", _WARM_S,
                            {"epochs": 800, "batch_size": 1024, "recipe": "dino_800ep", "schedule": {"final_lr": 1e-5}}),
    # 64 GPUs of 16 images, by the first author. Epochs and views as the longest S/16's, unverified; VISSL's has 300 and 6 local
    # views.
    "vits8": Variant("the published ViT-S/8", {**_WARM_S, "backbone": "vit_small_patch8_224"},
                     {"epochs": 800, "batch_size": 1024, "recipe": "dino_800ep", "schedule": {"final_lr": 1e-5}, **_FULL}),
    "vitb16": Variant("the published ViT-B/16", {**_VIT_B_FIELDS, "backbone": "vit_base_patch16_224"}, _VIT_B),
    "vitb8": Variant("the published ViT-B/8", {**_VIT_B_FIELDS, "backbone": "vit_base_patch8_224"}, _VIT_B),
    "resnet50_100ep": Variant("the README's ResNet-50, on 8 GPUs", {"backbone": "resnet50", "patch_px": None}, {
        "recipe": "dino_r50",
        "optimizer": {"name": "sgd", "lr": 0.03, "weight_decay": 1e-4, "final_weight_decay": None},
    }),
    # On 80 GPUs of 51 images, by the first author; all the rest, the head's batch norm and the views too (recipe=dino_r50 has
    # smaller local ones), is from third parties' copies of the authors' arguments, unverified.
    "resnet50": Variant("the published ResNet-50", {**_WARM, "backbone": "resnet50", "patch_px": None, "head_norm": True,
                                                    "prototypes": 60000}, {
        "epochs": 800, "batch_size": 4080, "recipe": "dino_800ep", "clip_grad": None,
        "optimizer": {"name": "lars", "lr": 0.3, "weight_decay": 1e-4, "final_weight_decay": None},
        "schedule": {"final_lr": 0.0048},
    }),
}

# All of 512 images; larger networks and windows as the configurations in microsoft/esvit, experiments/imagenet/swin, have them.
# Where the authors' runs had the loss of regions is by their folders' names, and so is that one of them held the gains.
_ESVIT_VARIANTS = {
    f"swin_{size}" + ("_w14" if window else ""): Variant(
        f"Swin-{size[0].upper()}, windows of {window or 7}"
        + ("" if (size, window) == ("small", None) else "; the authors had regions in the last 100 or 120 epochs alone"),
        {"backbone": f"swin_{size}_patch4_window7_224", **({"window": window} if window else {}),
         "drop_path": 0.1 if size == "tiny" else 0.2,
         **({"trainable_gain": False} if (size, window) == ("base", 14) else {})})
    for size, window in (("small", None), ("base", None), ("tiny", 14), ("small", 14), ("base", 14))
}
# Its further numbers are not known here.
_ESVIT_VARIANTS["resnet50"] = Variant("ResNet-50", {
    "backbone": "resnet50", "patch_px": None, "window": None, "embed_dim": None})

DISTILLATION = (
    MethodInfo(
        name="dino", module="dino", cls="DINO", recipe="dino", recipe_32px="dino_2x32",
        paper="Caron et al. 2021, Emerging Properties in Self-Supervised Vision Transformers, arXiv:2104.14294",
        published={
            # The authors' plain ViT-S/16 run, on 8 GPUs of 64 images; their longer ones warm the teacher's temperature up.
            "epochs": 100, "batch_size": 512, "recipe": "dino", "clip_grad": 3.0, "clip_mode": "per-tensor",
            "optimizer": {"name": "adamw", "lr": 5e-4, "scaling": "linear", "weight_decay": 0.04, "final_weight_decay": 0.4,
                          "betas": (0.9, 0.999), "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 10, "final_lr": 1e-6},
        },
        fields_32px={"backbone": "vit_tiny_patch16_224", "patch_px": 4, "prototypes": 4096},
        variants=_DINO_VARIANTS,
        # Classified linearly, since most of what a small network learns so in a minute neighbours do not find: on a part of the
        # training images +7 points by a linear probe, +4 by neighbours.
        metric="linear",
        # Sharp at first: a teacher that knows nothing yet must at least be decided. It follows faster than the published one,
        # which in so few steps stays far behind; one of 0.9 falls behind the untrained network.
        small=("model.backbone=convnet4", "model.patch_px=null", "model.prototypes=1024", "model.head_hidden=512",
               "model.head_bottleneck=128", "model.head_norm=true", "model.frozen_epochs=0", "model.teacher_momentum=0.99",
               "model.first_teacher_temperature=0.02", "model.teacher_temperature_epochs=1", "batch_size=128", "epochs=2",
               "optimizer.lr=2e-3", "optimizer.scaling=none", "optimizer.weight_decay=1e-4", "optimizer.final_weight_decay=null",
               "schedule.warmup_epochs=0.1"),
    ),
    MethodInfo(
        name="esvit", module="esvit", cls="EsViT", recipe="esvit", recipe_32px="esvit_cifar",
        paper="Li et al. 2022, Efficient Self-supervised Vision Transformers for Representation Learning, arXiv:2106.09785",
        published={
            "epochs": 300, "batch_size": 512, "recipe": "esvit", "clip_grad": 3.0, "clip_mode": "per-tensor",
            "optimizer": {"name": "adamw", "lr": 5e-4, "scaling": "linear", "weight_decay": 0.04, "final_weight_decay": 0.4,
                          "betas": (0.9, 0.999), "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 10, "final_lr": 1e-6},
        },
        # A Swin of half the width, whose four stages are of 16 to 2 patches a side.
        fields_32px={"patch_px": 2, "window": 4, "embed_dim": 48, "prototypes": 4096},
        variants=_ESVIT_VARIANTS,
        metric="linear",  # as DINO, for the same reason
        small=("model.backbone=convnet4", "model.patch_px=null", "model.window=null", "model.embed_dim=null",
               "model.prototypes=512", "model.head_hidden=256", "model.head_bottleneck=128", "model.head_norm=true",
               "model.trainable_gain=false", "model.frozen_epochs=0", "model.teacher_momentum=0.99",
               "model.teacher_temperature=0.03", "model.teacher_temperature_epochs=0",
               "batch_size=64", "epochs=1", "optimizer.lr=2e-3", "optimizer.scaling=none", "optimizer.weight_decay=1e-4",
               "optimizer.final_weight_decay=null", "schedule.warmup_epochs=0.1"),
    ),
)
