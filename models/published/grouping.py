"""Methods of the same comparisons that guess nothing that was done to an image: what it counts, which group it is in."""

from __future__ import annotations

from ..info import MethodInfo, Variant

GROUPING = (
    MethodInfo(
        name="counting", module="counting", cls="Counting", recipe="counting", recipe_32px="counting_cifar",
        paper="Noroozi, Pirsiavash, Favaro 2017, Representation Learning by Learning to Count, arXiv:1708.06734",
        # The authors published no code. These are the numbers of ahmdtaha/tf_learning_to_count, which comes to the paper's
        # accuracies layer by layer: Adam at 1e-4 and no decay. The paper's own, as reported, are 200,000 steps; unverified.
        published={
            "epochs": 250, "batch_size": 256, "recipe": "counting", "clip_grad": None,
            "optimizer": {"name": "adam", "lr": 1e-4, "scaling": "none", "weight_decay": 0.0},
            "schedule": {"warmup_epochs": 0, "law": "steps"},
        },
        variants={"port": Variant("with a margin for each count, as in clvrai's port", {"hinge": "element"})},
        fields_32px={"backbone": "resnet18"},
        metric="linear",
        # The first steps push all counts down, and where they reach 0 nothing moves them: hence the warm-up.
        small=("model.backbone=convnet4", "model.hidden=512", "batch_size=64", "epochs=4", "optimizer.lr=1e-3",
               "schedule.law=cosine", "schedule.warmup_epochs=0.2"),
    ),
    MethodInfo(
        name="deepcluster", module="deepcluster", cls="DeepCluster", recipe="deepcluster", recipe_32px="deepcluster_cifar",
        paper="Caron et al. 2018, Deep Clustering for Unsupervised Learning of Visual Features, arXiv:1807.05520",
        # The code's AlexNet is 96-256-384-384-256 with dropout above, ours RotNet's, with batch norm.
        published={
            "epochs": 200, "batch_size": 256, "recipe": "deepcluster", "clip_grad": None,
            "optimizer": {"name": "sgd", "lr": 0.05, "scaling": "none", "weight_decay": 1e-5, "momentum": 0.9, "exclude": "none"},
            "schedule": {"warmup_epochs": 0, "law": "steps"},  # which never fall
        },
        variants={"500ep": Variant("of 500 epochs, as the paper is reported to train", numbers={"epochs": 500})},
        fields_32px={"backbone": "resnet18", "clusters": 1000},
        metric="linear",
        small=("model.backbone=convnet4", "model.clusters=128", "model.pca=64", "model.head_lr=0.5", "batch_size=128", "epochs=3",
               "optimizer.name=adamw", "optimizer.lr=2e-3", "optimizer.weight_decay=1e-4", "schedule.law=cosine"),
    ),
)
