"""Encoders of all kinds: the right network, shown pictures as it was trained, and a line where it cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from viewmill.augment import presets
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.opening import open_encoder
from viewmill.models import build, method_info
from viewmill.models.backbone import backbone
from viewmill.models.training import checkpoint


def write_run(folder: Path, method: str = "simclr", seed: int = 0, **facts: object) -> nn.Module:
    """A run's folder with one checkpoint of an untrained small network, as training writes it."""
    info = method_info(method)
    fields = {"backbone": "convnet4"} if method.startswith("simclr") else {**info.fields_32px, "depth": 1}
    torch.manual_seed(seed)
    module = build(method, info.config(**fields), image_px=32)
    recipe = presets.recipe(info.recipe_32px)
    state = {"method": method, "config": {"model": vars(info.config(**fields))}, "recipe": recipe.to_dict(), "draw_version": 1,
             "viewmill": "0", "step": 7, "model": module.state_dict(), **facts}
    checkpoint.save(folder / "checkpoints", state, 2)
    return module


@pytest.mark.parametrize("method", ["simclr", "mae"])
def test_a_run_gives_its_method_s_features_and_the_view_it_was_trained_on(tmp_path: Path, method: str) -> None:
    trained = write_run(tmp_path, method).eval()
    encoder = open_encoder(str(tmp_path))
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(encoder(images), trained.features(images))  # type: ignore[operator]
    assert (encoder.dim, encoder.image_px) == (trained.feature_dim, 32) and encoder.module is encoder.whole.encoder
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())
    assert [op.type for op in encoder.view.instances[0].ops] == ["resize", "normalize"]
    assert encoder.name == f"{method} of {tmp_path}, step 7"
    for path in (tmp_path / "checkpoints", tmp_path / "checkpoints" / "step-00000007.pt"):
        assert open_encoder(str(path)).fingerprint == encoder.fingerprint


def test_fingerprints_tell_weights_and_views_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=0)
    write_run(tmp_path / "b", seed=1)
    one, other = open_encoder(str(tmp_path / "a")), open_encoder(str(tmp_path / "b"))
    assert len({one.fingerprint, other.fingerprint, open_encoder(str(tmp_path / "a"), view="eval_swav").fingerprint}) == 3


def test_the_first_layers_of_the_head_stay_on_the_encoder(tmp_path: Path) -> None:
    # By hand, from the file: 0 the features, 1 and 2 with what follows their linear layer, 3 all that the loss compares.
    trained = write_run(tmp_path, "simclr_v2").eval()
    images = torch.rand(3, 3, 32, 32)
    seen = {}
    for layers, dim in ((0, 256), (1, 256), (2, 256), (3, 128)):
        encoder = open_encoder(str(tmp_path), head_layers=layers)
        x = encoder.module(images)
        for linear in range(0, 3 * layers, 3):
            norm = [trained.state_dict()[f"projector.{linear + 1}.{part}"] for part in
                    ("running_mean", "running_var", "weight", "bias")]
            mean, var, gain, shift = norm
            x = (x @ trained.state_dict()[f"projector.{linear}.weight"].T - mean) / (var + 1e-5).sqrt() * gain + shift
            x = x.relu() if linear < 6 else x
        with torch.no_grad():
            torch.testing.assert_close(encoder(images), x, rtol=1e-4, atol=1e-6)
        assert encoder.dim == dim == x.shape[1]
        seen[layers] = encoder.fingerprint
    assert len(set(seen.values())) == 4
    assert open_encoder(str(tmp_path), head_layers=0).fingerprint == open_encoder(str(tmp_path)).fingerprint


def test_what_has_no_head_or_no_so_deep_one_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "simclr")
    write_run(tmp_path / "mae", "mae")
    with pytest.raises(ValueError, match=r"head_layers=3: the projection head of simclr of .* has 2 layers; use 0 to 2, 0"):
        open_encoder(str(tmp_path / "simclr"), head_layers=3)
    for what, name in ((str(tmp_path / "mae"), "mae of "), ("convnet4", "convnet4, untrained")):
        with pytest.raises(ValueError, match=f"head_layers=1: {name}.* has no projection head; leave head_layers out"):
            open_encoder(what, pretrained=False, image_px=None if "mae" in what else 32, head_layers=1)


def test_a_file_of_weights_goes_with_its_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, dim = backbone("resnet18", 64)
    torch.save({"state_dict": {f"module.{name}": value for name, value in module.state_dict().items()}}, tmp_path / "w.pth")
    encoder = open_encoder(str(tmp_path / "w.pth"), backbone="resnet18", image_px=64)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(encoder(images), module.eval()(images))
    assert encoder.dim == dim == 512 and encoder.name == "resnet18 of w.pth (state_dict)"
    assert encoder.view.instances[0].size_hw == (64, 64)
    with pytest.raises(ValueError, match=r"w\.pth: .*; say which network the file belongs to, for example backbone=resnet50"):
        open_encoder(str(tmp_path / "w.pth"))
    with pytest.raises(ValueError, match="is not there; is backbone= the network that they were trained in"):
        open_encoder(str(tmp_path / "w.pth"), backbone="resnet34", image_px=64)


def test_a_name_of_timm_untrained_has_the_field_s_view() -> None:
    encoder = open_encoder("resnet18", pretrained=False)
    assert isinstance(encoder, Encoder) and encoder.image_px == 224 and encoder.view == presets.recipe("eval_bicubic")
    assert open_encoder("convnet4", pretrained=False, image_px=32).dim == 256


def test_what_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    cases = [
        (("resnet51",), {}, "unknown backbone 'resnet51'; did you mean 'resnet51q'?"),
        (("convnet4",), {}, "convnet4 has no published weights; give a checkpoint, or pretrained=false"),
        (("nowhere/run",), {}, "there is no run and no file nowhere/run; give a run's folder"),
        (("gone.pth",), {}, "there is no run and no file gone.pth"),
        ((str(tmp_path),), {}, "holds no checkpoint of a run; give the out= of a training run"),
    ]
    write_run(tmp_path / "run")
    cases += [
        ((str(tmp_path / "run"),), {"backbone": "resnet18"}, "backbone= and weights_key= go with a file of weights"),
        ((str(tmp_path / "run"),), {"image_px": 64}, "was trained on pictures of 32 px; leave image_px out"),
        ((str(tmp_path / "run"),), {"view": "simclr"}, "view=simclr makes 2 views of a picture, an evaluation shows one"),
    ]
    for arguments, keys, line in cases:
        with pytest.raises(ValueError) as raised:
            open_encoder(*arguments, **keys)  # type: ignore[arg-type]
        assert line in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(("fact", "line"), [
    ({"config": {"model": {"gone": 1}}}, "does not fit this version's simclr: unknown field model.gone"),
    ({"model": {}}, "by viewmill 0, does not fit this version's simclr"),
])
def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path, fact: dict[str, object], line: str) -> None:
    write_run(tmp_path, **fact)
    with pytest.raises(ValueError, match=line):
        open_encoder(str(tmp_path))


def test_a_method_of_another_version_is_named(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = tmp_path / "checkpoints" / "step-00000007.pt"
    torch.save({**torch.load(path), "method": "colourless"}, path)
    with pytest.raises(ValueError, match="'colourless', a method that this version of viewmill does not have"):
        open_encoder(str(path))
