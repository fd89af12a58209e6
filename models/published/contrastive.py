"""Methods that tell the views of one image from those of others."""

from __future__ import annotations

from ..info import MethodInfo

CONTRASTIVE = (
    MethodInfo(
        name="simclr", module="simclr", cls="SimCLR", recipe="simclr", recipe_32px="simclr_cifar",
        paper="Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations, arXiv:2002.05709",
        published={
            "epochs": 100, "batch_size": 4096, "recipe": "simclr", "clip_grad": None,
            # 0.075 * sqrt(4096) = 0.3 * 4096 / 256 = 4.8; in smaller batches the paper's root rule learns better.
            "optimizer": {"name": "lars", "lr": 0.075, "scaling": "sqrt", "weight_decay": 1e-6, "momentum": 0.9,
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 10, "final_lr": 0.0},
        },
        fields_32px={"backbone": "resnet18", "temperature": 0.5},
        metric="knn",
        small=("model.backbone=convnet4", "batch_size=256", "epochs=2", "optimizer.name=adamw", "optimizer.lr=2e-3",
               "optimizer.scaling=none", "optimizer.weight_decay=1e-4", "model.temperature=0.2"),
    ),
)
