"""Methods that tell of hidden patches what a frozen teacher says of them, or what the encoder itself does."""

from __future__ import annotations

from ..info import MethodInfo, Variant

TAUGHT = (
    MethodInfo(
        name="cae", module="cae", cls="CAE", recipe="cae", recipe_32px="cae_cifar",
        paper="Chen et al. 2022, Context Autoencoder for Self-Supervised Representation Learning, arXiv:2202.03026",
        published={
            "epochs": 1600, "batch_size": 2048, "recipe": "cae", "clip_grad": 3.0,
            # The flag's help says 0.98 of the second beta; its default, none, leaves 0.999.
            "optimizer": {"name": "adamw", "lr": 1.5e-3, "scaling": "none", "weight_decay": 0.05, "betas": (0.9, 0.999),
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 40, "final_lr": 1e-5},
        },
        fields_32px={"backbone": "vit_tiny_patch16_224", "patch_px": 4, "vocabulary": 512, "tokenizer_halvings": 2,
                     "tokenizer_width": 32, "regressor_depth": 2, "decoder_dim": 192, "decoder_depth": 2, "decoder_heads": 3},
        variants={
            "300ep": Variant("the paper's short run", numbers={"epochs": 300, "schedule": {"warmup_epochs": 10}}),
            "800ep": Variant("the paper's middle run", numbers={"epochs": 800, "schedule": {"warmup_epochs": 20}}),
            # Its script names a decoder of 1024, behind a line that ends too early: the program never saw it.
            "large": Variant("ViT-L/16, as its script really runs", {"backbone": "vit_large_patch16_224", "layer_scale": 1e-5,
                                                                    "decoder_layer_scale": 1e-5}),
        },
        metric="linear",  # as MAE, for the same reason
        small=("model.tokenizer=dvae", "model.tokenizer_width=16", "model.vocabulary=256", "model.embed_dim=96", "model.depth=2",
               "model.heads=3", "model.drop_path=0", "model.regressor_depth=1", "model.decoder_dim=96", "model.decoder_depth=1",
               "model.decoder_heads=3", "model.pooling=mean", "batch_size=64", "epochs=1", "optimizer.lr=2e-3",
               "schedule.warmup_epochs=0.1"),
    ),
    MethodInfo(
        name="milan", module="milan", cls="MILAN", recipe="milan", recipe_32px="milan_cifar",
        paper="Hou et al. 2022, MILAN: Masked Image Pretraining on Language Assisted Representation, arXiv:2208.06049",
        published={
            "epochs": 400, "batch_size": 4096, "recipe": "milan", "clip_grad": None,
            "optimizer": {"name": "adamw", "lr": 1.5e-4, "scaling": "linear", "weight_decay": 0.05, "betas": (0.9, 0.95),
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 40, "final_lr": 0.0},
        },
        fields={"target_dim": 512},
        fields_32px={"backbone": "vit_tiny_patch16_224", "patch_px": 4, "decoder_dim": 96, "decoder_depth": 2, "decoder_heads": 3,
                     "teacher": "own", "target_dim": None},
        variants={"large": Variant("ViT-L/16", {"backbone": "vit_large_patch16_224"})},
        metric="linear",
        small=("model.embed_dim=96", "model.depth=2", "model.heads=3", "model.decoder_dim=64", "model.decoder_depth=1",
               "model.decoder_heads=4", "model.pooling=mean", "batch_size=64", "epochs=2", "optimizer.lr=2e-3",
               "optimizer.scaling=none", "schedule.warmup_epochs=0.1"),
    ),
    MethodInfo(
        name="eva", module="eva", cls="EVA", recipe="eva", recipe_32px="eva_cifar",
        paper="Fang et al. 2022, EVA: Exploring the Limits of Masked Visual Representation Learning at Scale, arXiv:2211.07636",
        published={
            # Of 30 million images.
            "epochs": 150, "batch_size": 4096, "recipe": "eva", "clip_grad": 3.0,
            "optimizer": {"name": "adamw", "lr": 1e-3, "scaling": "none", "weight_decay": 0.05, "betas": (0.9, 0.98),
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 2, "final_lr": 1e-5},  # no flag names the last rate: the default of BEiT's code
        },
        fields={"backbone": "vit_giant_patch14_224", "positions": "absolute", "layer_scale": None, "target_dim": 768},
        fields_32px={"backbone": "vit_tiny_patch16_224", "patch_px": 4, "teacher": "own", "target_dim": None, "first_std": 0.02},
        metric="linear",
        small=("model.embed_dim=96", "model.depth=2", "model.heads=3", "model.drop_path=0", "batch_size=64", "epochs=1",
               "optimizer.lr=2e-3", "schedule.warmup_epochs=0.1"),
    ),
)
