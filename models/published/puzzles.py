"""Methods that ask where the parts of a picture belong, and the transfer of what such a network knows to another."""

from __future__ import annotations

from typing import Any

from ..info import MethodInfo, Variant

# The release's rate falls by ten every 100,000 steps of 256 images, 20 epochs, and ends at 350,000. Its biases have twice the
# rate, which is not done here.
_CAFFE: dict[str, Any] = {
    "epochs": 70, "batch_size": 256, "clip_grad": None,
    "optimizer": {"name": "sgd", "lr": 0.01, "scaling": "none", "weight_decay": 5e-4, "momentum": 0.9, "exclude": "none"},
    "schedule": {"warmup_epochs": 0, "law": "steps", "steps_at": (20, 40, 60), "step_factor": 0.1},
}

PUZZLES = (
    MethodInfo(
        name="context", module="context_prediction", cls="ContextPrediction", recipe="context", recipe_32px="context_cifar",
        paper="Doersch, Gupta, Efros 2015, Unsupervised Visual Representation Learning by Context Prediction, arXiv:1505.05192",
        published={
            # At most 512 patches a step, which about 13 images have; 1.7 million steps. The rate is for the sum of some 2,000
            # pairs' losses, about 0.02 for their mean.
            "epochs": 17, "batch_size": 13, "recipe": "context", "clip_grad": None,
            "optimizer": {"name": "sgd", "lr": 1e-5, "scaling": "none", "weight_decay": 0.0, "momentum": 0.0, "exclude": "none"},
            "schedule": {"warmup_epochs": 0, "law": "steps", "steps_at": ()},
        },
        published_32px={"epochs": 200, "batch_size": 128, "optimizer": {"lr": 0.02, "momentum": 0.9}},  # it has none
        fields_32px={"backbone": "resnet18", "hidden_layers": 1, "reduction": "mean"},
        variants={
            "resnet50": Variant(
                "relative location as mmselfsup has it; its head decays five times as much, which is not done here",
                {"backbone": "resnet50", "hidden_layers": 1, "hidden_norm": "affine", "dropout": 0.5, "reduction": "mean"},
                {"epochs": 70, "batch_size": 512, "recipe": "context_resnet",
                 "optimizer": {"lr": 0.2, "weight_decay": 1e-4, "momentum": 0.9},
                 "schedule": {"steps_at": (30, 50), "step_factor": 0.1}}),
        },
        metric="linear",
        small=("model.backbone=convnet4", "model.hidden_dim=512", "batch_size=128", "epochs=3", "optimizer.name=adamw",
               "optimizer.lr=2e-3", "optimizer.weight_decay=1e-4", "schedule.law=cosine"),
    ),
    MethodInfo(
        name="jigsaw", module="jigsaw", cls="Jigsaw", recipe="jigsaw", recipe_32px="jigsaw_cifar",
        paper="Noroozi, Favaro 2016, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles, arXiv:1603.09246",
        published={"recipe": "jigsaw", **_CAFFE},
        published_32px={"epochs": 200, "schedule": {"steps_at": (60, 120, 170)}},  # it has none
        fields_32px={"backbone": "resnet18", "permutations": 100, "hidden_norm": "plain"},
        variants={
            "paper": Variant("as the paper is reported, unverified: 1000 orders, tiles standardized, gray, shifted values",
                             {"permutations": 1000}, {"recipe": "jigsaw_paper"}),
            "pytorch": Variant("a PyTorch port's views and 1000 orders", {"permutations": 1000}, {"recipe": "jigsaw_pytorch"}),
            "vissl": Variant(
                "VISSL's ResNet-50 and 2000 orders",
                {"backbone": "resnet50", "permutations": 2000, "tile_dim": 1000, "hidden_dim": None, "dropout": 0.0},
                {"epochs": 105, "recipe": "jigsaw_vissl", "optimizer": {"lr": 0.1, "scaling": "linear", "weight_decay": 1e-4},
                 "schedule": {"warmup_epochs": 5, "steps_at": (30, 60, 90, 100)}}),
        },
        metric="linear",
        small=("model.backbone=convnet4", "model.hidden_dim=512", "model.dropout=0", "batch_size=128", "epochs=3",
               "optimizer.name=adamw", "optimizer.lr=2e-3", "optimizer.weight_decay=1e-4", "schedule.law=cosine"),
    ),
    MethodInfo(
        name="jigsaw_plus", module="jigsaw_plus", cls="JigsawPlus", recipe="jigsaw++", recipe_32px="jigsaw_plus_cifar",
        paper="Noroozi et al. 2018, Boosting Self-Supervised Learning via Knowledge Transfer, arXiv:1805.00385",
        published={"recipe": "jigsaw++", **_CAFFE},  # the release has no other numbers
        published_32px={"epochs": 200, "schedule": {"steps_at": (60, 120, 170)}},  # it has none
        fields_32px={"backbone": "resnet18", "permutations": 100, "hidden_norm": "plain"},
        variants={"vgg16": Variant("the paper's larger network; its batch norm and its schedule are unverified",
                                   {"backbone": "vgg16_bn"})},
        metric="linear",
        # Colours standardized each by itself, as Jigsaw's: jointly, an untrained network tells classes by them.
        small=("model.backbone=convnet4", "model.hidden_dim=512", "model.dropout=0", "batch_size=128", "epochs=4",
               "optimizer.name=adamw", "optimizer.lr=2e-3", "optimizer.weight_decay=1e-4", "schedule.law=cosine",
               "recipe.patch.normalize.channels=separate", "recipe.patch.normalize.gain=1"),
    ),
    MethodInfo(
        name="pseudo_labels", module="pseudo_labels", cls="PseudoLabels", recipe="pseudo_labels",
        recipe_32px="pseudo_labels_cifar",
        paper="Noroozi et al. 2018, Boosting Self-Supervised Learning via Knowledge Transfer, arXiv:1805.00385, section 4",
        # No code was published, and the paper's numbers are unverified: those of AlexNet's supervised training.
        published={
            "epochs": 90, "batch_size": 256, "recipe": "pseudo_labels", "clip_grad": None,
            "optimizer": {"name": "sgd", "lr": 0.01, "scaling": "none", "weight_decay": 5e-4, "momentum": 0.9, "exclude": "none"},
            "schedule": {"warmup_epochs": 0, "law": "steps", "steps_at": (30, 60, 80), "step_factor": 0.1},
        },
        published_32px={"epochs": 200, "batch_size": 128, "optimizer": {"lr": 0.1},
                        "schedule": {"steps_at": (60, 120, 160), "step_factor": 0.2}},
        fields_32px={"backbone": "resnet18", "clusters": 100},
        metric="linear",
        small=("model.backbone=convnet4", "batch_size=128", "epochs=5", "optimizer.name=adamw", "optimizer.lr=2e-3",
               "optimizer.weight_decay=1e-4", "schedule.law=cosine"),
    ),
)
