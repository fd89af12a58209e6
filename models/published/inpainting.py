"""Methods that paint what is missing, to learn from it or to hide it from a classifier."""

from __future__ import annotations

from ..info import MethodInfo, Variant

WHOLE = {"predict": "image", "overlap_px": 0}

INPAINTING = (
    MethodInfo(
        name="context_encoder", module="context_encoder", cls="ContextEncoder", recipe="context_encoder_center",
        recipe_32px="context_encoder_cifar",
        paper="Pathak et al. 2016, Context Encoders: Feature Learning by Inpainting, arXiv:1604.07379",
        published={
            "epochs": 500, "batch_size": 64, "recipe": "context_encoder_center", "clip_grad": None,
            # Ten times the discriminator's rate, as the code has it where squared errors count.
            "optimizer": {"name": "adam", "lr": 2e-3, "scaling": "none", "weight_decay": 0.0, "betas": (0.5, 0.999),
                          "exclude": "none"},
            "schedule": {"warmup_epochs": 0, "law": "steps", "steps_at": ()},
        },
        # The authors' random form but for its discriminator: a code without places, squared errors over the whole view.
        fields_32px={"backbone": "resnet18", "decode": "features", **WHOLE, "context_weight": 1.0},
        metric="linear",
        small=("model.backbone=convnet4", "model.width=32", "batch_size=64", "epochs=3", "optimizer.name=adamw",
               "optimizer.lr=2e-3", "optimizer.weight_decay=1e-4", "optimizer.betas=[0.9,0.999]", "schedule.law=cosine"),
        variants={
            "random": Variant("holes of random form, the whole view painted", {**WHOLE, "context_weight": 1.0},
                              {"recipe": "context_encoder_random"}),
            "random_64": Variant("as random, at 64 px, whose results the authors call better", {**WHOLE, "context_weight": 1.0},
                                 {"recipe": "context_encoder_random_64"}),
            "random_overlap": Variant("as random, what is visible counting ten times", {**WHOLE, "context_weight": 10.0},
                                      {"recipe": "context_encoder_random"}),
            # Of that run only weights are released: rates and length are those of the others, unverified.
            "features": Variant("AlexNet's features, by squared errors in the holes alone", {"backbone": "alexnet", **WHOLE},
                                {"recipe": "context_encoder_alexnet"}),
        },
    ),
    MethodInfo(
        name="lci", module="lci", cls="LCI", recipe="lci_stl10", recipe_32px="lci_cifar",
        paper="Jenni, Jin, Favaro 2020, Steering Self-Supervised Feature Learning Beyond Local Pixel Statistics, "
              "arXiv:2004.02331",
        published={
            # On STL-10; the settings for ImageNet are not released.
            "epochs": 200, "batch_size": 64, "recipe": "lci_stl10", "clip_grad": None,
            # The code's decay of 1e-4 is no multiple of the rate; both fall together, so as one it is 1e-4 / 3e-4. There the
            # inpainter and its discriminator have rates that stay, a second beta of 0.999 and no decay.
            "optimizer": {"name": "adamw", "lr": 3e-4, "scaling": "none", "weight_decay": 1 / 3, "betas": (0.5, 0.99),
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 0, "final_lr": 3e-7},
        },
        fields={"inpainter_layers": 4},
        fields_32px={"backbone": "resnet18", "inpainter_layers": 3},
        metric="linear",
        small=("model.backbone=convnet4", "model.inpainter_width=8", "model.judge_width=8", "model.inpainter_rate=0.3",
               "model.judge_rate=1", "batch_size=128", "epochs=1",
               "optimizer.lr=2e-3", "optimizer.weight_decay=1e-4", "optimizer.betas=[0.9,0.99]"),
        variants={
            "imagenet": Variant("for larger images: the code's default network; its run is not released",
                                {"inpainter_layers": 5}, {"recipe": "lci"}),
        },
    ),
)
