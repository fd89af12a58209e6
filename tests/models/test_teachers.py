"""Teachers: what each kind of file says of an image, told from its formulas; where none can be had, one line says why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from viewmill.models.attention import class_attention
from viewmill.models.backbone import backbone, vision_transformer
from viewmill.models.teachers import ChosenTeacher, Teacher, TeacherConfig, open_teacher

from .clip import DIM, clip_by_hand, clip_weights, save_archive
from .teaching import write_run

IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
TINY = {"patch_px": 4, "embed_dim": 128, "depth": 2, "heads": 2}
"""Heads of 64 channels, as a file's network has unless said otherwise."""


def all_tokens(teacher: Teacher, images: torch.Tensor, grid: tuple[int, int] = (4, 4)) -> torch.Tensor:
    told = teacher(images, grid)
    return torch.cat([told.cls[:, None], told.patches], 1)


@pytest.mark.parametrize("kind", ["archive", "half", "state dict", "open_clip"])
def test_clips_tokens_go_through_its_norm_and_its_projection(tmp_path: Path, kind: str) -> None:
    weights, path = clip_weights(), tmp_path / "clip.pt"
    if kind == "archive":
        save_archive(weights, path)
    elif kind == "half":  # as OpenAI's are
        weights = {name: value.half().float() if value.is_floating_point() else value for name, value in weights.items()}
        save_archive({name: value.half() if value.is_floating_point() else value for name, value in weights.items()}, path)
    elif kind == "state dict":
        torch.save(weights, path)
    else:
        weights = clip_weights(numbers=False)
        torch.save({"epoch": 1, "state_dict": {f"module.{name}": value for name, value in weights.items()}}, path)
    teacher = open_teacher(str(path), activation="gelu" if kind == "open_clip" else "auto")
    told = teacher(IMAGES, (4, 4), attention=True)
    tokens, attention = clip_by_hand(weights, IMAGES.numpy(), quick=kind != "open_clip")
    assert teacher.dim == DIM and told.cls.dtype == torch.float32
    np.testing.assert_allclose(all_tokens(teacher, IMAGES).numpy(), tokens, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(told.attention.numpy(), attention, rtol=2e-3, atol=1e-5)
    assert attention.std() > 0.01  # it does not look everywhere alike


def test_the_two_activations_are_far_apart() -> None:
    quick, exact = (clip_by_hand(clip_weights(), IMAGES.numpy(), quick=quick)[0] for quick in (True, False))
    assert np.abs(quick - exact).max() > 0.005 > 2e-3  # so that the test above would tell one from the other


def test_a_clip_that_does_not_say_its_activation_is_asked_about_it(tmp_path: Path) -> None:
    save_file({name: value.contiguous() for name, value in clip_weights(numbers=False).items()}, tmp_path / "clip.safetensors")
    with pytest.raises(ValueError, match=r"set model.teacher_activation=quick_gelu for OpenAI's weights"):
        open_teacher(str(tmp_path / "clip.safetensors"))
    assert open_teacher(str(tmp_path / "clip.safetensors"), activation="quick_gelu").dim == DIM


def test_timms_clip_has_its_projection_as_a_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("vit_base_patch16_clip_quickgelu_224", img_size=16, patch_size=4, embed_dim=128, depth=2,
                                num_heads=2, num_classes=24).eval()
    torch.save(network.state_dict(), tmp_path / "w.pt")
    teacher = open_teacher(str(tmp_path / "w.pt"), activation="quick_gelu")
    with torch.no_grad():
        expected = network.head(network.forward_features(IMAGES))
    torch.testing.assert_close(all_tokens(teacher, IMAGES), expected)


def test_open_clips_with_a_tower_of_timms(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tower = vision_transformer("vit_tiny_patch16_224", 16, **TINY).eval()  # type: ignore[arg-type]
    head = nn.Linear(128, 24, bias=False)
    torch.save({**{f"visual.trunk.{name}": value for name, value in tower.state_dict().items()},
                "visual.head.proj.weight": head.weight.detach(), "logit_scale": torch.ones(())}, tmp_path / "w.pt")
    with torch.no_grad():
        expected = head(tower.forward_features(IMAGES))
    torch.testing.assert_close(all_tokens(open_teacher(str(tmp_path / "w.pt")), IMAGES), expected)


@pytest.mark.parametrize(("name", "options"), [
    ("vit_tiny_patch16_224", {}), ("vit_small_patch14_reg4_dinov2", {}), ("vit_tiny_patch16_224", {"heads": 4}),
])
def test_timms_vit_as_it_is(tmp_path: Path, name: str, options: dict[str, int]) -> None:
    torch.manual_seed(0)
    network = vision_transformer(name, 16, **{**TINY, **options}).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    state = {f"module.backbone.{key}": value for key, value in network.state_dict().items()}
    other = {key: torch.zeros_like(value) for key, value in state.items()}
    head = {"module.head.last.weight": torch.zeros(3, 128)}
    torch.save({"student": other | head, "teacher": state | head, "epoch": 3}, tmp_path / "dino.pth")
    teacher = open_teacher(str(tmp_path / "dino.pth"), heads=options.get("heads"))
    told, prefix = teacher(IMAGES, (4, 4), attention=True), network.num_prefix_tokens
    with torch.no_grad():
        expected = network.forward_features(IMAGES)
    torch.testing.assert_close(told.cls, expected[:, 0])
    torch.testing.assert_close(told.patches, expected[:, prefix:])
    torch.testing.assert_close(told.attention, class_attention(network, IMAGES).mean(1).flatten(1))


def test_dinov2s_registers_have_no_position_and_its_class_token_has(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = vision_transformer("vit_small_patch14_reg4_dinov2", 16, **TINY).eval()  # type: ignore[arg-type]
    network.cls_token.data.normal_()
    own, place = dict(network.state_dict()), torch.randn(1, 1, 128)
    state = {name: value for name, value in own.items() if name not in ("reg_token", "cls_token", "pos_embed")}
    state |= {"register_tokens": own["reg_token"], "cls_token": own["cls_token"] - place, "mask_token": torch.zeros(1, 128),
              "pos_embed": torch.cat([place, own["pos_embed"]], 1)}
    torch.save(state, tmp_path / "dinov2.pth")
    told = open_teacher(str(tmp_path / "dinov2.pth"))(IMAGES, (4, 4))
    with torch.no_grad():
        expected = network.forward_features(IMAGES)
    torch.testing.assert_close(told.cls, expected[:, 0])
    torch.testing.assert_close(told.patches, expected[:, 5:])


def test_a_classifiers_head_is_no_projection(tmp_path: Path) -> None:
    network = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=4, embed_dim=128, depth=1, num_heads=2,
                                num_classes=10)
    torch.save({"model": network.state_dict()}, tmp_path / "w.pth")
    assert open_teacher(str(tmp_path / "w.pth")).dim == 128


@pytest.mark.parametrize("method", ["mae", "dino"])
def test_a_runs_encoder(tmp_path: Path, method: str) -> None:
    trained = write_run(tmp_path, method, **({"prototypes": 8} if method == "dino" else {})).eval()
    images = torch.randn(2, 3, 32, 32)
    for place in (tmp_path, tmp_path / "checkpoints", tmp_path / "checkpoints" / "step-00000007.pt"):
        teacher = open_teacher(str(place))
        with torch.no_grad():
            expected = trained.encoder.forward_features(images)  # type: ignore[union-attr,operator]
        torch.testing.assert_close(all_tokens(teacher, images, (8, 8)), expected)


def test_a_teacher_stays_as_it_is_in_training(tmp_path: Path) -> None:
    write_run(tmp_path)
    teacher = open_teacher(str(tmp_path))
    nn.Sequential(teacher).train()
    assert not any(part.training for part in teacher.modules()) and not any(p.requires_grad for p in teacher.parameters())
    images = torch.randn(2, 3, 32, 32, requires_grad=True)
    assert not teacher(images, (8, 8)).patches.requires_grad and teacher(images, (8, 8)).attention is None


def test_pictures_of_another_size_have_other_patches(tmp_path: Path) -> None:
    write_run(tmp_path)
    teacher = open_teacher(str(tmp_path))
    assert teacher(torch.randn(2, 3, 16, 16), (4, 4)).patches.shape == (2, 16, 192)
    with pytest.raises(ValueError, match=r"mae of .* has patches of 4 px and sees 32 x 32 px; for the 2 x 2 patches of the "
                                         r"encoder it needs 8 x 8 px: set model.patch_px, or size_px of the views"):
        teacher(torch.randn(2, 3, 32, 32), (2, 2))


def test_the_encoders_own_average_follows_it_and_is_kept_with_it() -> None:
    torch.manual_seed(0)
    encoder = vision_transformer("vit_tiny_patch16_224", 16, **TINY)  # type: ignore[arg-type]
    chosen = ChosenTeacher(TeacherConfig(teacher="own", teacher_momentum=0.5), encoder)
    first = {name: value.clone() for name, value in encoder.state_dict().items()}
    assert all(torch.equal(chosen.state_dict()[f"average.vit.{name}"], value) for name, value in first.items())
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(1)
    chosen.follow(encoder, 0.5)  # half way, half a cosine has brought 0.5 to 0.75
    for name, value in first.items():
        torch.testing.assert_close(chosen.state_dict()[f"average.vit.{name}"], value + 0.25)
    assert not any(p.requires_grad for p in chosen.parameters()) and chosen.dim == 128


def test_a_files_teacher_is_no_part_of_the_methods_state(tmp_path: Path) -> None:
    save_archive(clip_weights(), tmp_path / "clip.pt")
    encoder, _ = backbone("vit_tiny_patch16_224", 16, **TINY)  # type: ignore[arg-type]
    chosen = ChosenTeacher(TeacherConfig(teacher=str(tmp_path / "clip.pt"), target_dim=DIM), encoder)
    before = [p.clone() for p in chosen.open().parameters()]
    chosen.follow(encoder, 0.1)
    assert not chosen.state_dict() and chosen.dim == DIM and chosen(IMAGES, (4, 4)).patches.shape == (3, 16, DIM)
    assert all(torch.equal(p, kept) for p, kept in zip(chosen.open().parameters(), before, strict=True))


def test_a_width_that_the_method_does_not_expect_is_refused(tmp_path: Path) -> None:
    torch.save(clip_weights(), tmp_path / "clip.pt")
    encoder, _ = backbone("vit_tiny_patch16_224", 16, **TINY)  # type: ignore[arg-type]
    config = TeacherConfig(teacher=str(tmp_path / "clip.pt"))
    with pytest.raises(ValueError, match=r"clip.pt has tokens of width 24, and model.target_dim is 128; set model.target_dim=24"):
        ChosenTeacher(config, encoder).open()
    with pytest.raises(ValueError, match=r"needs model.teacher=PATH, or model.teacher=own, .* a teacher is \(1\) a run's folder"):
        ChosenTeacher(replace(config, teacher=None), encoder).open()


def spoilt(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    weights = clip_weights()
    for name, value in changes.items():
        full = "visual." + name.replace("__", ".")
        weights.pop(full, None)
        if value is not None:
            weights[full] = value
    return weights


@pytest.mark.parametrize(("changes", "message"), [
    ({"transformer__resblocks__1__ln_2__bias": None}, "'blocks.1.norm2.bias' is missing; a teacher is .* visual.conv1.weight"),
    ({"ln_post__weight": torch.ones(7)}, r"norm.weight has shape \(7,\) where \(128,\) is needed; a teacher is"),
    ({"attn_pool__query": torch.ones(7)}, "'attn_pool.query' is no part of a plain vision transformer; a teacher is"),
    ({"positional_embedding": torch.zeros(19, 128)}, r"positions for 19 tokens and patches of \(128, 3, 4, 4\), and a teacher"),
    ({"positional_embedding": None}, "clip.pt lacks 'positional_embedding'; a teacher is"),
    ({"class_embedding": None}, "clip.pt holds no vision transformer that could teach; a teacher is"),
])
def test_a_file_of_another_layout_is_refused_with_the_one_expected(tmp_path: Path, changes: dict[str, torch.Tensor | None],
                                                                   message: str) -> None:
    torch.save(spoilt(**changes), tmp_path / "clip.pt")
    with pytest.raises(ValueError, match=message) as caught:
        open_teacher(str(tmp_path / "clip.pt"))
    assert "\n" not in str(caught.value)


def test_heads_that_do_not_divide_the_width_are_refused(tmp_path: Path) -> None:
    torch.save(clip_weights(), tmp_path / "clip.pt")
    with pytest.raises(ValueError, match=r"has a width of 128, which 3 heads do not divide; set model.teacher_heads"):
        open_teacher(str(tmp_path / "clip.pt"), heads=3)


def test_where_there_is_no_teacher_one_line_says_what_one_is(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place, message in ((tmp_path / "none", "there is no teacher .*none; a teacher is"),
                           (tmp_path / "empty", "empty holds no checkpoint of a run; a teacher is")):
        with pytest.raises(ValueError, match=message):
            open_teacher(str(place))
    write_run(tmp_path / "gone", "mae")
    state = torch.load(tmp_path / "gone/checkpoints/step-00000007.pt")
    torch.save({**state, "method": "gone"}, tmp_path / "gone.pt")
    with pytest.raises(ValueError, match="is a checkpoint of 'gone', a method that this version of viewmill does not have"):
        open_teacher(str(tmp_path / "gone.pt"))


def test_only_a_plain_vit_with_a_class_token_teaches() -> None:
    others = [backbone("vit_base_patch16_siglip_224", 32, patch_px=16, depth=1)[0], backbone("resnet18", 32)[0]]
    for network in (nn.Linear(2, 2), *others):
        with pytest.raises(ValueError, match="x: a teacher needs to be a plain ViT with a class token, whose norm comes before"):
            Teacher(network, None, "x")
