"""Blocks of networks: which they are, that they compute themselves anew, that compiling changes nothing but the time."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from torch import nn
from viewmill.models import build, method_info
from viewmill.models.mae import MAEConfig
from viewmill.models.training.blocks import blocks_of, checkpoint_activations, compile_blocks

from ..batches import batch_of, random_masks, random_views


def mae() -> nn.Module:
    torch.manual_seed(0)
    return build("mae", MAEConfig(backbone="vit_tiny_patch16_224", patch_px=4, embed_dim=32, depth=3, heads=2, decoder_dim=16,
                                  decoder_depth=1, decoder_heads=2), image_px=16)


def simclr(backbone: str, **fields: Any) -> nn.Module:
    torch.manual_seed(0)
    return build("simclr", method_info("simclr").config(backbone=backbone, **fields), image_px=32)


def batch() -> Any:
    return batch_of(random_views(1, 4, 16), random_masks(1, 4, 4, 4, 4))


def test_of_a_transformer_and_its_decoder_of_a_resnet_of_none() -> None:
    assert [name for name in blocks_of(mae()) if name.startswith("encoder")] == [f"encoder.blocks.{i}" for i in range(3)]
    found = blocks_of(simclr("resnet18"))
    assert list(found) == [f"backbone.layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    assert not blocks_of(simclr("convnet4"))


def kept_bytes(method: nn.Module) -> tuple[int, dict[str, torch.Tensor]]:
    """Bytes that autograd keeps of a forward pass, and the gradients."""
    sizes: dict[int, int] = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        loss = method(batch())["loss"]
    weights = {p.untyped_storage().data_ptr() for p in method.parameters()}
    loss.backward()
    return (sum(size for at, size in sizes.items() if at not in weights),
            {name: p.grad for name, p in method.named_parameters() if p.grad is not None})


def test_blocks_that_keep_their_inputs_alone_give_the_same_gradients_to_the_bit() -> None:
    plain, anew = mae(), mae()
    for method in (plain, anew):
        for module in method.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.3  # must draw the same in the second pass
    assert checkpoint_activations(anew) >= 3
    (most, expected), (least, found) = kept_bytes(plain), kept_bytes(anew)
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    assert least < 0.6 * most
    assert anew.state_dict().keys() == plain.state_dict().keys()


def test_where_there_is_nothing_to_compute_anew_it_is_refused() -> None:
    with pytest.raises(ValueError, match=r"activation_checkpointing=true: backbone\.layer1\.0 has batch norm"):
        checkpoint_activations(simclr("resnet18"))
    with pytest.raises(ValueError, match=r"compile=true is for networks made of blocks, .* of this SimCLR have none"):
        compile_blocks(simclr("convnet4"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="torch compiles with a C++ compiler")
def test_compiled_blocks_compute_the_same_within_rounding() -> None:
    plain, compiled = mae(), mae()
    assert compile_blocks(compiled) >= 3
    (_, expected), (_, found) = kept_bytes(plain), kept_bytes(compiled)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
