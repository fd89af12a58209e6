"""A frozen tokenizer, whoever trained it, from a local place: pictures to a grid of codes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..augment.ops import Normalize
from ..augment.recipe import Recipe
from .dalle_encoder import STRIDE, DalleEncoder
from .discrete_vae import DiscreteVAE
from .training import checkpoint
from .value_range import refuse_values

RUN, CUSTOMIZED, DALLE = "the folder of a run of dvae", "BEiT's customized tokenizer", "DALL-E's encoder"

LAYOUTS = (f"{RUN} (OUT/checkpoints/step-*.pt), or one of its checkpoints; {CUSTOMIZED} (a folder with pytorch_model.bin, or "
           "that file: {'weights': {codebook.weight (K, D), encoder.0.0.weight, encoder.1.net.0.weight, ..., encoder.6.weight "
           f"(K, width, 1, 1), decoder....}}}}); or {DALLE} (a state dict, or a folder with one as encoder.pt: blocks.input.w "
           "(256, 3, 7, 7), blocks.group_1.block_1.res_path.conv_1.w, ..., blocks.output.conv.w (8192, 2048, 1, 1))")
"""What there may be at a place, in the words of an error."""

FILES = ("pytorch_model.bin", "encoder.pt", "encoder.pth", "encoder.safetensors", "encoder.pkl")
"""What is looked for in a folder that is no run's."""

DALLE_VALUES = (0.1, 0.9)
SIGNED = (-1.0, 1.0)


class Tokenizer(nn.Module):
    """vocabulary: codes, K; stride: pixels a side that a code stands for; values: (low, high) of the pictures it was trained on;
    name: what it is, in a few words. In evaluation mode, no weight trains, on the CPU until it is moved."""

    def __init__(self, network: DiscreteVAE | DalleEncoder, stride: int, values: tuple[float, float], name: str) -> None:
        super().__init__()
        self.network, self.vocabulary, self.stride = network, network.vocabulary, stride
        self.values, self.name, self._looked = values, name, False
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def codes(self, images: Tensor) -> Tensor:
        """images (N, C, h, w), valued as its own were, to (N, h / stride, w / stride) int64: the likeliest code of each place, in
        full precision whatever the method's. Raises ValueError, one line, on a size that is no whole number of codes and, the
        first time, on other values."""
        height, width = images.shape[2:]
        if height % self.stride or width % self.stride:
            raise ValueError(f"{self.name} makes a code of {self.stride} x {self.stride} px, which do not divide views of "
                             f"{height} x {width} px; use a side that {self.stride} divides")
        if not self._looked:
            refuse_values(images, *self.values, "target", self.name)
            self._looked = True
        with torch.autocast(images.device.type, enabled=False):
            if isinstance(self.network, DiscreteVAE):
                return self.network.codes(images.float())
            found: Tensor = self.network(images.float()).argmax(1)
            return found

    def paint(self, codes: Tensor) -> Tensor | None:
        """codes (N, rows, columns) to pictures (N, C, h, w), valued as its own; None where it has no decoder."""
        return self.network.paint(codes) if isinstance(self.network, DiscreteVAE) else None

    def train(self, mode: bool = True) -> Tokenizer:
        """It stays in evaluation mode, whatever the method around it does."""
        super().train(False)
        return self


def open_tokenizer(where: str, *, pickled: bool = False) -> Tokenizer:
    """The tokenizer at a local place, one of LAYOUTS; nothing is fetched.

    Only tensors and plain data are read, never code. DALL-E's own encoder.pkl is a pickled module instead: pickled=True reads
    that too, which RUNS WHATEVER CODE THE FILE HOLDS, so it is for files whose origin is known; `dall_e` and `attrs` must be
    installed. Raises ValueError, one line, where there is no tokenizer.
    """
    place = Path(where)
    if place.is_dir():
        run = checkpoint.at(place)
        if run is not None:
            return _of_run(*run)
        path = next((place / name for name in FILES if (place / name).is_file()), None)
        if path is None:
            raise ValueError(f"tokenizer {where}: the folder holds none; give {LAYOUTS}")
    elif place.is_file():
        path = place
    else:
        raise ValueError(f"tokenizer {where}: there is no such folder or file; give {LAYOUTS}")
    state = _read(path, pickled)
    if "method" in state and "draw_version" in state:
        return _of_run(path, checkpoint.load(path))
    inside = state.get("weights", state.get("state_dict", state))
    named = inside.items() if isinstance(inside, Mapping) else ()
    weights = {str(name): value for name, value in named if isinstance(value, Tensor)}
    if "codebook.weight" in weights:
        return Tokenizer(*_customized(path, weights), SIGNED, f"{CUSTOMIZED} {path}")
    if "blocks.input.w" in weights:
        return Tokenizer(_dalle(path, weights), STRIDE, DALLE_VALUES, f"{DALLE} {path}")
    some = ", ".join(list(weights)[:2]) or f"no tensors, but {', '.join(map(str, list(state)[:3])) or 'nothing'}"
    raise ValueError(f"tokenizer {path} holds {some}; give {LAYOUTS}")


