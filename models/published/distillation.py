"""Methods in which a student follows a teacher that is made of it."""

from __future__ import annotations

from ..info import MethodInfo

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
)
