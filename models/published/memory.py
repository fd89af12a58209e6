"""Methods that remember every image of the data set, and tell each from those."""

from __future__ import annotations

from ..info import MethodInfo

MEMORY: tuple[MethodInfo, ...] = (
    MethodInfo(
        name="instdisc", module="instdisc", cls="InstDisc", recipe="instdisc", recipe_32px="instdisc_cifar",
        paper="Wu et al. 2018, Unsupervised Feature Learning via Non-Parametric Instance Discrimination, arXiv:1805.01978",
        published={
            "epochs": 200, "batch_size": 256, "recipe": "instdisc", "clip_grad": None,
            "optimizer": {"name": "sgd", "lr": 0.03, "scaling": "none", "weight_decay": 1e-4, "momentum": 0.9, "exclude": "none"},
            "schedule": {"warmup_epochs": 0, "law": "steps", "steps_at": (120, 160), "step_factor": 0.1},
        },
        published_32px={"batch_size": 128, "optimizer": {"weight_decay": 5e-4}},
        fields_32px={"backbone": "resnet18", "negatives": 0, "temperature": 0.1},
        metric="knn",
        small=("model.backbone=convnet4", "batch_size=128", "epochs=4", "optimizer.name=adamw", "optimizer.lr=2e-3",
               "optimizer.weight_decay=1e-4", "schedule.law=cosine", "model.temperature=0.2"),
    ),
)
