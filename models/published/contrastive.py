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
    # The paper's larger networks: of those with selective kernels timm has skresnet18, 34, 50 and 50d (with ResNet-D's stem and
    # shortcuts), none of 152 layers or three times as wide. Its optional memory of embeddings is not here: that is MoCo.
    MethodInfo(
        name="simclr_v2", module="simclr", cls="SimCLR", recipe="simclr_v2", recipe_32px="simclr_v2_cifar",
        paper="Chen et al. 2020, Big Self-Supervised Models are Strong Semi-Supervised Learners, arXiv:2006.10029",
        fields={"projector_layers": 3},
        published={
            # Of these numbers the authors' code has none: epochs, rate (6.4 at 4096), decay and a warm-up of a twentieth are as
            # the paper is reported, unverified.
            "epochs": 800, "batch_size": 4096, "recipe": "simclr_v2", "clip_grad": None,
            "optimizer": {"name": "lars", "lr": 0.1, "scaling": "sqrt", "weight_decay": 1e-4, "momentum": 0.9,
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 40, "final_lr": 0.0},
        },
        fields_32px={"backbone": "resnet18", "temperature": 0.5},
        # The code's command for CIFAR-10.
        published_32px={"epochs": 1000, "batch_size": 512, "optimizer": {"lr": 1.0, "scaling": "linear"},
                        "schedule": {"warmup_epochs": 10}},
        metric="knn",
        small=("model.backbone=convnet4", "batch_size=256", "epochs=2", "optimizer.name=adamw", "optimizer.lr=2e-3",
               "optimizer.scaling=none", "optimizer.weight_decay=1e-4", "model.temperature=0.2"),
    ),
    MethodInfo(
        name="nnclr", module="nnclr", cls="NNCLR", recipe="nnclr", recipe_32px="nnclr_cifar",
        paper="Dwibedi et al. 2021, With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual "
              "Representations, arXiv:2104.14548",
        published={
            # There is no official code: these numbers, the queue's length and the temperature are as reported, unverified.
            "epochs": 1000, "batch_size": 4096, "recipe": "nnclr", "clip_grad": None,
            "optimizer": {"name": "lars", "lr": 0.3, "scaling": "linear", "weight_decay": 1e-6, "momentum": 0.9,
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 10, "final_lr": 0.0},
        },
        # Queue and temperature of the public re-implementations on small images.
        fields_32px={"backbone": "resnet18", "queue": 65536, "temperature": 0.2},
        metric="knn",
        # A queue that has left its random beginning behind after a tenth of the first epoch.
        small=("model.backbone=convnet4", "model.queue=4096", "model.temperature=0.1", "model.projector_hidden=512",
               "model.predictor_hidden=1024", "batch_size=256", "epochs=3", "optimizer.name=adamw", "optimizer.lr=2e-3",
               "optimizer.scaling=none", "optimizer.weight_decay=1e-4"),
    ),
)
