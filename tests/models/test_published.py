"""Published runs, number by number, worked out by hand from the papers' codes: rates are those that the warm-up reaches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from viewmill.models import METHODS, build
from viewmill.models.training.schedule import peak_rate
from viewmill.train import read

SPARED = "norm-and-bias"

# words: optimizer, what is excluded, epochs, batch, peak, last rate, decay, last decay, warm-up, clipping, recipe
RUNS: dict[str, tuple[Any, ...]] = {
    # 0.2 and 0.3 times 4096 / 256
    "byol": ("lars", SPARED, 1000, 4096, 3.2, 0, 1.5e-6, None, 10, None, "byol"),
    "byol variant=300ep": ("lars", SPARED, 300, 4096, 4.8, 0, 1e-6, None, 10, None, "byol"),
    "simsiam": ("sgd", "none", 100, 512, 0.1, 0, 1e-4, None, 0, None, "simsiam"),
    # 0.2 times 2048 / 256, and a thousandth
    "barlow_twins": ("lars", SPARED, 1000, 2048, 1.6, 1.6e-3, 1e-6, None, 10, None, "barlow"),
    "barlow_twins variant=as_16_devices": ("lars", SPARED, 1000, 2048, 1.6, 1.6e-3, 1.6e-5, None, 10, None, "barlow"),
    "vicreg": ("lars", SPARED, 1000, 2048, 1.6, 1.6e-3, 1e-6, None, 10, None, "vicreg"),
    "vicreg variant=single_node": ("lars", SPARED, 100, 512, 0.6, 6e-4, 1e-6, None, 10, None, "vicreg"),
    "vicreg variant=symmetric": ("lars", SPARED, 1000, 2048, 1.6, 1.6e-3, 1e-6, None, 10, None, "vicreg_paper"),
    # 5e-4 times 512 / 256, or 1024 / 256
    "dino": ("adamw", SPARED, 100, 512, 1e-3, 1e-6, 0.04, 0.4, 10, 3.0, "dino"),
    "dino variant=vits16_300ep": ("adamw", SPARED, 300, 1024, 2e-3, 1e-6, 0.04, 0.4, 10, 3.0, "dino"),
    "dino variant=vits16_800ep": ("adamw", SPARED, 800, 1024, 2e-3, 1e-5, 0.04, 0.4, 10, 3.0, "dino_800ep"),
    "dino variant=vits8": ("adamw", SPARED, 800, 1024, 2e-3, 1e-5, 0.04, 0.4, 10, 3.0, "dino_800ep"),
    "dino variant=vitb16": ("adamw", SPARED, 400, 1024, 3e-3, 2e-6, 0.04, 0.4, 10, 0.3, "dino_800ep"),
    "dino variant=vitb8": ("adamw", SPARED, 400, 1024, 3e-3, 2e-6, 0.04, 0.4, 10, 0.3, "dino_800ep"),
    "dino variant=resnet50_100ep": ("sgd", SPARED, 100, 512, 0.06, 1e-6, 1e-4, None, 10, 3.0, "dino_r50"),
    "dino variant=resnet50": ("lars", SPARED, 800, 4080, 4.78125, 0.0048, 1e-4, None, 10, None, "dino_800ep"),
    "esvit": ("adamw", SPARED, 300, 512, 1e-3, 1e-6, 0.04, 0.4, 10, 3.0, "esvit"),
    "esvit variant=swin_base_w14": ("adamw", SPARED, 300, 512, 1e-3, 1e-6, 0.04, 0.4, 10, 3.0, "esvit"),
    # 0.3 times 4096 / 256; 0.6 as it is
    "swav": ("larc", "none", 100, 4096, 4.8, 0.0048, 1e-6, None, 10, None, "swav"),
    "swav variant=batch256": ("larc", "none", 400, 256, 0.6, 0.0006, 1e-6, None, 0, None, "swav"),
    "deepcluster_v2 variant=400ep": ("larc", "none", 400, 4096, 4.8, 0.0048, 1e-6, None, 10, None, "deepcluster_v2_400ep"),
    # A rate for the sum of a step's pairs, without momentum or decay; mmselfsup's for their mean.
    "context": ("sgd", "none", 17, 13, 1e-5, 0, 0, None, 0, None, "context"),
    "context variant=resnet50": ("sgd", "none", 70, 512, 0.2, 0, 1e-4, None, 0, None, "context_resnet"),
    "jigsaw": ("sgd", "none", 70, 256, 0.01, 0, 5e-4, None, 0, None, "jigsaw"),
    "jigsaw variant=vissl": ("sgd", "none", 105, 256, 0.1, 0, 1e-4, None, 5, None, "jigsaw_vissl"),
    "jigsaw_plus": ("sgd", "none", 70, 256, 0.01, 0, 5e-4, None, 0, None, "jigsaw++"),
    # 1.5e-4 and 0.3 times 4096 / 256
    "moco_v3": ("adamw", "none", 300, 4096, 2.4e-3, 0, 0.1, None, 40, None, "moco_v3_vit"),
    "moco_v3 variant=r50_1000ep": ("lars", SPARED, 1000, 4096, 4.8, 0, 1.5e-6, None, 10, None, "moco_v3_r50"),
    "counting": ("adam", SPARED, 250, 256, 1e-4, 0, 0, None, 0, None, "counting"),
    "deepcluster": ("sgd", "none", 200, 256, 0.05, 0, 1e-5, None, 0, None, "deepcluster"),
    "deepcluster variant=500ep": ("sgd", "none", 500, 256, 0.05, 0, 1e-5, None, 0, None, "deepcluster"),
    # Ten times the 2e-4 of the discriminator
    "context_encoder": ("adam", "none", 500, 64, 2e-3, 0, 0, None, 0, None, "context_encoder_center"),
    "context_encoder variant=random": ("adam", "none", 500, 64, 2e-3, 0, 0, None, 0, None, "context_encoder_random"),
    # A decay of 1e-4 in each step at the rate of 3e-4, and a thousandth
    "lci": ("adamw", SPARED, 200, 64, 3e-4, 3e-7, 1e-4 / 3e-4, None, 0, None, "lci_stl10"),
    # 450,000 steps of 80, and 500,000 of 40, of 1,281,167 images
    "colorization": ("adam", "none", 28, 80, 3e-5, 0, 1e-3, None, 0, None, "colorization"),
    "colorization variant=v2": ("adam", "none", 16, 40, 3e-5, 0, 1e-3, None, 0, None, "colorization_v2"),
    "split_brain": ("adam", "none", 28, 80, 3e-5, 0, 1e-3, None, 0, None, "splitbrain"),
    # Jigsaw's 350,000 steps of 256
    "damaged_jigsaw": ("sgd", "none", 70, 256, 0.01, 0, 5e-4, None, 0, None, "damaged_jigsaw_lab"),
    # 10^6 steps of 128 and 3 * 10^6 of 512, of 1.28 million images
    "igpt": ("adam", SPARED, 100, 128, 3e-3, 0, 0.0, None, 1, None, "igpt_ar_32"),
    "igpt variant=bert": ("adam", SPARED, 100, 128, 3e-3, 0, 0.0, None, 1, None, "igpt_bert_32"),
    "igpt variant=l_48": ("adam", SPARED, 100, 128, 3e-3, 0, 0.0, None, 1, None, "igpt_ar_48"),
    "dvae": ("adamw", SPARED, 1200, 512, 1e-4, 1.25e-6, 1e-4, None, 0, None, "beit_tokenizer_256"),
    "dvae variant=dalle_pytorch": ("adam", SPARED, 20, 8, 1e-3, 0, 0.0, None, 0, None, "beit_tokenizer_128"),
    # As they are, for 2048 images a step; 10,000 steps of 2048 of 14.2 million images
    "beit": ("adamw", SPARED, 800, 2048, 1.5e-3, 1e-5, 0.05, None, 10, 3.0, "beit"),
    "beit variant=22k": ("adamw", SPARED, 150, 2048, 1.5e-3, 1e-5, 0.05, None, 1.44, 3.0, "beit_22k"),
    # 1.5e-4 times 4096 / 256
    "mae": ("adamw", SPARED, 800, 4096, 2.4e-3, 0, 0.05, None, 40, None, "mae"),
    "mae variant=1600ep": ("adamw", SPARED, 1600, 4096, 2.4e-3, 0, 0.05, None, 40, None, "mae"),
    "mae variant=vith14": ("adamw", SPARED, 800, 4096, 2.4e-3, 0, 0.05, None, 40, None, "mae_h14"),
    # 2e-4 times 2048 / 256
    "maskfeat": ("adamw", SPARED, 300, 2048, 1.6e-3, 1e-6, 0.05, None, 30, 0.02, "maskfeat"),
    "maskfeat variant=1600ep": ("adamw", SPARED, 1600, 2048, 1.6e-3, 1e-6, 0.05, None, 30, 0.02, "maskfeat"),
    # 1e-4 and 2e-4 times 2048 / 512; a cosine ends at 1e-5 times that
    "simmim": ("adamw", SPARED, 800, 2048, 4e-4, 0, 0.05, None, 10, 5.0, "simmim_vit"),
    "simmim variant=swin_b": ("adamw", SPARED, 800, 2048, 4e-4, 0, 0.05, None, 10, 5.0, "simmim_swin"),
    "simmim variant=swin_l": ("adamw", SPARED, 800, 2048, 4e-4, 0, 0.05, None, 10, 5.0, "simmim_swin"),
    "simmim variant=swin_b_100ep": ("adamw", SPARED, 100, 2048, 8e-4, 4e-5, 0.05, None, 10, 5.0, "simmim_swin"),
    "data2vec": ("adamw", SPARED, 800, 2048, 2e-3, 1e-5, 0.05, None, 10, 3.0, "data2vec"),
    "data2vec variant=vit_l": ("adamw", SPARED, 800, 4096, 1e-3, 1e-5, 0.05, None, 80, 3.0, "data2vec"),
    "ijepa": ("adamw", SPARED, 300, 2048, 1e-3, 1e-6, 0.04, 0.4, 40, None, "ijepa"),
    "ijepa variant=vit_h16_448": ("adamw", SPARED, 300, 2048, 1e-3, 1e-6, 0.04, 0.4, 40, None, "ijepa_448"),
    "ijepa variant=vit_b16": ("adamw", SPARED, 600, 2048, 1e-3, 1e-6, 0.04, 0.4, 40, None, "ijepa_p16"),
    "ijepa variant=vit_l16": ("adamw", SPARED, 600, 2048, 1e-3, 1e-6, 0.04, 0.4, 40, None, "ijepa_p16"),
    "ijepa variant=vit_h14_22k": ("adamw", SPARED, 66, 2048, 1e-3, 1e-6, 0.04, 0.4, 3, None, "ijepa"),
    "ijepa variant=vit_g16_22k": ("adamw", SPARED, 44, 2048, 1e-3, 1e-6, 0.04, 0.4, 3, None, "ijepa_p16"),
    "cae": ("adamw", SPARED, 1600, 2048, 1.5e-3, 1e-5, 0.05, None, 40, 3.0, "cae"),
    "cae variant=300ep": ("adamw", SPARED, 300, 2048, 1.5e-3, 1e-5, 0.05, None, 10, 3.0, "cae"),
    "cae variant=800ep": ("adamw", SPARED, 800, 2048, 1.5e-3, 1e-5, 0.05, None, 20, 3.0, "cae"),
    "cae variant=large": ("adamw", SPARED, 1600, 2048, 1.5e-3, 1e-5, 0.05, None, 40, 3.0, "cae"),
    # 1.5e-4 times 4096 / 256
    "milan": ("adamw", SPARED, 400, 4096, 2.4e-3, 0, 0.05, None, 40, None, "milan"),
    "eva": ("adamw", SPARED, 150, 4096, 1e-3, 1e-5, 0.05, None, 2, 3.0, "eva"),
    # 5e-4 and 7.5e-4 times 1024 / 256
    "ibot": ("adamw", SPARED, 800, 1024, 2e-3, 1e-6, 0.04, 0.4, 10, 3.0, "ibot"),
    "ibot variant=vitb16": ("adamw", SPARED, 400, 1024, 3e-3, 2e-6, 0.04, 0.4, 10, 0.3, "ibot_vit_bl"),
    "ibot variant=vitl16": ("adamw", SPARED, 250, 1024, 3e-3, 2e-6, 0.04, 0.4, 10, 0.3, "ibot_vit_bl"),
    # 4e-3 times the root of 2048 / 1024, 2e-4 times that of 3072 / 1024
    "dinov2": ("adamw", SPARED, 200, 2048, 5.656854e-3, 1e-6, 0.04, 0.4, 20, 3.0, "dinov2_p16"),
    "dinov2 variant=vitl14": ("adamw", SPARED, 135, 3072, 3.4641016e-4, 1e-6, 0.04, 0.2, 21.6, 3.0, "dinov2_p14"),
    "dinov2 variant=vitg14": ("adamw", SPARED, 135, 3072, 3.4641016e-4, 1e-6, 0.04, 0.2, 21.6, 3.0, "dinov2_p14"),
}

JOINT = {"maskfeat", "simmim", "data2vec", "beit", "cae", "eva"}  # whose gradients are clipped by their joint norm
PARTS = {"dinov2"}  # by that of each network

FIELDS: dict[str, dict[str, Any]] = {
    "dino": {"backbone": "vit_small_patch16_224", "teacher_temperature": 0.04, "trainable_gain": False, "frozen_epochs": 1},
    "dino variant=vits16_800ep": {"teacher_temperature": 0.07, "teacher_temperature_epochs": 30, "trainable_gain": True},
    "dino variant=vits8": {"backbone": "vit_small_patch8_224", "trainable_gain": True},
    "dino variant=vitb16": {"backbone": "vit_base_patch16_224", "teacher_temperature_epochs": 50, "trainable_gain": False,
                            "frozen_epochs": 3},
    "dino variant=resnet50": {"backbone": "resnet50", "head_norm": True, "prototypes": 60000},
    "esvit variant=swin_base_w14": {"backbone": "swin_base_patch4_window7_224", "window": 14, "drop_path": 0.2},
    "esvit variant=swin_tiny_w14": {"backbone": "swin_tiny_patch4_window7_224", "window": 14, "drop_path": 0.1},
    "moco_v3 variant=r50_1000ep": {"backbone": "resnet50", "momentum": 0.996},
    "context_encoder": {"backbone": "authors", "code_dim": 4000, "predict": "center", "overlap_px": 4, "overlap_weight": 10,
                        "context_weight": 0, "judge_rate": 0.1},
    "context_encoder variant=random_64": {"predict": "image", "overlap_px": 0, "context_weight": 1},
    "context_encoder variant=random_overlap": {"predict": "image", "overlap_px": 0, "context_weight": 10},
    "context_encoder variant=features": {"backbone": "alexnet", "predict": "image", "context_weight": 0},
    "lci": {"backbone": "alexnet", "inpainter_width": 48, "inpainter_layers": 4, "reconstruction_weight": 50,
            "against_weight": 1},
    "lci variant=imagenet": {"inpainter_layers": 5},
    "igpt": {"objective": "autoregressive", "colours": 512, "embed_dim": 512, "depth": 24, "heads": 8},
    "igpt variant=m": {"embed_dim": 1024, "depth": 36, "heads": 8},
    "igpt variant=l": {"embed_dim": 1536, "depth": 48, "heads": 16},
    "dvae": {"vocabulary": 8192, "code_dim": 512, "width": 256, "halvings": 3, "quantizer": "gumbel", "law": "laplace",
             # Of 3 million steps 150,000 and 5,000
             "temperature": 1.0, "final_temperature": 0.0625, "temperature_share": 0.05, "kl_weight": 6.6, "kl_share": 1 / 600},
    "dvae variant=dalle_pytorch": {"law": "mse", "kl_weight": 0.0, "temperature": 1.0, "final_temperature": 0.5},
    "beit": {"backbone": "vit_base_patch16_224", "positions": "relative", "layer_scale": 0.1, "drop_path": 0.1,
             "vocabulary": 8192, "tokenizer": None},
    "beit variant=large": {"backbone": "vit_large_patch16_224", "layer_scale": 1e-5},
    "cae": {"backbone": "vit_base_patch16_224", "layer_scale": 0.1, "decoder_layer_scale": 0.1, "drop_path": 0.1,
            "vocabulary": 8192, "regressor_depth": 4, "decoder_depth": 4, "decoder_dim": 768, "decoder_heads": 12,
            "alignment_weight": 2.0},
    "cae variant=large": {"backbone": "vit_large_patch16_224", "layer_scale": 1e-5, "decoder_layer_scale": 1e-5,
                          "decoder_dim": 768},
    "milan": {"backbone": "vit_base_patch16_224", "decoder_dim": 512, "decoder_depth": 8, "decoder_heads": 16, "target_dim": 512,
              "teacher": None},
    "milan variant=large": {"backbone": "vit_large_patch16_224", "target_dim": 512},
    "eva": {"backbone": "vit_giant_patch14_224", "positions": "absolute", "layer_scale": None, "drop_path": 0.1,
            "target_dim": 768, "first_std": 0.015, "teacher": None},
    "maskfeat": {"backbone": "vit_base_patch16_224", "positions": "absolute", "layer_scale": None, "drop_path": 0.0, "bins": 9},
    "simmim": {"backbone": "vit_base_patch16_224", "positions": "relative", "layer_scale": 0.1, "drop_path": 0.1},
    "simmim variant=swin_b_100ep": {"backbone": "swin_base_patch4_window7_224", "window": 6, "drop_path": 0.0},
    "simmim variant=swin_l": {"backbone": "swin_large_patch4_window7_224", "window": 12, "drop_path": 0.0},
    "data2vec": {"backbone": "vit_base_patch16_224", "positions": "relative", "layer_scale": 1e-4, "drop_path": 0.25,
                 "attention_dropout": 0.05, "target_blocks": 6, "beta": 2.0, "teacher_momentum": 0.9998},
    "data2vec variant=vit_l": {"backbone": "vit_large_patch16_224", "layer_scale": 1e-5, "drop_path": 0.2,
                               "attention_dropout": 0.15, "target_blocks": 6, "teacher_momentum": 0.9998},
    "ijepa": {"backbone": "vit_huge_patch14_gap_224", "predictor_dim": 384, "predictor_depth": 12, "predictor_heads": None,
              "beta": 1.0, "teacher_momentum": 0.996, "cut": True},
    "ijepa variant=vit_g16_22k": {"backbone": "vit_giant_patch16_gap_224", "predictor_depth": 16},
    "swav variant=batch256": {"queue": 3840, "queue_epoch": 15},
    "ibot": {"backbone": "vit_small_patch16_224", "prototypes": 8192, "patch_head": "shared", "trainable_gain": True,
             "teacher_temperature": 0.07, "teacher_temperature_epochs": 30, "frozen_epochs": 1},
    "ibot variant=vitb16": {"backbone": "vit_base_patch16_224", "trainable_gain": False, "frozen_epochs": 3},
    "dinov2": {"patch_px": 16, "drop_path": 0.3, "sinkhorn": False, "separate_heads": False, "layer_decay": 0.9},
    "dinov2 variant=vitl14": {"patch_px": 14, "drop_path": 0.4, "sinkhorn": True, "separate_heads": True, "prototypes": 131072,
                              "patch_prototypes": 131072, "head_bottleneck": 384, "patch_bottleneck": 256, "layer_decay": 1.0,
                              "teacher_momentum": 0.994},
    "dinov2 variant=vitg14": {"backbone": "vit_giant_patch14_dinov2", "sinkhorn": True},
}


@pytest.mark.parametrize("words", RUNS)
def test_the_run(words: str) -> None:
    method, *more = words.split()
    run, recipe = read([method, "data=train.tar", *more])
    of, plan = run.optimizer, run.schedule
    name, exclude, epochs, batch, peak, final, decay, last_decay, warmup, clip, views = RUNS[words]
    assert (of.name, of.exclude, run.epochs, run.batch_size) == (name, exclude, epochs, batch)
    assert peak_rate(of, run.batch_size) == pytest.approx(peak) and plan.final_lr == pytest.approx(final)
    assert (of.weight_decay, of.final_weight_decay, plan.warmup_epochs) == (pytest.approx(decay), last_decay, warmup)
    assert (run.clip_grad, recipe.name) == (clip, views)
    assert clip is None or run.clip_mode == ("joint" if method in JOINT else "per-part" if method in PARTS else "per-tensor")


@pytest.mark.parametrize("words", FIELDS)
def test_its_own_fields(words: str) -> None:
    method, *more = words.split()
    model = read([method, "data=train.tar", *more])[0].model
    assert {name: getattr(model, name) for name in FIELDS[words]} == FIELDS[words]


def test_barlow_twins_has_another_rate_for_what_does_not_decay() -> None:
    assert read(["barlow_twins", "data=train.tar"])[0].optimizer.spared_lr == 0.0048
    # 0.0048 / 16, and 16e-6: what a gradient that is a sixteenth makes of both.
    of = read(["barlow_twins", "data=train.tar", "variant=as_16_devices"])[0].optimizer
    assert (of.spared_lr, of.weight_decay) == (3e-4, 1.6e-5)


@pytest.mark.parametrize(("name", "variant"), [(name, variant) for name in ("dino", "esvit", "moco_v3") for variant in
                                               METHODS[name].variants if "50" in variant])
def test_a_variant_with_another_kind_of_network_goes_with_views_of_32_px(name: str, variant: str) -> None:
    run, _ = read([name, "data=train.tar", f"variant={variant}", f"recipe={METHODS[name].recipe_32px}"])
    with torch.device("meta"):
        method = build(name, run.model, image_px=32)
    assert method.feature_dim == 2048


def test_where_warm_ups_of_masked_methods_begin_and_where_simmim_falls() -> None:
    # 5e-7 and 1e-6 times 2048 / 512; 2e-4 as it is.
    for words, first in (("simmim", 2e-6), ("simmim variant=swin_b_100ep", 4e-6), ("ijepa", 2e-4), ("data2vec", 0.0)):
        method, *more = words.split()
        assert read([method, "data=train.tar", *more])[0].schedule.first_lr == first
    of = read(["simmim", "data=train.tar"])[0].schedule
    assert (of.law, of.steps_at, of.step_factor) == ("steps", (700,), 0.1)
