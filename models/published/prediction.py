"""Methods in which one view's embedding predicts the other's, without negatives."""

from __future__ import annotations

from ..info import MethodInfo, Variant


def _byol(epochs: int, lr: float, teacher_momentum: float) -> Variant:
    return Variant(f"of {epochs} epochs", fields={"teacher_momentum": teacher_momentum},
                   numbers={"epochs": epochs, "optimizer": {"lr": lr, "weight_decay": 1e-6}})


PREDICTION = (
    MethodInfo(
        name="byol", module="byol", cls="BYOL", recipe="byol", recipe_32px="byol_cifar",
        paper="Grill et al. 2020, Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning, arXiv:2006.07733",
        published={
            "epochs": 1000, "batch_size": 4096, "recipe": "byol", "clip_grad": None,
            "optimizer": {"name": "lars", "lr": 0.2, "scaling": "linear", "weight_decay": 1.5e-6, "momentum": 0.9,
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 10, "final_lr": 0.0},
        },
        variants={"40ep": _byol(40, 0.45, 0.97), "100ep": _byol(100, 0.45, 0.99), "300ep": _byol(300, 0.3, 0.99)},
        fields_32px={"backbone": "resnet18", "projector_hidden": 1024},
        # Classified linearly, as in the paper: on a part of the training images +7 points by a linear probe, +4.5 by neighbours.
        metric="linear",
        # A target that follows faster than the published one, which in so few steps stays where it began.
        small=("model.backbone=convnet4", "model.projector_hidden=512", "model.projector_dim=128", "model.teacher_momentum=0.99",
               "batch_size=128", "epochs=3", "optimizer.name=adamw", "optimizer.lr=2e-3", "optimizer.scaling=none",
               "optimizer.weight_decay=1e-4"),
    ),
    MethodInfo(
        name="simsiam", module="simsiam", cls="SimSiam", recipe="simsiam", recipe_32px="simsiam_cifar",
        paper="Chen, He 2020, Exploring Simple Siamese Representation Learning, arXiv:2011.10566",
        published={
            "epochs": 100, "batch_size": 512, "recipe": "simsiam", "clip_grad": None,
            "optimizer": {"name": "sgd", "lr": 0.05, "scaling": "linear", "weight_decay": 1e-4, "momentum": 0.9,
                          "exclude": "none"},
            "schedule": {"warmup_epochs": 0, "law": "cosine", "per": "epoch", "final_lr": 0.0},
        },
        variants={"batch256": Variant("of 256 images a step", numbers={"batch_size": 256}),
                  # As the paper is reported, unverified.
                  "800ep": Variant("of 800 epochs, 256 images a step", numbers={"epochs": 800, "batch_size": 256})},
        # The paper's experiment on CIFAR-10, as it is reported, unverified.
        fields_32px={"backbone": "resnet18", "projector_layers": 2},
        published_32px={"epochs": 800, "optimizer": {"lr": 0.03, "weight_decay": 5e-4}},
        # Classified linearly, as in the paper: on a part of the training images +9 points by a linear probe, +6 by neighbours.
        metric="linear",
        small=("model.backbone=convnet4", "model.projector_hidden=512", "model.projector_dim=512", "model.predictor_hidden=128",
               "batch_size=128", "epochs=3", "optimizer.name=adamw", "optimizer.lr=2e-3", "optimizer.scaling=none",
               "optimizer.weight_decay=1e-4", "schedule.per=step"),
    ),
)
