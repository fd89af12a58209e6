"""Hugging Face's layouts, opened by the installed transformers; sums in another order, so equal up to the last bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from viewmill.augment import presets
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.export import export
from viewmill.models.backbone import backbone, set_layer_scale

from .test_export import of_backbone, of_run, same, stirred

transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install transformers")
SLOW = pytest.mark.slow
ULPS = 2e-5


def of_module(module: nn.Module, name: str, image_px: int) -> Encoder:
    view = presets.recipe("eval_bicubic")
    return Encoder(stirred(module), int(module.num_features), image_px, view, name,  # type: ignore[arg-type]
                   {"backbone": name}).eval()


@pytest.mark.parametrize(("name", "kind"), [("dino", "vit"), pytest.param("mae", "vit", marks=SLOW),
                                            pytest.param("ijepa", "ijepa", marks=SLOW),
                                            pytest.param("beit", "beit", marks=SLOW)])
def test_a_run_s_transformer(tmp_path: Path, name: str, kind: str) -> None:
    config = same(of_run(tmp_path / "run", name), tmp_path / "out", "huggingface", ULPS)
    assert (config["model_type"], config["hidden_size"], config["num_hidden_layers"]) == (kind, 24, 2)


@SLOW
def test_layer_scale_is_dinov2_s_layout_with_and_without_registers(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"patch_px": 8, "embed_dim": 24, "depth": 2, "heads": 2}
    scaled, _ = backbone("vit_tiny_patch16_224", 32, **sizes)
    set_layer_scale(scaled, 0.5)
    config = same(of_module(scaled, "vit_tiny_patch16_224", 32), tmp_path / "scaled", "huggingface", ULPS)
    assert config["model_type"] == "dinov2"
    registers, _ = backbone("vit_small_patch14_reg4_dinov2", 32, **sizes)
    config = same(of_module(registers, "vit_small_patch14_reg4_dinov2", 32), tmp_path / "registers", "huggingface", ULPS)
    assert (config["model_type"], config["num_register_tokens"]) == ("dinov2_with_registers", 4)


@SLOW
def test_swin_whose_downsampling_stands_elsewhere(tmp_path: Path) -> None:
    swin = of_backbone("swin_tiny_patch4_window7_224", 64, embed_dim=24, window=2)
    config = same(swin, tmp_path / "out", "huggingface", ULPS)
    assert (config["model_type"], config["depths"], config["window_size"]) == ("swin", [2, 2, 6, 2], 2)
    with pytest.raises(ValueError, match=r"transformers' Swin has one size of window, this one has \[2, 4\]"):
        export(of_backbone("swin_tiny_patch4_window7_224", 64, embed_dim=24, window=4), tmp_path / "uneven", "huggingface")


@SLOW
def test_resnets_with_the_same_bits(tmp_path: Path) -> None:
    config = same(of_backbone("resnet18", 96), tmp_path / "out", "huggingface")
    assert (config["model_type"], config["layer_type"], config["depths"]) == ("resnet", "basic", [2, 2, 2, 2])


@SLOW
def test_pictures_are_prepared_as_the_network_saw_them(tmp_path: Path) -> None:
    # One picture twice: by the processor that the folder names, and by our own view of it.
    encoder = of_run(tmp_path / "run", "dino")
    export(encoder, tmp_path / "out", "huggingface")
    told = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())
    assert told["size"] == {"height": 32, "width": 32}
    picture = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "out")
    found = processor(picture.permute(1, 2, 0).numpy(), return_tensors="pt")["pixel_values"][0]
    mean, std = (torch.tensor(told[key])[:, None, None] for key in ("image_mean", "image_std"))
    torch.testing.assert_close(found, (picture / 255 - mean) / std, rtol=0, atol=1e-5)


@SLOW
def test_what_timm_s_layout_holds_transformers_opens_too(tmp_path: Path) -> None:
    encoder = of_backbone("test_convnext", 64)
    export(encoder, tmp_path / "out", "timm")
    model = transformers.AutoModel.from_pretrained(tmp_path / "out").eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(images).pooler_output, encoder(images), rtol=0, atol=1e-5)


@SLOW
def test_a_network_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="which test_convnext is not; use to=timm, which transformers' AutoModel"):
        export(of_backbone("test_convnext", 64), tmp_path / "out", "huggingface")
