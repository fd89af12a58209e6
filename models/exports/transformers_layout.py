"""Layouts of Hugging Face's transformers: ViT, I-JEPA, DINOv2 with and without registers, BEiT, Swin, ResNet.

Names are those of the checkpoints on the hub, which newer versions of the library, whose modules have others, still read.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..backbone import is_resnet
from ..masked_transformer import Beit
from ..swin import is_swin
from ..vit import is_plain_vit
from .network import Features, Layout, Network, Shown, tensors_of
from .timm_layout import is_small_stem

ELSE = "use to=timm, which transformers' AutoModel.from_pretrained opens too, where timm is installed"
BICUBIC, BILINEAR = 3, 2  # Pillow's numbers

_VIT = {"cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings",
        "reg_token": "embeddings.register_tokens", "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "norm": "layernorm", "attn.proj": "attention.output.dense"}
_OLDER = {"norm1": "layernorm_before", "norm2": "layernorm_after", "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}
_DINOV2 = {"norm1": "norm1", "norm2": "norm2", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2", "ls1.gamma": "layer_scale1.lambda1",
           "ls2.gamma": "layer_scale2.lambda1"}
_BEIT = {"gamma_1": "lambda_1", "gamma_2": "lambda_2",
         "rel_pos_bias.relative_position_bias_table": "encoder.relative_position_bias.relative_position_bias_table",
         "attn.relative_position_bias_table": "attention.attention.relative_position_bias.relative_position_bias_table"}
_SWIN = {"patch_embed.proj": "embeddings.patch_embeddings.projection", "patch_embed.norm": "embeddings.norm",
         "norm": "layernorm", "attn.proj": "attention.output.dense",
         "attn.relative_position_bias_table": "attention.self.relative_position_bias_table"}


def transformers_layout(network: Network) -> Layout:
    """Raises ValueError, one line, for a network that transformers does not have."""
    module: Any = network.module
    if is_plain_vit(module):
        return _of_vit(network)
    if type(module) is Beit:
        return _of_beit(network)
    if is_swin(module) and network.pooling == "own":
        return _of_swin(network)
    if is_resnet(module) and network.pooling == "own":
        return _of_resnet(network)
    raise ValueError("transformers' own layouts here are ViT, I-JEPA, DINOv2, BEiT, Swin and ResNet, which "
                     f"{network.name} is not; {ELSE}")


def _layout(network: Network, tensors: dict[str, Tensor], config: dict[str, Any], pooled: str, options: str = "") -> Layout:
    """pooled: of `found`, what the model returns, to features."""
    config = {**config, "num_channels": network.shown.channels, "torch_dtype": "float32"}
    given = {"add_pooling_layer": False} if options else {}

    def opened(folder: Path) -> Features:
        from transformers import AutoModel
        from transformers.utils import logging

        shows = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            model: nn.Module = AutoModel.from_pretrained(folder, **given)
        finally:
            if shows:
                logging.enable_progress_bar()
        model.eval()
        return lambda images: _pooled(model(images), pooled)

    version = "transformers"
    if find_spec("transformers") is not None:
        import transformers

        version = f"transformers {transformers.__version__}"
    return Layout(tensors, {"config.json": config, "preprocessor_config.json": _pictures(network.shown)},
                  f"from transformers import AutoModel\n\nmodel = AutoModel.from_pretrained(FOLDER{options}).eval()",
                  f"model(images).{pooled}", version, opened if find_spec("transformers") is not None else None)


def _pooled(found: Any, pooled: str) -> Tensor:
    """The same as the text says, which is for people."""
    if pooled == "pooler_output":
        whole: Tensor = found.pooler_output
        return whole
    if pooled == "pooler_output.flatten(1)":
        flat: Tensor = found.pooler_output.flatten(1)
        return flat
    tokens: Tensor = found.last_hidden_state
    if pooled == "last_hidden_state[:, 0]":
        return tokens[:, 0]
    return tokens[:, int(pooled.partition("[:, ")[2].partition(":")[0]) :].mean(1)


def _pictures(shown: Shown) -> dict[str, Any]:
    side = shown.image_px
    facts = {"do_resize": True, "resample": BICUBIC if shown.interpolation == "bicubic" else BILINEAR, "do_rescale": True,
             "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": list(shown.mean), "image_std": list(shown.std)}
    if shown.crop is None:
        return {"image_processor_type": "ViTImageProcessor", "size": {"height": side, "width": side}, **facts}
    return {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": round(side / shown.crop)},
            "do_center_crop": True, "crop_size": {"height": side, "width": side}, "do_convert_rgb": True, **facts}


def _act(module: Any) -> str:
    act = module.act
    if isinstance(act, nn.GELU) and act.approximate == "none":
        return "gelu"
    if type(act).__name__ == "QuickGELU":
        return "quick_gelu"
    raise ValueError(f"transformers' layouts have no {type(act).__name__} here; {ELSE}")


def _sizes(module: Any) -> dict[str, Any]:
    first = module.blocks[0]
    return {"hidden_size": int(module.embed_dim), "num_hidden_layers": len(module.blocks),
            "num_attention_heads": int(first.attn.num_heads), "intermediate_size": int(first.mlp.fc1.out_features),
            "hidden_act": _act(first.mlp), "layer_norm_eps": float(first.norm1.eps), "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0, "image_size": int(module.patch_embed.img_size[0]),
            "patch_size": int(module.patch_embed.patch_size[0])}


def _renamed(tensors: dict[str, Tensor], names: dict[str, str], blocks: str = "encoder.layer.") -> dict[str, Tensor]:
    """Tensors of a transformer of timm's by other names; queries, keys and values each by themselves. Raises ValueError for one
    that has no name there."""
    found = {}
    for name, value in tensors.items():
        front, inside = "", name
        if name.startswith("blocks."):
            _, number, inside = name.split(".", 2)
            front = f"{blocks}{number}."
        stem, _, last = inside.rpartition(".")
        if stem == "attn.qkv":
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                found[f"{front}attention.attention.{part}.{last}"] = piece.clone()
        elif inside in names:
            found[front + names[inside]] = value
        elif stem in names:
            found[f"{front}{names[stem]}.{last}"] = value
        else:
            raise ValueError(f"transformers' layout of it has no {name}; {ELSE}")
    return found


def _of_vit(network: Network) -> Layout:
    module: Any = network.module
    tensors, sizes = tensors_of(module), _sizes(module)
    patches, scaled = int(module.patch_embed.num_patches), "blocks.0.ls1.gamma" in tensors
    registers = 0 if module.reg_token is None else int(module.reg_token.shape[1])
    sizes["qkv_bias"] = "blocks.0.attn.qkv.bias" in tensors
    front = tensors["pos_embed"].shape[1] - patches
    if module.cls_token is None:
        if scaled or registers or front:
            raise ValueError(f"transformers has no transformer without a class token and with layer scale or registers; {ELSE}")
        config = {"model_type": "ijepa", "architectures": ["IJepaModel"], **sizes}
        return _layout(network, _renamed(tensors, _VIT | _OLDER), config, "last_hidden_state[:, 0:].mean(1)",
                       ", add_pooling_layer=False")
    # Its class token has a position and its registers have none: positions that are otherwise are added to the tokens.
    if front == 1 + registers and registers:
        tensors["reg_token"] = tensors["reg_token"] + tensors["pos_embed"][:, 1:front]
        tensors["pos_embed"] = torch.cat([tensors["pos_embed"][:, :1], tensors["pos_embed"][:, front:]], 1)
    elif front == 0:
        tensors["pos_embed"] = torch.cat([torch.zeros_like(tensors["cls_token"]), tensors["pos_embed"]], 1)
    pooled = f"last_hidden_state[:, {1 + registers}:].mean(1)" if network.pooling == "mean" else "last_hidden_state[:, 0]"
    if not scaled and not registers:
        config = {"model_type": "vit", "architectures": ["ViTModel"], **sizes}
        return _layout(network, _renamed(tensors, _VIT | _OLDER), config, pooled, ", add_pooling_layer=False")
    hidden, width = sizes.pop("intermediate_size"), sizes["hidden_size"]
    if hidden % width:
        raise ValueError(f"transformers' DINOv2 has an MLP of a whole number of times {width}, this one has {hidden}; {ELSE}")
    sizes |= {"mlp_ratio": hidden // width, "use_swiglu_ffn": False, "layerscale_value": 1.0}
    if not scaled:
        ones = torch.ones(width)
        tensors |= {f"blocks.{n}.ls{k}.gamma": ones.clone() for n in range(len(module.blocks)) for k in (1, 2)}
    named = _renamed(tensors, _VIT | _DINOV2)
    if registers:
        config = {"model_type": "dinov2_with_registers", "architectures": ["Dinov2WithRegistersModel"],
                  "num_register_tokens": registers, **sizes}
    else:
        config = {"model_type": "dinov2", "architectures": ["Dinov2Model"], **sizes}
    named["embeddings.mask_token"] = torch.zeros(1, width)  # of pretraining, which nobody looks at
    return _layout(network, named, config, pooled)


def _of_beit(network: Network) -> Layout:
    module: Any = network.module
    tensors = tensors_of(module)
    late = not isinstance(module.fc_norm, nn.Identity)
    if late and network.pooling != "own":
        raise ValueError(f"transformers' BEiT has its last norm behind the mean or pools the class token; {ELSE}")
    named: dict[str, Tensor] = {}
    for name in [each for each in tensors if each.endswith(("attn.q_bias", "attn.v_bias"))]:
        number, kind = name.split(".")[1], name[-6]
        part = {"q": "query", "v": "value"}[kind]
        named[f"encoder.layer.{number}.attention.attention.{part}.bias"] = tensors.pop(name)
    names = {**_VIT, **_OLDER, **_BEIT, "fc_norm": "pooler.layernorm"}
    named |= _renamed({k: v for k, v in tensors.items() if not k.endswith(("k_bias", "relative_position_index"))}, names)
    first = module.blocks[0]
    config = {"model_type": "beit", "architectures": ["BeitModel"], **_sizes(module), "drop_path_rate": 0.0,
              "use_mask_token": False, "use_absolute_position_embeddings": module.pos_embed is not None,
              "use_relative_position_bias": first.attn.relative_position_bias_table is not None,
              "use_shared_relative_position_bias": module.rel_pos_bias is not None, "use_mean_pooling": late,
              "layer_scale_init_value": 0.0 if first.gamma_1 is None else 1.0}
    if late:
        return _layout(network, named, config, "pooler_output")
    mean = network.pooling == "mean" or (network.pooling == "own" and module.global_pool == "avg")
    pooled = "last_hidden_state[:, 1:].mean(1)" if mean else "last_hidden_state[:, 0]"
    return _layout(network, named, config, pooled, ", add_pooling_layer=False")


def _of_swin(network: Network) -> Layout:
    module: Any = network.module
    stages: list[Any] = list(module.layers)
    first = stages[0].blocks[0]
    windows = {int(side) for stage in stages for block in stage.blocks for side in block.window_size}
    if len(windows) > 1:
        raise ValueError(f"transformers' Swin has one size of window, this one has {sorted(windows)}, since the maps of its last "
                         f"stages are smaller; {ELSE}")
    tensors = {}
    for name, value in tensors_of(module).items():
        if name.startswith("layers."):
            _, stage, inside = name.split(".", 2)
            if inside.startswith("downsample."):  # here in front of a stage, there behind the one before
                tensors[f"encoder.layers.{int(stage) - 1}.{inside}"] = value
                continue
            _, block, inside = inside.split(".", 2)
            found = _renamed({inside: value}, _SWIN | _OLDER)
            for key, piece in found.items():
                tensors[f"encoder.layers.{stage}.blocks.{block}.{key.replace('attention.attention.', 'attention.self.')}"] = piece
        else:
            tensors |= _renamed({name: value}, _SWIN)
    width = int(module.embed_dim)
    config = {"model_type": "swin", "architectures": ["SwinModel"], "image_size": int(module.patch_embed.img_size[0]),
              "patch_size": int(module.patch_embed.patch_size[0]), "embed_dim": width,
              "depths": [len(stage.blocks) for stage in stages],
              "num_heads": [int(stage.blocks[0].attn.num_heads) for stage in stages], "window_size": windows.pop(),
              "mlp_ratio": first.mlp.fc1.out_features / width, "qkv_bias": first.attn.qkv.bias is not None,
              "hidden_act": _act(first.mlp), "layer_norm_eps": float(first.norm1.eps), "drop_path_rate": 0.0,
              "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "use_absolute_embeddings": False}
    return _layout(network, tensors, config, "pooler_output")


def _of_resnet(network: Network) -> Layout:
    module: Any = network.module
    if is_small_stem(module):
        raise ValueError("transformers' ResNets have no stem for small pictures; use to=torchvision, whose code that opens it "
                         "replaces the stem")
    stages = [module.layer1, module.layer2, module.layer3, module.layer4]
    deep = hasattr(stages[0][0], "conv3")
    widths = [int((stage[0].conv3 if deep else stage[0].conv2).out_channels) for stage in stages]
    inner = [int(stage[0].conv2.out_channels) for stage in stages]
    wider = deep and any(4 * each != width for each, width in zip(inner, widths, strict=True))
    if wider or any(stage[0].conv2.groups > 1 for stage in stages):
        raise ValueError(f"transformers' ResNets have neither groups nor wider bottlenecks, as {network.name} has; {ELSE}")
    named = {}
    for name, value in tensors_of(module).items():
        parts = name.split(".")
        if parts[0] in ("conv1", "bn1"):
            named[f"embedder.embedder.{_kind(parts[0])}.{parts[-1]}"] = value
            continue
        front = f"encoder.stages.{int(parts[0].removeprefix('layer')) - 1}.layers.{parts[1]}."
        if parts[2] == "downsample":
            named[f"{front}shortcut.{'convolution' if parts[3] == '0' else 'normalization'}.{parts[-1]}"] = value
        elif parts[2][:-1] in ("conv", "bn"):
            named[f"{front}layer.{int(parts[2][-1]) - 1}.{_kind(parts[2])}.{parts[-1]}"] = value
        else:
            raise ValueError(f"transformers' ResNets have no {name}; {ELSE}")
    config = {"model_type": "resnet", "architectures": ["ResNetModel"], "embedding_size": int(module.conv1.out_channels),
              "hidden_sizes": widths, "depths": [len(stage) for stage in stages], "layer_type": "bottleneck" if deep else "basic",
              "hidden_act": "relu", "downsample_in_first_stage": False}
    return _layout(network, named, config, "pooler_output.flatten(1)")


def _kind(part: str) -> str:
    return "convolution" if part.startswith("conv") else "normalization"
