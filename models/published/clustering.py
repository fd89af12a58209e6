"""Methods that group images, and tell the groups of their views."""

from __future__ import annotations

from ..info import MethodInfo, Variant

_PUBLISHED = {
    # The 100-epoch run on 64 GPUs of 64 images. Their batch norm is over groups of 8 GPUs, ours over all; they hold the
    # prototypes for 313 steps, one more than an epoch has.
    "epochs": 100, "batch_size": 4096, "recipe": "swav", "clip_grad": None,
    "optimizer": {"name": "larc", "lr": 0.3, "scaling": "linear", "weight_decay": 1e-6, "momentum": 0.9, "exclude": "none"},
    "schedule": {"warmup_epochs": 10, "first_lr": 0.3, "final_lr": 0.0048},
}

# Ours, as the recipe is. The first and the last rate above are those of 4096 images a step.
_PUBLISHED_32PX = {"batch_size": 256, "schedule": {"first_lr": 0.0, "final_lr": 0.0}}

_VARIANTS = {
    "800ep": Variant("of 800 epochs", numbers={"epochs": 800}),
    "2x224": Variant("of two views of 224 px alone", numbers={"recipe": "swav_2x224"}),
    "batch256": Variant("of 256 images a step, 400 epochs", {"queue": 3840},
                        {"epochs": 400, "batch_size": 256, "optimizer": {"lr": 0.6},
                         "schedule": {"warmup_epochs": 0, "first_lr": 0.0, "final_lr": 0.0006}}),
}

CLUSTERING = (
    MethodInfo(
        name="swav", module="swav", cls="SwAV", recipe="swav", recipe_32px="swav_cifar",
        paper="Caron et al. 2020, Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, arXiv:2006.09882",
        published=_PUBLISHED,
        variants=_VARIANTS,
        published_32px=_PUBLISHED_32PX,
        fields_32px={"backbone": "resnet18", "projector_hidden": 512, "prototypes": 512},
        metric="knn",
        # With the published epsilon of 0.05 assignments stay soft (entropy 0.8 of ln K, for 0.4), and neighbours 4 points behind.
        small=("model.backbone=convnet4", "model.projector_hidden=256", "model.prototypes=256", "model.epsilon=0.03",
               "model.frozen_epochs=0", "batch_size=256", "epochs=3", "optimizer.name=adamw", "optimizer.lr=2e-3",
               "optimizer.scaling=none", "optimizer.weight_decay=1e-4"),
    ),
    MethodInfo(
        name="deepcluster_v2", module="deepcluster_v2", cls="DeepClusterV2", recipe="deepcluster_v2", recipe_32px="swav_cifar",
        paper="Caron et al. 2020, Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, arXiv:2006.09882",
        published={**_PUBLISHED, "epochs": 800, "recipe": "deepcluster_v2", "precision": "fp32"},
        variants={"400ep": Variant("of 400 epochs, with smaller and fewer views",
                                   numbers={"epochs": 400, "recipe": "deepcluster_v2_400ep"})},
        published_32px=_PUBLISHED_32PX,
        fields_32px={"backbone": "resnet18", "projector_hidden": 512, "prototypes": 512},
        # Classified linearly, as the paper does: on a part of the training images +8 points by a linear probe, +5 by neighbours,
        # since the first of so few epochs learns what an untrained network groups.
        metric="linear",
        small=("model.backbone=convnet4", "model.projector_hidden=256", "model.prototypes=128", "batch_size=256", "epochs=3",
               "optimizer.name=adamw", "optimizer.lr=2e-3", "optimizer.scaling=none", "optimizer.weight_decay=1e-4"),
    ),
)
