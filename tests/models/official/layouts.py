"""State dicts as the authors' programs write them, small: names and shapes written down from their model definitions, weights
drawn. W width, H hidden width, D blocks, P side of a patch, G patches a side.

Sources: facebookresearch/dino (vision_transformer.py, main_dino.py), mae (models_mae.py, main_pretrain.py), moco-v3 (vits.py,
moco/builder.py, main_moco.py), barlowtwins (main.py), vicreg (resnet.py, main_vicreg.py), swav (src/resnet50.py, main_swav.py);
bytedance/ibot (models/, main_ibot.py); microsoft/unilm beit (modeling_pretrain.py), microsoft/SimMIM (models/, utils.py).
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
W, H, D, P, G = 64, 128, 2, 4, 3
"""Of 12 x 12 px: one head of 64 channels."""


def drawn(shapes: Shapes, seed: int = 0, prefix: str = "") -> dict[str, Tensor]:
    """Weights that all matter, of variances above 0."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator) * 0.2
        found[prefix + name] = value.abs() + 0.5 if name.endswith("running_var") else value
        if name.endswith("num_batches_tracked"):
            found[prefix + name] = torch.tensor(5)
    return found


def behind(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def vit(width: int = W, hidden: int = H, depth: int = D, patch: int = P, grid: int = G) -> Shapes:
    shapes: Shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 1 + grid * grid, width),
                      "patch_embed.proj.weight": (width, 3, patch, patch), "patch_embed.proj.bias": (width,)}
    for n in range(depth):
        block: Shapes = {"norm1.weight": (width,), "norm1.bias": (width,), "attn.qkv.weight": (3 * width, width),
                         "attn.qkv.bias": (3 * width,), "attn.proj.weight": (width, width), "attn.proj.bias": (width,),
                         "norm2.weight": (width,), "norm2.bias": (width,), "mlp.fc1.weight": (hidden, width),
                         "mlp.fc1.bias": (hidden,), "mlp.fc2.weight": (width, hidden), "mlp.fc2.bias": (width,)}
        shapes |= {f"blocks.{n}.{name}": shape for name, shape in block.items()}
    return shapes | {"norm.weight": (width,), "norm.bias": (width,)}


def beit(width: int = W, hidden: int = H, depth: int = D, patch: int = P, grid: int = G, heads: int = 2) -> Shapes:
    distances = (2 * grid - 1) ** 2 + 3
    shapes = {name: shape for name, shape in vit(width, hidden, depth, patch, grid).items()
              if name != "pos_embed" and not name.endswith("attn.qkv.bias")}
    for n in range(depth):
        shapes |= {f"blocks.{n}.{name}": (width,) for name in ("gamma_1", "gamma_2", "attn.q_bias", "attn.v_bias")}
    return shapes | {"mask_token": (1, 1, width), "rel_pos_bias.relative_position_bias_table": (distances, heads),
                     "rel_pos_bias.relative_position_index": (grid * grid + 1, grid * grid + 1)}


