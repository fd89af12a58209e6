"""Weights in other libraries' layouts: what README.md says opens them, and gives the same features."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from viewmill.augment import presets
from viewmill.cli import main
from viewmill.evaluation import export as exporting
from viewmill.evaluation.encoder import Encoder, of_method
from viewmill.evaluation.export import export, shown_of
from viewmill.evaluation.opening import open_encoder
from viewmill.models import build, method_info
from viewmill.models.backbone import backbone
from viewmill.models.training import checkpoint

SMALL = {"embed_dim": 24, "depth": 2, "heads": 2}
TRANSFORMERS = {
    "dino": {"prototypes": 8, "head_hidden": 16, "head_bottleneck": 8},
    "mae": {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2, "pooling": "mean"},
    "ijepa": {"predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2},
    "beit": {"pooling": "mean"},
}


def stirred(module: nn.Module) -> nn.Module:
    """With weights and statistics that all matter: none is 0 or 1, no two channels are alike."""
    torch.manual_seed(7)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                value.add_(0.2 * torch.rand_like(value) if name.endswith("running_var") else 0.1 * torch.randn_like(value))
    return module.eval().requires_grad_(False)


def of_backbone(name: str, image_px: int, **sizes: Any) -> Encoder:
    module, dim = backbone(name, image_px, **sizes)
    view = open_encoder("convnet4", pretrained=False, image_px=image_px).view
    return Encoder(stirred(module), dim, image_px, view, name, {"backbone": name}).eval()


def method_state(name: str, **fields: Any) -> tuple[nn.Module, dict[str, Any]]:
    info = method_info(name)
    config = info.config(**{**info.fields_32px, **SMALL, **TRANSFORMERS[name], **fields})
    recipe = presets.recipe(info.recipe_32px)
    method = stirred(build(name, config, image_px=32))
    return method, {"method": name, "config": {"model": vars(config)}, "recipe": recipe.to_dict(), "draw_version": 1,
                    "viewmill": "0", "step": 7, "model": method.state_dict()}


def of_run(folder: Path, name: str, **fields: Any) -> Encoder:
    _, state = method_state(name, **fields)
    checkpoint.save(folder / "checkpoints", state, 2)
    return open_encoder(str(folder))


def opened_as_told(folder: Path, images: Tensor) -> Tensor:
    """README.md's Python, run, and then the expression that it gives for features."""
    text = (folder / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)\n```", text, re.DOTALL)
    (features,) = re.findall(r"of `images`.*: `(.*)`", text)
    scope: dict[str, Any] = {}
    with torch.no_grad():
        exec(code, scope)
        found: Tensor = eval(features, {**scope, "images": images})
    return found


def same(encoder: Encoder, folder: Path, to: str, tolerance: float = 0.0) -> dict[str, Any]:
    found = export(encoder, folder, to)
    shown = shown_of(encoder.view)
    images = torch.rand(3, shown.channels, encoder.image_px, encoder.image_px)
    wanted, got = encoder(images), opened_as_told(folder, images)
    assert wanted.std() > 0 and got.shape == wanted.shape
    torch.testing.assert_close(got, wanted, rtol=0, atol=tolerance * float(wanted.abs().max()))
    assert found.largest_difference is not None and found.largest_difference <= tolerance
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


@pytest.mark.parametrize("name", sorted(TRANSFORMERS))
def test_timm_opens_a_run_s_transformer_with_the_same_bits(tmp_path: Path, name: str) -> None:
    config = same(of_run(tmp_path / "run", name), tmp_path / "out", "timm")
    assert (config["model_args"]["embed_dim"], config["model_args"]["depth"], config["num_classes"]) == (24, 2, 0)
    assert config["model_args"]["global_pool"] == ("token" if name == "dino" else "avg")


@pytest.mark.parametrize(("name", "image_px", "sizes"), [
    ("test_resnet", 96, {}), ("swin_tiny_patch4_window7_224", 64, {"embed_dim": 24, "window": 4}), ("test_convnext", 64, {}),
    ("vit_tiny_patch16_224.augreg_in21k", 48, {"embed_dim": 24, "depth": 1, "heads": 2})])
def test_timm_opens_its_own_networks_with_the_same_bits(tmp_path: Path, name: str, image_px: int, sizes: dict[str, int]) -> None:
    config = same(of_backbone(name, image_px, **sizes), tmp_path / "out", "timm")
    assert config["architecture"] == name.partition(".")[0]
    assert config["pretrained_cfg"]["input_size"] == [3, image_px, image_px]


@pytest.mark.parametrize("image_px", [pytest.param(96, marks=pytest.mark.slow), 32])
def test_torchvision_s_resnet_with_the_same_bits_with_either_stem(tmp_path: Path, image_px: int) -> None:
    config = same(of_backbone("resnet18", image_px), tmp_path / "out", "torchvision")
    assert config["architecture"] == "resnet18" and set(load_file(tmp_path / "out" / "model.safetensors")) >= {
        "conv1.weight", "bn1.running_mean", "layer4.1.bn2.weight", "layer2.0.downsample.0.weight"}


@pytest.mark.parametrize("name", ["dino", "mae"])
def test_torchvision_s_vision_transformer(tmp_path: Path, name: str) -> None:
    # Its attention adds up in another order: the last bits differ.
    config = same(of_run(tmp_path / "run", name), tmp_path / "out", "torchvision", 1e-5)
    assert config["arguments"] == {"image_size": 32, "patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 24,
                                   "mlp_dim": 96}


def test_pictures_are_described_as_the_network_saw_them(tmp_path: Path) -> None:
    small = shown_of(of_run(tmp_path / "run", "dino").view)
    assert (small.image_px, small.crop, small.mean) == (32, None, presets.recipe("dino_2x32").instances[0].ops[-1].mean)
    large = shown_of(presets.recipe("eval_bicubic"))
    assert (large.image_px, large.crop, large.interpolation) == (224, 224 / 256, "bicubic")
    assert (large.mean, large.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    # v = 2 * level / 255 - 1 is (level / 255 - 0.5) / 0.5; and levels / 255 alone have mean 0 and standard deviation 1.
    plain = presets.recipe("eval_bicubic")
    signed = shown_of(plain.with_op("*", "normalize", kind="range", range=(-1.0, 1.0), mean=None, std=None))
    assert signed.mean == pytest.approx((0.5,) * 3) and signed.std == pytest.approx((0.5,) * 3)
    assert (shown_of(presets.recipe("eval_simclr")).mean, shown_of(presets.recipe("eval_simclr")).crop) == ((0.0,) * 3, 0.875)
    with pytest.raises(ValueError, match="in other values than levels with a mean and a standard deviation"):
        shown_of(plain.with_op("*", "normalize", kind="tile-rms", gain=1.0, mean=None, std=None))


def test_timm_prepares_pictures_as_the_configuration_says(tmp_path: Path) -> None:
    export(of_run(tmp_path / "run", "dino"), tmp_path / "out", "timm")
    model = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    known = timm.data.resolve_model_data_config(model)
    shown = shown_of(open_encoder(str(tmp_path / "run")).view)
    assert tuple(map(tuple, (known["input_size"], known["mean"], known["std"]))) == ((3, 32, 32), shown.mean, shown.std)
    assert (known["crop_pct"], known["crop_mode"], known["interpolation"]) == (1.0, "squash", "bicubic")


def test_what_a_layout_has_not_is_refused_in_one_line(tmp_path: Path) -> None:
    cases = [
        (open_encoder("convnet4", pretrained=False, image_px=32), "timm", "timm has no ConvNet4: the run itself"),
        (open_encoder("convnet4", pretrained=False, image_px=32), "torchvision", "torchvision has no ConvNet4: its ResNets"),
        (open_encoder("convnet4", pretrained=False, image_px=32), "huggingface", "which convnet4 is not; use to=timm"),
        (of_backbone("test_resnet", 32), "timm", "no stem for small pictures among their arguments; use to=torchvision"),
        (of_backbone("test_resnet", 32), "huggingface", "no stem for small pictures; use to=torchvision"),
        (of_backbone("test_resnet", 96), "torchvision", "torchvision has no test_resnet; its ResNets are resnet18, "),
    ]
    for encoder, to, line in cases:
        with pytest.raises(ValueError) as raised:
            export(encoder, tmp_path / "out", to)
        assert line in str(raised.value) and "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="full is there already; give a folder that is empty"):
        export(open_encoder("convnet4", pretrained=False, image_px=32), tmp_path / "full", "timm")


def test_what_gives_other_features_once_opened_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(network: Any) -> Any:
        layout = exporting_layouts["timm"](network)
        layout.tensors["norm.bias"] += 0.1
        return layout

    exporting_layouts = dict(exporting.LAYOUTS)
    monkeypatch.setitem(exporting.LAYOUTS, "timm", forgetful)
    with pytest.raises(ValueError, match=r"opened again with timm .*, gives other features .* nothing was written to"):
        export(of_run(tmp_path / "run", "dino"), tmp_path / "out", "timm")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_features_that_no_pooling_gives_are_refused(tmp_path: Path) -> None:
    method, _ = method_state("dino")
    method.features = lambda images: method.encoder(images) * 2  # type: ignore[assignment, operator, union-attr]
    encoder = of_method(method, presets.recipe("dino_2x32"), 32, "doubled",  # type: ignore[arg-type]
                        {"backbone": "vit_tiny_patch16_224"})
    with pytest.raises(ValueError, match="features of doubled are neither what its vit_tiny_patch16_224 returns nor its class"):
        export(encoder, tmp_path / "out", "timm")


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_run(tmp_path / "run", "dino")
    assert exporting.main([str(tmp_path / "run"), str(tmp_path / "out"), "to=timm"]) == 0
    said = capsys.readouterr().out
    assert "model.safetensors, config.json, README.md" in said
    assert f"again with timm {timm.__version__}: the same features, bit for bit" in said
    for words, line in ((["a"], "an encoder, a run's folder"), (["a", "b"], "needs to=, one of timm, torchvision, huggingface"),
                        (["a", "b", "to=tim"], "not 'tim'; did you mean 'timm'")):
        with pytest.raises(ValueError, match=line):
            exporting.main(words)
    assert "to=timm|torchvision|huggingface" in exporting.manual()


def test_the_command_line_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export"]) == 0 and main(["export", "--help"]) == 0
    assert capsys.readouterr().out.count("Usage: viewmill export ENCODER OUT to=timm|torchvision|huggingface") == 2
    assert main(["export", "nowhere/run", "out", "to=timm"]) == 2
    assert "there is no run and no file nowhere/run" in capsys.readouterr().err
