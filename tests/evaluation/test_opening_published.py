"""Published files as encoders: no backbone= is needed, and pictures are shown as their authors show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from viewmill.augment import presets
from viewmill.augment.ops import Normalize, Resize
from viewmill.evaluation.export import export
from viewmill.evaluation.finetune.config import TUNINGS
from viewmill.evaluation.finetune.network import Classifier
from viewmill.evaluation.opening import open_encoder
from viewmill.models.layers import maps

from tests.models.official import layouts as files
from tests.models.official import references

from .test_encoder import write_run
from .test_export import of_run, opened_as_told

CASES = {
    "dino": (files.dino, "DINO's ViT of width 64, 2 blocks of 1 heads and patches of 4 px of w.pth (teacher)", 12),
    "beit": (files.beit_pretrained, "BEiT's ViT of width 64, 2 blocks of 2 heads and patches of 4 px of w.pth (model)", 12),
    "simmim": (lambda: files.simmim(files.swin(), 32), "SimMIM's Swin of width 16 of w.pth (model)", 16),
    "vicreg": (files.vicreg, "VICReg's ResNet-14 of 0.25 times the width of w.pth (model)", 224),
    "swav": (files.swav, "SwAV's ResNet-14 of 0.125 times the width of w.pth", 224),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_published_file_says_itself_what_it_is(tmp_path: Path, name: str) -> None:
    make, about, side = CASES[name]
    torch.save(make(), tmp_path / "w.pth")
    encoder = open_encoder(str(tmp_path / "w.pth"))
    assert (encoder.name, encoder.image_px) == (about, side)
    with torch.no_grad():
        assert encoder(torch.rand(2, 3, side, side)).shape == (2, encoder.dim)
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())
    assert open_encoder(str(tmp_path / "w.pth")).fingerprint == encoder.fingerprint


@pytest.mark.parametrize("name", ["dino", "beit", "simmim", "swav"])
def test_layers_are_seen_and_all_weights_can_be_tuned(tmp_path: Path, name: str) -> None:
    make, _, own_side = CASES[name]
    side = min(own_side, 64)
    torch.save(make(), tmp_path / "w.pth")
    encoder, images = open_encoder(str(tmp_path / "w.pth"), image_px=side), torch.rand(2, 3, side, side)
    assert all(each.ndim == 4 and len(each) == 2 for each in maps(encoder.module, images).values())
    classifier = Classifier(encoder, 3, TUNINGS["small"]).train()
    classifier(images).sum().backward()
    assert classifier(images).shape == (2, 3)
    assert all(p.grad is not None for n, p in classifier.encoder.module.named_parameters() if "mlp" in n or "conv" in n)
    assert not any(p.requires_grad for p in encoder.parameters())


def test_pictures_are_shown_as_the_authors_do(tmp_path: Path) -> None:
    wanted = {"dino": ("bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "beit": ("bicubic", (0.5,) * 3, (0.5,) * 3),
              "vicreg": ("bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
              "swav": ("bilinear", (0.485, 0.456, 0.406), (0.228, 0.224, 0.225))}
    for name, (filter_, mean, std) in wanted.items():
        torch.save(CASES[name][0](), tmp_path / "w.pth")
        view = open_encoder(str(tmp_path / "w.pth")).view
        ops: tuple[Any, ...] = view.instances[0].ops
        norm = next(op for op in ops if isinstance(op, Normalize))
        assert (next(op for op in ops if isinstance(op, Resize)).filter, norm.mean, norm.std) == (filter_, mean, std)
    assert open_encoder(str(tmp_path / "w.pth"), view="eval_simclr").view == presets.recipe("eval_simclr")


def test_other_sizes_where_the_network_takes_them(tmp_path: Path) -> None:
    torch.save(files.dino(), tmp_path / "w.pth")
    encoder = open_encoder(str(tmp_path / "w.pth"), image_px=20)
    with torch.no_grad():
        assert encoder(torch.rand(2, 3, 20, 20)).shape == (2, 64)
    torch.save(files.beit_pretrained(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"image_px=20: BEiT's ViT .* takes pictures of 12 px alone; leave image_px out"):
        open_encoder(str(tmp_path / "w.pth"), image_px=20)


def test_a_named_network_still_takes_what_fits_it(tmp_path: Path) -> None:
    # Of a file that also holds the arguments of the program that wrote it.
    torch.save(files.dino(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="is not there; is backbone= the network that they were trained in"):
        open_encoder(str(tmp_path / "w.pth"), backbone="vit_tiny_patch16_224")
    with pytest.raises(ValueError, match=r"weights_key=nobody: .*it has teacher, student, dino_loss"):
        open_encoder(str(tmp_path / "w.pth"), weights_key="nobody")
    student = open_encoder(str(tmp_path / "w.pth"), weights_key="student")
    assert student.name.endswith("(student)")


def test_runs_names_and_files_of_nobody_s_layout(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000007.pt"
    assert open_encoder(str(checkpoint)).fingerprint == open_encoder(str(tmp_path / "run")).fingerprint
    assert open_encoder("convnet4", pretrained=False, image_px=32).dim == 256
    torch.save({"model": {"fc.weight": torch.ones(2, 2)}}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"none of BEiT, Barlow Twins, .* is laid out so: say of which") as raised:
        open_encoder(str(tmp_path / "w.pth"))
    assert "\n" not in str(raised.value)
    short = files.beit_pretrained()
    del short["model"]["blocks.1.attn.v_bias"]
    torch.save(short, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth: 'blocks.1.attn.v_bias' is missing; say which network the file belongs to"):
        open_encoder(str(tmp_path / "w.pth"))


@pytest.mark.parametrize("name", ["dino", "beit", "simmim"])
def test_what_came_in_goes_out_again(tmp_path: Path, name: str) -> None:
    # Through timm, to the authors' own formula.
    state = CASES[name][0]()
    torch.save(state, tmp_path / "w.pth")
    encoder = open_encoder(str(tmp_path / "w.pth"))
    assert export(encoder, tmp_path / "out", "timm").largest_difference == 0
    images = torch.randn(2, 3, encoder.image_px, encoder.image_px)
    assert f'timm.create_model("local-dir:{tmp_path / "out"}", pretrained=True)' in (tmp_path / "out" / "README.md").read_text()
    found = opened_as_told(tmp_path / "out", images)
    if name == "dino":
        wanted = references.vit_class_token({k.removeprefix("backbone."): v for k, v in state["teacher"].items()}, images, 1)
    elif name == "beit":
        wanted = references.vit_mean(state["model"], images, 2)
    else:
        weights = {k.removeprefix("encoder."): v for k, v in state["model"].items()}
        wanted = references.swin(weights, images, (2, 2), (1, 2), window=2, patch=2)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4)


def test_registers_without_positions_go_out_as_they_came(tmp_path: Path) -> None:
    state = files.drawn(files.vit(), 3) | {"register_tokens": torch.randn(1, 2, files.W)}
    torch.save(state, tmp_path / "w.pth")
    assert export(open_encoder(str(tmp_path / "w.pth")), tmp_path / "out", "timm").largest_difference == 0


def test_a_width_that_timm_has_no_argument_for_is_refused_in_one_line(tmp_path: Path) -> None:
    torch.save(files.vicreg(), tmp_path / "w.pth")
    encoder = open_encoder(str(tmp_path / "w.pth"), image_px=64)
    with pytest.raises(ValueError, match=r"timm .* does not open VICReg's ResNet-14 .* so nothing was written to") as raised:
        export(encoder, tmp_path / "out", "timm")
    assert "\n" not in str(raised.value) and [path.name for path in tmp_path.iterdir()] == ["w.pth"]


def test_a_folder_in_timm_s_layout_is_an_encoder_again(tmp_path: Path) -> None:
    run = of_run(tmp_path / "run", "mae")
    export(run, tmp_path / "out", "timm")
    encoder = open_encoder(str(tmp_path / "out"))
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(encoder(images), run(images))
    assert (encoder.dim, encoder.image_px, encoder.name) == (24, 32, f"vit_tiny_patch16_224 of {tmp_path / 'out'}")
    norm, of_run_s = (next(op for op in view.instances[0].ops if isinstance(op, Normalize)) for view in (encoder.view, run.view))
    assert (norm.mean, norm.std) == (of_run_s.mean, of_run_s.std)
    with pytest.raises(ValueError, match=r"image_px=64: .* says that its pictures have 32 px; leave image_px out"):
        open_encoder(str(tmp_path / "out"), image_px=64)
    with pytest.raises(ValueError, match="backbone= and weights_key= go with a file of weights"):
        open_encoder(str(tmp_path / "out"), backbone="resnet18")
    (tmp_path / "out" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"timm .* does not open .*out as a vit_tiny_patch16_224 .*; give a folder") as raised:
        open_encoder(str(tmp_path / "out"))
    assert "\n" not in str(raised.value)
