"""Methods that group images, and tell the groups of their views."""

from __future__ import annotations

from ..info import MethodInfo

_PUBLISHED = {
    # The 100-epoch run on 64 GPUs of 64 images. For 256 images a step the authors have a rate of 0.6, ending at 0.0006, without
    # warm-up, and model.queue=3840. Their batch norm is over groups of 8 GPUs, ours over all; they hold the prototypes for 313
    # steps, one more than an epoch has.
    "epochs": 100, "batch_size": 4096, "recipe": "swav", "clip_grad": None,
    "optimizer": {"name": "larc", "lr": 0.3, "scaling": "linear", "weight_decay": 1e-6, "momentum": 0.9, "exclude": "none"},
    "schedule": {"warmup_epochs": 10, "first_lr": 0.3, "final_lr": 0.0048},
}

# Ours, as the recipe is. The first and the last rate above are those of 4096 images a step.
_PUBLISHED_32PX = {"batch_size": 256, "schedule": {"first_lr": 0.0, "final_lr": 0.0}}

CLUSTERING = (
    MethodInfo(
        name="swav", module="swav", cls="SwAV", recipe="swav", recipe_32px="swav_cifar",
        paper="Caron et al. 2020, Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, arXiv:2006.09882",
        published=_PUBLISHED,
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
        published_32px=_PUBLISHED_32PX,
        fields_32px={"backbone": "resnet18", "projector_hidden": 512, "prototypes": 512},
        # Classified linearly, as the paper does: on a part of the training images +8 points by a linear probe, +5 by neighbours,
        # since the first of so few epochs learns what an untrained network groups.
        metric="linear",
        small=("model.backbone=convnet4", "model.projector_hidden=256", "model.prototypes=128", "batch_size=256", "epochs=3",
               "optimizer.name=adamw", "optimizer.lr=2e-3", "optimizer.scaling=none", "optimizer.weight_decay=1e-4"),
    ),
)
