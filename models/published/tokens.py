"""Methods that tell tokens, colours of a palette or codes of a tokenizer, and the tokenizer itself."""

from __future__ import annotations

from ..info import MethodInfo, Variant

TOKENS = (
    MethodInfo(
        name="igpt", module="igpt", cls="IGPT", recipe="igpt_ar_32", recipe_32px="igpt_ar_cifar",
        paper="Chen et al. 2020, Generative Pretraining from Pixels, ICML 2020",
        published={
            # A million steps of 128 images.
            "epochs": 100, "batch_size": 128, "recipe": "igpt_ar_32", "clip_grad": None,
            # One of the rates that the authors tried, 0.01 downwards by about 3; which one won is not published.
            "optimizer": {"name": "adam", "lr": 3e-3, "scaling": "none", "weight_decay": 0.0, "betas": (0.9, 0.95),
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 1, "final_lr": 0.0},
        },
        variants={
            "bert": Variant("iGPT-S with the masked objective", {"objective": "bert"}, {"recipe": "igpt_bert_32"}),
            "m": Variant("iGPT-M", {"embed_dim": 1024, "depth": 36, "heads": 8}),
            "l": Variant("iGPT-L", {"embed_dim": 1536, "depth": 48, "heads": 16}),
            "l_48": Variant("iGPT-L on pictures of 48 px", {"embed_dim": 1536, "depth": 48, "heads": 16},
                            {"recipe": "igpt_ar_48"}),
        },
        metric="linear",
        small=("model.colours=64", "model.embed_dim=96", "model.depth=2", "model.heads=3", "batch_size=64", "epochs=2",
               "optimizer.lr=3e-3", "schedule.warmup_epochs=0.1"),
    ),
    MethodInfo(
        name="dvae", module="dvae", cls="DVAE", recipe="beit_tokenizer_256", recipe_32px="beit_tokenizer_cifar",
        paper="Ramesh et al. 2021, Zero-Shot Text-to-Image Generation, arXiv:2102.12092",
        published={
            # 3 million steps of 512 pictures, as passes over ImageNet. The rate falls over all of them, the authors' over the
            # first 1.2 million; their moving mean of the weights is left out.
            "epochs": 1200, "batch_size": 512, "recipe": "beit_tokenizer_256", "clip_grad": None,
            "optimizer": {"name": "adamw", "lr": 1e-4, "scaling": "none", "weight_decay": 1e-4, "betas": (0.9, 0.999),
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 0, "final_lr": 1.25e-6},
        },
        fields_32px={"vocabulary": 512, "code_dim": 64, "width": 32, "halvings": 2, "temperature_share": 0.5, "law": "mse",
                     "kl_weight": 0.0},
        variants={
            # Its rate, times 0.98 every 100 steps, would be nothing after the first of these epochs; here it falls by a cosine.
            "dalle_pytorch": Variant(
                "the defaults of DALLE-pytorch, from which BEiT's code comes: squared error, no KL",
                {"law": "mse", "kl_weight": 0.0, "final_temperature": 0.5},
                {"epochs": 20, "batch_size": 8, "recipe": "beit_tokenizer_128",
                 "optimizer": {"name": "adam", "lr": 1e-3, "weight_decay": 0.0}, "schedule": {"final_lr": 0.0}}),
            "vq": Variant("a quantizer in the softmax's place", {"quantizer": "vq", "law": "mse"}),
        },
        metric="linear",
        small=("model.quantizer=vq", "model.restart=0.5", "batch_size=64", "epochs=1", "optimizer.lr=1e-3", "schedule.final_lr=0",
               "schedule.warmup_epochs=0.05"),
    ),
    MethodInfo(
        name="beit", module="beit", cls="BEiT", recipe="beit", recipe_32px="beit_cifar",
        paper="Bao et al. 2021, BEiT: BERT Pre-Training of Image Transformers, arXiv:2106.08254",
        published={
            "epochs": 800, "batch_size": 2048, "recipe": "beit", "clip_grad": 3.0,
            "optimizer": {"name": "adamw", "lr": 1.5e-3, "scaling": "none", "weight_decay": 0.05, "betas": (0.9, 0.999),
                          "exclude": "norm-and-bias"},
            "schedule": {"warmup_epochs": 10, "final_lr": 1e-5},
        },
        fields_32px={"backbone": "vit_tiny_patch16_224", "patch_px": 4, "vocabulary": 512, "tokenizer_halvings": 2,
                     "tokenizer_width": 32},
        variants={
            "large": Variant("ViT-L/16", {"backbone": "vit_large_patch16_224", "layer_scale": 1e-5}),
            # A warm-up of 10,000 steps, of 14.2 million images.
            "22k": Variant("on ImageNet-22k", numbers={"epochs": 150, "recipe": "beit_22k", "schedule": {"warmup_epochs": 1.44}}),
        },
        metric="linear",  # as MAE, for the same reason
        small=("model.tokenizer=dvae", "model.tokenizer_width=16", "model.vocabulary=256", "model.embed_dim=96", "model.depth=2",
               "model.heads=3", "model.drop_path=0", "batch_size=64", "epochs=1", "optimizer.lr=2e-3",
               "schedule.warmup_epochs=0.1"),
    ),
)