def _of_run(path: Path, state: Mapping[str, Any]) -> Tokenizer:
    from . import build, method_info

    if state["method"] != "dvae":
        raise ValueError(f"tokenizer {path} is a checkpoint of {state['method']}; give {RUN}")
    recipe = Recipe.from_dict(state["recipe"])
    instance = recipe.instances[0]
    normalize = next((op for op in instance.ops if isinstance(op, Normalize)), Normalize(kind="none"))
    gain, offset = normalize.affine(instance.channels)
    ends = [float(each) for channel in zip(gain, offset, strict=True) for each in (channel[1], 255 * channel[0] + channel[1])]
    try:
        method: Any = build("dvae", method_info("dvae").config(**state["config"]["model"]), image_px=instance.size_hw[0],
                            in_chans=instance.channels)
        method.load_state_dict(state["model"])
    except (TypeError, RuntimeError) as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"tokenizer {path}, by viewmill {state['viewmill']}, does not fit this version's dvae: "
                         f"{first}") from error
    return Tokenizer(method.vae, method.vae.stride, (min(ends), max(ends)), f"dvae of {path.parent.parent}")


def _customized(path: Path, weights: Mapping[str, Tensor]) -> tuple[DiscreteVAE, int]:
    if "encoder.1.0.weight" in weights:
        raise ValueError(f"tokenizer {path} has its strided convolutions first, as DALLE-pytorch orders them, which is another "
                         f"network; give {LAYOUTS}")
    try:
        sizes: Any = DiscreteVAE.sizes_of(weights)
    except KeyError as error:
        raise ValueError(f"tokenizer {path} has no {error.args[0]}; give {LAYOUTS}") from None
    network = DiscreteVAE(**sizes)
    _fill(network, path, weights)
    return network, network.stride


def _dalle(path: Path, weights: Mapping[str, Tensor]) -> DalleEncoder:
    try:
        network = DalleEncoder.of(weights)
    except KeyError as error:
        raise ValueError(f"tokenizer {path} has no {error.args[0]}; give {LAYOUTS}") from None
    _fill(network, path, weights)
    return network


def _fill(network: nn.Module, path: Path, weights: Mapping[str, Tensor]) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = " ".join(str(error).split()).partition(": ")[2]
        raise ValueError(f"tokenizer {path} does not fit: {first[:160]}; give {LAYOUTS}") from error


def _read(path: Path, pickled: bool) -> dict[str, Any]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if not pickled:
            raise ValueError(f"tokenizer {path} cannot be read as tensors and plain data ({type(error).__name__}); DALL-E's own "
                             "encoder.pkl is a pickled module, and opening it runs whatever code it holds: save its state_dict() "
                             "where you trust it, or give pickled=true (of a method, model.tokenizer_pickled=true)") from error
        state = _unpickled(path)
    if not isinstance(state, Mapping):
        raise ValueError(f"tokenizer {path} holds a {type(state).__name__}; give {LAYOUTS}")
    return dict(state)


def _unpickled(path: Path) -> Any:
    """Runs the file's code: only ever on request."""
    try:
        module = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"tokenizer {path} cannot be unpickled ({type(error).__name__}: {reason}); a whole one of DALL-E's "
                         "needs the packages dall_e and attrs, and an HTML page or a log that a download left is none") from error
    return module.state_dict() if isinstance(module, nn.Module) else module