def swin(width: int = 16, depths: tuple[int, ...] = (2, 2), heads: tuple[int, ...] = (1, 2), window: int = 2, patch: int = 2,
         side: int = 8) -> Shapes:
    """side: patches a side. Masks stand where windows are shifted: not where one window is the whole map."""
    shapes: Shapes = {"patch_embed.proj.weight": (width, 3, patch, patch), "patch_embed.proj.bias": (width,),
                      "patch_embed.norm.weight": (width,), "patch_embed.norm.bias": (width,)}
    area = window * window
    for s, depth in enumerate(depths):
        dim, rows = width * 2**s, side // 2**s
        for n in range(depth):
            block: Shapes = {
                "norm1.weight": (dim,), "norm1.bias": (dim,), "attn.relative_position_index": (area, area),
                "attn.relative_position_bias_table": ((2 * window - 1) ** 2, heads[s]),
                "attn.qkv.weight": (3 * dim, dim), "attn.qkv.bias": (3 * dim,),
                "attn.proj.weight": (dim, dim), "attn.proj.bias": (dim,), "norm2.weight": (dim,), "norm2.bias": (dim,),
                "mlp.fc1.weight": (4 * dim, dim), "mlp.fc1.bias": (4 * dim,), "mlp.fc2.weight": (dim, 4 * dim),
                "mlp.fc2.bias": (dim,)}
            if n % 2 and rows > window:
                block["attn_mask"] = ((rows // window) ** 2, area, area)
            shapes |= {f"layers.{s}.blocks.{n}.{name}": shape for name, shape in block.items()}
        if s + 1 < len(depths):
            shapes |= {f"layers.{s}.downsample.reduction.weight": (2 * dim, 4 * dim),
                       f"layers.{s}.downsample.norm.weight": (4 * dim,), f"layers.{s}.downsample.norm.bias": (4 * dim,)}
    last = width * 2 ** (len(depths) - 1)
    return shapes | {"norm.weight": (last,), "norm.bias": (last,)}


def resnet(depths: tuple[int, ...] = (1, 1, 1, 1), stem: int = 8, planes: int = 8, deep: bool = True, wider: int = 1) -> Shapes:
    """Bottlenecks (three convolutions, four times as wide at their end; wider: inside) or basic blocks; stage s is 2^s times
    planes wide."""
    shapes: Shapes = {"conv1.weight": (stem, 3, 7, 7), **_norm("bn1", stem)}
    before = stem
    for s, depth in enumerate(depths):
        inner = planes * 2**s
        after = inner * (4 if deep else 1)
        for n in range(depth):
            front = f"layer{s + 1}.{n}."
            mid = inner * wider
            convs = ([(mid, before, 1, 1), (mid, mid, 3, 3), (after, mid, 1, 1)] if deep
                     else [(after, before, 3, 3), (after, after, 3, 3)])
            for k, shape in enumerate(convs, 1):
                shapes |= {f"{front}conv{k}.weight": shape, **_norm(f"{front}bn{k}", shape[0])}
            if n == 0 and (s > 0 or before != after):
                shapes |= {f"{front}downsample.0.weight": (after, before, 1, 1), **_norm(f"{front}downsample.1", after)}
            before = after
    return shapes


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")} | {
        f"{name}.num_batches_tracked": ()}


def head(width: int = W, patches: bool = False) -> Shapes:
    """DINO's; patches: iBOT's, with a second last layer for them."""
    shapes: Shapes = {"mlp.0.weight": (32, width), "mlp.0.bias": (32,), "mlp.2.weight": (32, 32), "mlp.2.bias": (32,),
                      "mlp.4.weight": (16, 32), "mlp.4.bias": (16,), "last_layer.weight_g": (24, 1),
                      "last_layer.weight_v": (24, 16)}
    return shapes | ({"last_layer2.weight_g": (24, 1), "last_layer2.weight_v": (24, 16)} if patches else {})


ARGUMENTS = argparse.Namespace(arch="vit_small", lr=0.0005, epochs=300)
"""What most of these files hold beside the weights, an object of a class."""


def dino() -> dict[str, Any]:
    """main_dino.py's checkpoint.pth: the student behind its wrapper for several processes, the teacher of a ViT without."""
    return {"student": behind("module.", drawn(vit(), 1, "backbone.") | drawn(head(), 2, "head.")),
            "teacher": drawn(vit(), 3, "backbone.") | drawn(head(), 4, "head."), "optimizer": {"state": {}, "param_groups": []},
            "epoch": 300, "args": ARGUMENTS, "dino_loss": {"center": torch.zeros(1, 24)}}


def ibot() -> dict[str, Any]:
    student = drawn(vit(), 1, "backbone.") | {"backbone.masked_embed": torch.ones(1, W)} | drawn(head(patches=True), 2, "head.")
    teacher = drawn(vit(), 3, "backbone.") | drawn(head(patches=True), 4, "head.")
    return {"student": behind("module.", student), "teacher": teacher, "optimizer": {"state": {}, "param_groups": []},
            "epoch": 800, "args": ARGUMENTS, "ibot_loss": {"center": torch.zeros(1, 24), "center2": torch.zeros(1, 1, 24)}}


def mae() -> dict[str, Any]:
    """Of pretraining, with the decoder; the published mae_pretrain_*.pth has the encoder alone."""
    decoder = {name.replace("blocks.", "decoder_blocks."): shape for name, shape in vit(32, 64, 1).items()
               if name.startswith("blocks.")}
    shapes = {**vit(), "mask_token": (1, 1, 32), "decoder_pos_embed": (1, 1 + G * G, 32), "decoder_embed.weight": (32, W),
              "decoder_embed.bias": (32,), **decoder, "decoder_norm.weight": (32,), "decoder_norm.bias": (32,),
              "decoder_pred.weight": (P * P * 3, 32), "decoder_pred.bias": (P * P * 3,)}
    return {"model": drawn(shapes, 3), "optimizer": {"state": {}, "param_groups": []}, "epoch": 799, "scaler": {"scale": 65536.0},
            "args": ARGUMENTS}


def moco_v3(body: Shapes | None = None, projector: str = "head") -> dict[str, Any]:
    """main_moco.py's checkpoint: encoder, its momentum encoder, each with a projector in the classifier's place, a predictor."""
    body = vit() if body is None else body
    mlp: Shapes = {f"{projector}.0.weight": (32, W), **_norm(f"{projector}.1", 32), f"{projector}.3.weight": (16, 32)}
    predictor: Shapes = {"predictor.0.weight": (32, 16), **_norm("predictor.1", 32), "predictor.3.weight": (16, 32)}
    state = (drawn(body | mlp, 3, "module.base_encoder.") | drawn(body | mlp, 1, "module.momentum_encoder.")
             | drawn(predictor, 2, "module."))
    return {"epoch": 300, "arch": "vit_small", "state_dict": state, "optimizer": {"state": {}, "param_groups": []}, "scaler": {}}


def beit_pretrained() -> dict[str, Any]:
    """run_beit_pretraining.py's: the codes' classifier behind the last norm."""
    return {"model": drawn({**beit(), "lm_head.weight": (20, W), "lm_head.bias": (20,)}, 3)}


def beit_finetuned() -> dict[str, Any]:
    """A table in each block; the last norm behind the mean, and a classifier."""
    shapes = {name: shape for name, shape in beit().items() if not name.startswith(("rel_pos_bias.", "norm.", "mask_token"))}
    distances = (2 * G - 1) ** 2 + 3
    for n in range(D):
        shapes |= {f"blocks.{n}.attn.relative_position_bias_table": (distances, 2),
                   f"blocks.{n}.attn.relative_position_index": (G * G + 1, G * G + 1)}
    shapes |= {"fc_norm.weight": (W,), "fc_norm.bias": (W,), "head.weight": (10, W), "head.bias": (10,)}
    return {"model": drawn(shapes, 3)}


def simmim(body: Shapes, width: int) -> dict[str, Any]:
    """utils.py's checkpoint; the real one also holds its yacs configuration, an object of a class."""
    shapes = {f"encoder.{name}": shape for name, shape in body.items()} | {
        "encoder.mask_token": (1, 1, 16), "decoder.0.weight": (48, width, 1, 1), "decoder.0.bias": (48,)}
    return {"model": drawn(shapes, 3), "optimizer": {"state": {}, "param_groups": []}, "lr_scheduler": {}, "max_accuracy": 0.0,
            "scaler": {}, "epoch": 799, "config": ARGUMENTS}


def barlow_twins() -> dict[str, Any]:
    """main.py's checkpoint.pth; the published resnet50.pth is the backbone alone, its names from conv1 on."""
    projector: Shapes = {"module.projector.0.weight": (32, 256), **_norm("module.projector.1", 32),
                         "module.projector.3.weight": (32, 32)}
    last = {name: shape for name, shape in _norm("module.bn", 32).items() if not name.endswith(("weight", "bias"))}
    return {"epoch": 1000, "model": drawn(resnet(stem=64), 3, "module.backbone.") | drawn(projector | last, 2),
            "optimizer": {"state": {}, "param_groups": []}}


def vicreg() -> dict[str, Any]:
    """main_vicreg.py's model.pth, of a network twice as wide, stem and all."""
    projector: Shapes = {"module.projector.0.weight": (32, 512), "module.projector.0.bias": (32,),
                         **_norm("module.projector.1", 32), "module.projector.3.weight": (32, 32)}
    return {"epoch": 1000, "model": drawn(resnet(stem=16, planes=16), 3, "module.backbone.") | drawn(projector, 2),
            "optimizer": {"state": {}, "param_groups": []}}


def swav() -> dict[str, Tensor]:
    """The published swav_*_pretrain.pth.tar: all in one dictionary."""
    others: Shapes = {"projection_head.0.weight": (32, 256), "projection_head.0.bias": (32,), **_norm("projection_head.1", 32),
                      "projection_head.3.weight": (16, 32), "projection_head.3.bias": (16,), "prototypes.weight": (30, 16)}
    return drawn(resnet(stem=64), 3, "module.") | drawn(others, 2, "module.")
