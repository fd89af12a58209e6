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
        # A low rate: an image's own row is an epoch old, and a network that moves fast learns to tell it from the fresh rows of
        # others by fleeing those, instead of learning the image.
        small=("model.backbone=convnet4", "batch_size=128", "epochs=5", "optimizer.name=adamw", "optimizer.lr=3e-4",
               "optimizer.weight_decay=1e-4", "schedule.law=cosine", "model.dim=64", "model.negatives=512",
               "model.law=softmax"),
    ),
    MethodInfo(
        name="pirl", module="pirl", cls="PIRL", recipe="pirl", recipe_32px="pirl_cifar",
        paper="Misra, van der Maaten 2019, Self-Supervised Learning of Pretext-Invariant Representations, arXiv:1912.01991",
        published={
            "epochs": 800, "batch_size": 1024, "recipe": "pirl", "clip_grad": None,
            "optimizer": {"name": "sgd", "lr": 0.03, "scaling": "linear", "weight_decay": 1e-4, "momentum": 0.9,
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 0, "final_lr": 1.2e-4, "per": "epoch"},
        },
        published_32px={"batch_size": 256, "schedule": {"final_lr": 3e-5}},
        fields_32px={"backbone": "resnet18", "negatives": 0, "temperature": 0.1},
        metric="knn",
        # What a network of minutes learns first from a memory is which rows are of this epoch: it moves all embeddings off those.
        # A batch norm above the heads ends that, a low rate and rows without their random start help.
        small=("model.backbone=convnet4", "batch_size=128", "epochs=3", "optimizer.name=adamw", "optimizer.lr=5e-4",
               "optimizer.scaling=none", "model.dim=64", "model.negatives=256", "model.law=softmax", "model.temperature=0.2",
               "model.bank_momentum=0", "model.head_norm=true"),
    ),
    MethodInfo(
        name="cmc", module="cmc", cls="CMC", recipe="cmc_resnet", recipe_32px="cmc_cifar",
        paper="Tian, Krishnan, Isola 2019, Contrastive Multiview Coding, arXiv:1906.05849",
        published={
            "epochs": 240, "batch_size": 128, "recipe": "cmc_resnet", "clip_grad": None,
            "optimizer": {"name": "sgd", "lr": 0.03, "scaling": "none", "weight_decay": 1e-4, "momentum": 0.9, "exclude": "none"},
            "schedule": {"warmup_epochs": 0, "law": "steps", "steps_at": (120, 160, 200), "step_factor": 0.1},
        },
        # InstDisc's own on CIFAR-10; CMC has none.
        fields_32px={"backbone": "resnet18", "negatives": 0, "temperature": 0.1},
        metric="knn",
        # Without the norm above the heads, lightness and colours flee each other's new rows, and nothing else is learnt.
        small=("model.backbone=convnet4", "batch_size=128", "epochs=5", "optimizer.name=adamw", "optimizer.lr=5e-4",
               "schedule.law=cosine", "model.dim=64", "model.negatives=256", "model.law=softmax", "model.temperature=0.2",
               "model.bank_momentum=0", "model.head_norm=true"),
    ),
    MethodInfo(
        name="decoupling", module="decoupling", cls="Decoupling", recipe="decoupling", recipe_32px="decoupling_cifar",
        paper="Feng, Xu, Tao 2019, Self-Supervised Representation Learning by Rotation Feature Decoupling, CVPR 2019, "
              "pp. 10364-10374",
        published={
            # The rates of the code's table, which overrides the rate 0.1 that its configuration names.
            "epochs": 245, "batch_size": 192, "recipe": "decoupling", "clip_grad": None,
            "optimizer": {"name": "nesterov", "lr": 0.01, "scaling": "none", "weight_decay": 5e-4, "momentum": 0.9,
                          "exclude": "none"},
            "schedule": {"warmup_epochs": 0, "law": "steps", "steps_at": (90, 130, 190, 210, 230),
                         "step_factors": (0.1, 0.1, 0.1, 10.0, 0.1)},
        },
        published_32px={"batch_size": 128},
        fields_32px={"backbone": "resnet18", "half_dim": 256, "negatives": 0, "temperature": 0.1},
        metric="linear",
        # The estimate begins some six times as large as the cross-entropy of the turns, and would have the features to itself.
        small=("model.backbone=convnet4", "model.half_dim=128", "batch_size=128", "epochs=2", "optimizer.name=adamw",
               "optimizer.lr=2e-3", "optimizer.weight_decay=1e-4", "schedule.law=cosine", "model.dim=64", "model.negatives=256",
               "model.temperature=0.2", "model.instance_weight=0.1", "model.head_norm=true"),
    ),
)
