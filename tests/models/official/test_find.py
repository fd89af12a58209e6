"""Published checkpoints: whose they are is told by their names, and features are what their authors' networks compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from viewmill.models.official import find
from viewmill.models.official.networks import plain_vit, resnet

from . import layouts as files
from . import references


def own(state: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def same(state: dict[str, Any], who: str, part: str, side: int, expected: Callable[[Tensor], Tensor], **keys: Any) -> None:
    found = find(state, **keys)
    assert found is not None
    network, where = found
    assert (network.layout.who, where) == (who, part)
    assert network.image_px == side or network.family == "resnet"
    images = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        features = network.eval().features(images)
    wanted = expected(images)
    assert features.shape == (3, network.feature_dim) == wanted.shape and wanted.std() > 0.01
    torch.testing.assert_close(features.double(), wanted, rtol=1e-4, atol=1e-4)


def test_dino_s_teacher_is_taken_and_its_student_can_be_asked_for() -> None:
    state = files.dino()
    same(state, "DINO", "teacher", 12, lambda x: references.vit_class_token(own(state["teacher"], "backbone."), x, 1))
    same(state, "DINO", "student", 12, lambda x: references.vit_class_token(own(state["student"], "module.backbone."), x, 1),
         key="student")
    with pytest.raises(ValueError, match="weights_key=head: there is no such part; it has teacher, student, dino_loss"):
        find(state, "head")


def test_ibot_s_second_last_layer_tells_it_from_dino() -> None:
    state = files.ibot()
    same(state, "iBOT", "teacher", 12, lambda x: references.vit_class_token(own(state["teacher"], "backbone."), x, 1))
    gains = {f"backbone.blocks.{n}.gamma_{k}": torch.full((files.W,), 0.3 + n + k) for n in range(files.D) for k in (1, 2)}
    scaled = {**state["teacher"], **gains}
    same({"teacher": scaled}, "iBOT", "teacher", 12, lambda x: references.vit_class_token(own(scaled, "backbone."), x, 1))


def test_mae_s_encoder_without_its_decoder() -> None:
    state = files.mae()
    same(state, "MAE", "model", 12, lambda x: references.vit_class_token(state["model"], x, 1))


def test_a_transformer_alone_is_taken_as_it_is() -> None:
    # mae_pretrain_vit_base.pth, dino_deitsmall16_pretrain.pth: the encoder, in a part or at the top.
    state = files.drawn(files.vit(), 3)
    for file, part in (({"model": state}, "model"), (state, "")):
        same(file, "", part, 12, lambda x: references.vit_class_token(state, x, 1))
    late = {name.replace("norm.", "fc_norm.") if name.startswith("norm.") else name: value for name, value in state.items()}
    same({"model": late}, "", "model", 12, lambda x: references.vit_late_norm(late, x, 1))


def test_dinov2_s_registers_stand_between_class_token_and_patches_without_positions() -> None:
    state = files.drawn(files.vit(), 3)
    registers = torch.randn(1, 2, files.W, generator=torch.Generator().manual_seed(4))
    with_registers = {**state, "register_tokens": registers, "mask_token": torch.ones(1, files.W)}

    def expected(images: Tensor) -> Tensor:
        # By hand: registers go in behind the class token, and only positions are added to the others.
        t = references._double(state)
        x = references._patches(images.double(), t, files.P) + t["pos_embed"][:, 1:]
        first = (t["cls_token"] + t["pos_embed"][:, :1]).expand(len(x), -1, -1)
        x = torch.cat([first, registers.double().expand(len(x), -1, -1), x], 1)
        for n in range(files.D):
            x = x + references._attention(references._norm(x, t, f"blocks.{n}.norm1"), t, f"blocks.{n}.attn", 1)
            x = x + references._mlp(references._norm(x, t, f"blocks.{n}.norm2"), t, f"blocks.{n}.mlp")
        return references._norm(x, t, "norm")[:, 0]

    same(with_registers, "", "", 12, expected)


def test_moco_v3_s_encoder_comes_before_its_momentum_encoder() -> None:
    state = files.moco_v3()
    same(state, "MoCo v3", "state_dict", 12,
         lambda x: references.vit_class_token(own(state["state_dict"], "module.base_encoder."), x, 1))
    convolutional = files.moco_v3(files.resnet(stem=64), "fc")
    same(convolutional, "MoCo v3", "state_dict", 64,
         lambda x: references.resnet(own(convolutional["state_dict"], "module.base_encoder."), x))


def test_moco_s_queries_come_before_its_keys() -> None:
    # MoCo v1 and v2, which nothing but the prefix names.
    state = files.drawn(files.resnet(), 1, "module.encoder_k.") | files.drawn(files.resnet(), 3, "module.encoder_q.")
    same({"state_dict": state}, "", "state_dict", 64, lambda x: references.resnet(own(state, "module.encoder_q."), x))


def test_moco_v3_s_vit_s_has_twelve_heads_and_dino_s_six() -> None:
    state = files.drawn(files.vit(width=384, hidden=384, depth=1), 3)
    for file, who, heads in (({"state_dict": files.behind("module.base_encoder.", state)}, "MoCo v3", 12), (state, "", 6)):
        same(file, who, "state_dict" if who else "", 12,
             lambda x, heads=heads: (references._norm(references.vit_tokens(state, x, heads, depth=1),  # type: ignore[misc]
                                                      references._double(state), "norm")[:, 0]))


def test_beit_s_relative_positions_and_biases_without_keys_of_them() -> None:
    state = files.beit_pretrained()["model"]
    same({"model": state}, "BEiT", "model", 12, lambda x: references.vit_mean(state, x, 2))
    tuned = files.beit_finetuned()["model"]
    same({"model": tuned}, "BEiT", "model", 12, lambda x: references.vit_late_norm(tuned, x, 2))


def test_simmim_s_transformer_and_its_swin() -> None:
    state = files.simmim(files.beit(), files.W)
    same(state, "SimMIM", "model", 12, lambda x: references.vit_mean(own(state["model"], "encoder."), x, 2))
    windows = files.simmim(files.swin(), 32)
    same(windows, "SimMIM", "model", 16,
         lambda x: references.swin(own(windows["model"], "encoder."), x, (2, 2), (1, 2), window=2, patch=2))


def test_a_swin_of_no_mask_ends_in_one_window() -> None:
    state = {name: value for name, value in files.drawn(files.swin(side=4), 3).items() if not name.endswith("attn_mask")}
    same(state, "", "", 8, lambda x: references.swin(state, x, (2, 2), (1, 2), window=2, patch=2))


def test_barlow_twins_and_vicreg_differ_in_the_last_norm() -> None:
    state = files.barlow_twins()
    same(state, "Barlow Twins", "model", 64, lambda x: references.resnet(own(state["model"], "module.backbone."), x))
    wide = files.vicreg()
    same(wide, "VICReg", "model", 64, lambda x: references.resnet(own(wide["model"], "module.backbone."), x))


def test_swav_s_file_is_one_dictionary() -> None:
    state = files.swav()
    same(state, "SwAV", "", 64, lambda x: references.resnet(own(state, "module."), x))


@pytest.mark.parametrize(("deep", "stem", "planes", "wider"), [(True, 64, 32, 1), (True, 16, 16, 2), (False, 64, 64, 1),
                                                               (False, 16, 16, 1)])
def test_a_resnet_alone(deep: bool, stem: int, planes: int, wider: int) -> None:
    state = files.drawn(files.resnet((1, 1, 1, 1), stem, planes, deep, wider), 3)
    same({name: value * 0.5 if name.endswith("conv2.weight") else value for name, value in state.items()}, "", "", 64,
         lambda x: references.resnet({k: v * 0.5 if k.endswith("conv2.weight") else v for k, v in state.items()}, x))


def test_networks_of_the_published_sizes_are_told_from_shapes() -> None:
    # Without memory: only names and shapes count.
    with torch.device("meta"):
        for width, depth, patch, side, heads in ((384, 12, 8, 28, 6), (1280, 32, 14, 16, 16)):
            shapes = files.vit(width, 4 * width, depth, patch, side)
            vit: Any = plain_vit({name: torch.empty(shape) for name, shape in shapes.items()})
            assert (vit.embed_dim, len(vit.blocks), vit.blocks[0].attn.num_heads) == (width, depth, heads)
            assert vit.patch_embed.img_size == (patch * side, patch * side)
        for depths, times, million in (((3, 4, 6, 3), 1, 23.5), ((3, 4, 6, 3), 2, 94.0)):
            shapes = files.resnet(depths, 64 * times, 64 * times)
            network = resnet({name: torch.empty(shape) for name, shape in shapes.items()})
            assert network.num_features == 2048 * times
            assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(million, abs=0.5)


def test_what_is_no_such_network_is_told() -> None:
    assert find({"model": {"fc.weight": torch.ones(2, 2)}}) is None
    state = files.drawn(files.vit(), 3)
    cases = [({"blocks.1.attn.proj.weight": None}, "'blocks.1.attn.proj.weight' is missing"),
             ({"pos_embed": torch.ones(1, 12, files.W)}, "pos_embed is for 11 places, which are no square"),
             ({"norm_pre.weight": torch.ones(files.W)}, "'norm_pre.weight' belongs to a vision transformer of another kind"),
             ({"fc_norm.weight": torch.ones(files.W)}, "'fc_norm.weight' belongs to a vision transformer of another kind"),
             ({"blocks.0.extra": torch.ones(2)}, "'blocks.0.extra' is no part of a plain vision transformer"),
             ({"blocks.0.mlp.fc2.bias": torch.ones(3)}, r"blocks.0.mlp.fc2.bias has shape \(3,\) where \(64,\) is needed")]
    for change, line in cases:
        broken = {name: value for name, value in {**state, **change}.items() if value is not None}
        with pytest.raises(ValueError, match=line):
            find(broken)
    small = files.drawn(files.resnet(), 3)
    small["conv1.weight"] = torch.ones(8, 3, 3, 3)
    with pytest.raises(ValueError, match=r"conv1.weight has shape \(8, 3, 3, 3\), of a stem that names do not tell whole"):
        find(small)
    with pytest.raises(ValueError, match="a Swin with absolute positions is not known here"):
        find(files.drawn(files.swin() | {"absolute_pos_embed": (1, 64, 16)}, 3))
