"""Methods that make the coordinates of embeddings agree between views, and tell different things."""

from __future__ import annotations

from ..info import MethodInfo, Variant

# As a public re-implementation for CIFAR has it (vturrisi/solo-learn, scripts/pretrain/cifar), where there is nothing official.
_CIFAR = {"backbone": "resnet18", "projector_hidden": 2048, "projector_dim": 2048}

_SMALL = ("model.backbone=convnet4", "model.projector_hidden=512", "model.projector_dim=512", "batch_size=256", "epochs=3",
          "optimizer.name=adamw", "optimizer.lr=2e-3", "optimizer.scaling=none", "optimizer.weight_decay=1e-4")

REDUNDANCY = (
    MethodInfo(
        name="barlow_twins", module="barlow_twins", cls="BarlowTwins", recipe="barlow", recipe_32px="barlow_cifar",
        paper="Zbontar et al. 2021, Barlow Twins: Self-Supervised Learning via Redundancy Reduction, arXiv:2103.03230",
        published={
            # 1.6 for weights and 0.0384 for the rest at 2048, and a thousandth of both at last. Rate and decay belong to a
            # gradient that is 1 / W of ours on the authors' W devices (models/barlow_twins.py), see the variant. The paper's
            # weight decay is reported as 1.5e-6, unverified.
            "epochs": 1000, "batch_size": 2048, "recipe": "barlow", "clip_grad": None,
            "optimizer": {"name": "lars", "lr": 0.2, "spared_lr": 0.0048, "scaling": "linear", "weight_decay": 1e-6,
                          "momentum": 0.9, "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 10, "final_share": 1e-3},
        },
        # The step of what LARS does not adapt is 0.0048 times a sixteenth of the gradient; where it adapts, the decay weighs
        # sixteen times as much beside the gradient. W = 16 is the README's, unverified.
        variants={"as_16_devices": Variant("with the exact gradient, the steps that the authors' code takes on 16 devices",
                                           numbers={"optimizer": {"spared_lr": 3e-4, "weight_decay": 1.6e-5}})},
        fields_32px=_CIFAR, metric="knn", small=(*_SMALL, "optimizer.spared_lr=null", "schedule.final_lr=0"),
    ),
    MethodInfo(
        name="vicreg", module="vicreg", cls="VICReg", recipe="vicreg", recipe_32px="vicreg_cifar",
        paper="Bardes, Ponce, LeCun 2021, VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning, "
              "arXiv:2105.04906",
        published={
            "epochs": 1000, "batch_size": 2048, "recipe": "vicreg", "clip_grad": None,
            "optimizer": {"name": "lars", "lr": 0.2, "scaling": "linear", "weight_decay": 1e-6, "momentum": 0.9,
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 10, "final_share": 1e-3},
        },
        fields_32px=_CIFAR, metric="knn", small=(*_SMALL, "schedule.final_lr=0"),
        variants={
            "single_node": Variant("the README's run on 8 GPUs", numbers={
                "epochs": 100, "batch_size": 512, "optimizer": {"lr": 0.3}}),
            # Of the wider networks the repository gives the results alone (75.5 and 77.3 of a linear probe on ImageNet): that
            # their runs had the main one's numbers is unverified. The authors' first convolution is wider too, ours is not.
            "resnet50x2": Variant("a ResNet-50 with twice the channels", {"width": 2.0}),
            "resnet200x2": Variant("a ResNet-200 with twice the channels", {"backbone": "resnet200", "width": 2.0}),
            # Reported, unverified; the authors prefer the code's pair.
            "symmetric": Variant("one recipe for both views, as the text is reported", numbers={"recipe": "vicreg_paper"}),
        },
    ),
)
