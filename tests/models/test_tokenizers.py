"""Tokenizers from local places: each layout opened and told apart, nothing run that a file holds unless asked for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from viewmill.augment import presets
from viewmill.models.dalle_encoder import DalleEncoder
from viewmill.models.discrete_vae import DiscreteVAE
from viewmill.models.dvae import DVAE, DVAEConfig
from viewmill.models.tokenizers import open_tokenizer
from viewmill.models.training import checkpoint

SIZES = {"vocabulary": 6, "code_dim": 5, "width": 4, "halvings": 3}


def pictures(low: float = 0.1, high: float = 0.9) -> torch.Tensor:
    levels = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    return low + (high - low) * levels


def network() -> DiscreteVAE:
    torch.manual_seed(0)
    return DiscreteVAE(**SIZES)


def dalle() -> DalleEncoder:
    torch.manual_seed(0)
    return DalleEncoder(8, 16)


def a_run(folder: Path, recipe: str = "beit_tokenizer_cifar", method: str = "dvae") -> DVAE:
    torch.manual_seed(0)
    made = DVAE(DVAEConfig(**SIZES), image_px=32)  # type: ignore[arg-type]
    checkpoint.save(folder / "checkpoints", {
        "step": 7, "method": method, "config": {"model": asdict(made.config)}, "recipe": presets.recipe(recipe).to_dict(),
        "draw_version": 1, "viewmill": "0", "model": made.state_dict()}, keep=1)
    return made


def test_a_run_of_dvae_and_one_of_its_checkpoints(tmp_path: Path) -> None:
    made = a_run(tmp_path)
    for where in (tmp_path, tmp_path / "checkpoints" / "step-00000007.pt"):
        tokenizer = open_tokenizer(str(where))
        assert (tokenizer.vocabulary, tokenizer.stride) == (6, 8) and tokenizer.values == pytest.approx((0.1, 0.9))
        codes = tokenizer.codes(pictures())
        assert codes.shape == (2, 2, 3) and torch.equal(codes, made.vae.codes(pictures()))
        painted = tokenizer.paint(codes)
        assert painted is not None and torch.equal(painted, made.vae.paint(codes))


def test_a_run_says_which_values_it_learnt_from(tmp_path: Path) -> None:
    a_run(tmp_path, "beit_tokenizer_112")
    assert open_tokenizer(str(tmp_path)).values == pytest.approx((-1.0, 1.0))


@pytest.mark.parametrize("wrapped", [True, False])
def test_beits_customized_tokenizer(tmp_path: Path, wrapped: bool) -> None:
    weights = network().state_dict()
    torch.save({"hparams": {"num_tokens": 6}, "weights": weights} if wrapped else weights, tmp_path / "pytorch_model.bin")
    for where in (tmp_path, tmp_path / "pytorch_model.bin"):
        tokenizer = open_tokenizer(str(where))
        assert tokenizer.values == (-1.0, 1.0) and tokenizer.stride == 8
        assert torch.equal(tokenizer.codes(pictures(-1, 1)), network().codes(pictures(-1, 1)))


@pytest.mark.parametrize("name", ["encoder.pt", "encoder.safetensors"])
def test_dalles_encoder_as_a_state_dict(tmp_path: Path, name: str) -> None:
    if name.endswith("safetensors"):
        save_file(dalle().state_dict(), tmp_path / name)
    else:
        torch.save(dalle().state_dict(), tmp_path / name)
    for where in (tmp_path, tmp_path / name):
        tokenizer = open_tokenizer(str(where))
        assert (tokenizer.vocabulary, tokenizer.stride, tokenizer.values) == (16, 8, (0.1, 0.9))
        codes = tokenizer.codes(pictures())
        assert torch.equal(codes, dalle()(pictures()).argmax(1)) and tokenizer.paint(codes) is None


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_a_pickled_module_is_opened_on_request_alone(tmp_path: Path) -> None:
    torch.save(dalle(), tmp_path / "encoder.pkl")
    with pytest.raises(ValueError, match=r"runs whatever code it holds: save its state_dict\(\).*model.tokenizer_pickled=true"):
        open_tokenizer(str(tmp_path))
    tokenizer = open_tokenizer(str(tmp_path), pickled=True)
    assert torch.equal(tokenizer.codes(pictures()), dalle()(pictures()).argmax(1))
    trap = tmp_path / "trap"
    torch.save({"blocks.input.w": Harmful(str(trap))}, tmp_path / "harmful.pt")
    with pytest.raises(ValueError, match="runs whatever code it holds"):
        open_tokenizer(str(tmp_path / "harmful.pt"))
    assert not trap.exists()


def test_it_stays_frozen_in_evaluation_mode_and_out_of_autocast(tmp_path: Path) -> None:
    torch.save(dalle().state_dict(), tmp_path / "encoder.pt")
    tokenizer = open_tokenizer(str(tmp_path))
    assert not tokenizer.train().training and not any(p.requires_grad for p in tokenizer.parameters())
    expected = tokenizer.codes(pictures())
    kinds: list[torch.dtype] = []
    tokenizer.network.register_forward_hook(lambda module, args, made: kinds.append(made.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tokenizer.codes(pictures()), expected) and kinds == [torch.float32]


def test_views_of_other_values_or_sizes_are_refused(tmp_path: Path) -> None:
    torch.save(dalle().state_dict(), tmp_path / "encoder.pt")
    with pytest.raises(ValueError, match=r"needs values in \[0.1, 0.9\], views of group 'target' lie in \[-1.00, 1.00\]; use "
                                         r"recipe.target/0.normalize.kind=range recipe.target/0.normalize.range=\[0.1,0.9\]"):
        open_tokenizer(str(tmp_path)).codes(pictures(-1, 1))
    with pytest.raises(ValueError, match="8 x 8 px, which do not divide views of 12 x 16 px"):
        open_tokenizer(str(tmp_path)).codes(torch.rand(1, 3, 12, 16))


def dalle_pytorch() -> dict[str, torch.Tensor]:
    """Its first two modules are strided convolutions, each with its ReLU."""
    return {"codebook.weight": torch.zeros(6, 5), "encoder.0.0.weight": torch.zeros(4, 3, 4, 4),
            "encoder.1.0.weight": torch.zeros(4, 4, 4, 4)}


def test_what_is_no_tokenizer_is_refused_with_the_layouts_there_are(tmp_path: Path) -> None:
    layouts = r"give the folder of a run of dvae .*pytorch_model.bin.*codebook.weight.*blocks.input.w \(256, 3, 7, 7\)"
    some = tmp_path / "some"
    some.mkdir()
    files: dict[str, object] = {
        "other.pt": {"conv1.weight": torch.zeros(2)}, "empty.pt": {}, "list.pt": [1, 2],
        "dalle_pytorch.pt": {"weights": dalle_pytorch()},
        "less.pt": {k: v for k, v in dalle().state_dict().items() if not k.startswith("blocks.output")},
        "short.pt": {k: v for k, v in network().state_dict().items() if "decoder" not in k},
        "hole.pt": {k: v for k, v in dalle().state_dict().items() if k != "blocks.group_2.block_1.id_path.w"},
    }
    for name, state in files.items():
        torch.save(state, tmp_path / name)
    refusals = {
        "nowhere": "there is no such folder or file", "some": "the folder holds none", "other.pt": "holds conv1.weight",
        "empty.pt": "holds no tensors, but nothing", "list.pt": "holds a list",
        "dalle_pytorch.pt": "as DALLE-pytorch orders them",
        "less.pt": "has no blocks.output.conv.w", "short.pt": "does not fit: .*decoder.0.0.weight",
        "hole.pt": "does not fit: .*group_2.block_1.id_path.w",
    }
    for name, says in refusals.items():
        with pytest.raises(ValueError, match=f"{says}.*{layouts}") as caught:
            open_tokenizer(str(tmp_path / name))
        assert "\n" not in str(caught.value)
    (tmp_path / "encoder.pkl").write_text("--2021-- https://example.org/encoder.pkl")
    with pytest.raises(ValueError, match=r"cannot be unpickled .* a log that a download left is none"):
        open_tokenizer(str(tmp_path / "encoder.pkl"), pickled=True)


def test_runs_of_other_methods_and_versions_are_refused(tmp_path: Path) -> None:
    a_run(tmp_path / "mae", method="mae")
    with pytest.raises(ValueError, match="is a checkpoint of mae; give the folder of a run of dvae"):
        open_tokenizer(str(tmp_path / "mae"))
    a_run(tmp_path / "old")
    path = tmp_path / "old" / "checkpoints" / "step-00000007.pt"
    state = torch.load(path, weights_only=True)
    del state["model"]["vae.codebook.weight"]
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"does not fit this version's dvae: .*vae.codebook.weight"):
        open_tokenizer(str(path))
