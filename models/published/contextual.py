"""Methods that guess what was done to an image: its turn, the order or place of its parts, its colours."""

from __future__ import annotations

from ..info import MethodInfo
from .colours import COLOURS
from .grouping import GROUPING
from .inpainting import INPAINTING
from .puzzles import PUZZLES

CONTEXTUAL = (
    MethodInfo(
        name="rotnet", module="rotnet", cls="RotNet", recipe="rotnet", recipe_32px="rotnet_cifar",
        paper="Gidaris et al. 2018, Unsupervised Representation Learning by Predicting Image Rotations, arXiv:1803.07728",
        published={
            "epochs": 50, "batch_size": 192, "recipe": "rotnet", "clip_grad": None,
            # The rates of the code's table, which overrides the rate 0.1 that its configuration names.
            "optimizer": {"name": "nesterov", "lr": 0.01, "scaling": "none", "weight_decay": 5e-4, "momentum": 0.9,
                          "exclude": "none"},
            "schedule": {"warmup_epochs": 0, "law": "steps", "steps_at": (15, 30, 45), "step_factor": 0.1},
        },
        published_32px={"epochs": 200, "batch_size": 128, "optimizer": {"lr": 0.1},
                        "schedule": {"steps_at": (60, 120, 160), "step_factor": 0.2}},
        fields_32px={"backbone": "resnet18"},  # where the paper has a network in network of four blocks
        # The best features of a deep network are in its middle, which only a classifier on each layer finds. On 32 px, though,
        # the first map of an untrained network pools to nearly the picture itself: what is judged is the whole network's.
        metric="linear",
        small=("model.backbone=convnet4", "batch_size=128", "epochs=2", "optimizer.name=adamw", "optimizer.lr=2e-3",
               "optimizer.weight_decay=1e-4", "schedule.law=cosine"),
    ),
    *PUZZLES,
    *COLOURS,
    *INPAINTING,
    *GROUPING,
)
