"""A small CLIP: weights under OpenAI's names, an archive of them, and its picture tower written out in float64."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

WIDTH, HEADS, DEPTH, SIDE, PATCH, DIM = 128, 2, 2, 4, 4, 24


def clip_weights(numbers: bool = True, seed: int = 0) -> dict[str, Tensor]:
    """float32 by OpenAI's names, with a text tower's; numbers: with the three that only OpenAI's archives hold."""
    draw = torch.Generator().manual_seed(seed)

    def random(*shape: int, scale: float = 0.1) -> Tensor:
        return torch.randn(*shape, generator=draw) * scale

    weights = {"visual.conv1.weight": random(WIDTH, 3, PATCH, PATCH), "visual.class_embedding": random(WIDTH),
               "visual.positional_embedding": random(1 + SIDE**2, WIDTH), "visual.proj": random(WIDTH, DIM),
               "text_projection": random(6, 5), "positional_embedding": random(7, 6), "logit_scale": torch.tensor(4.6),
               "transformer.resblocks.0.ln_1.weight": random(6)}
    inside = [f"visual.transformer.resblocks.{i}.ln_{j}" for i in range(DEPTH) for j in (1, 2)]
    for norm in ("visual.ln_pre", "visual.ln_post", *inside):
        weights |= {f"{norm}.weight": 1 + random(WIDTH), f"{norm}.bias": random(WIDTH)}
    for i in range(DEPTH):
        block = f"visual.transformer.resblocks.{i}"
        weights |= {f"{block}.attn.in_proj_weight": random(3 * WIDTH, WIDTH, scale=0.2),
                    f"{block}.attn.in_proj_bias": random(3 * WIDTH),
                    f"{block}.attn.out_proj.weight": random(WIDTH, WIDTH), f"{block}.attn.out_proj.bias": random(WIDTH),
                    f"{block}.mlp.c_fc.weight": random(4 * WIDTH, WIDTH), f"{block}.mlp.c_fc.bias": random(4 * WIDTH),
                    f"{block}.mlp.c_proj.weight": random(WIDTH, 4 * WIDTH), f"{block}.mlp.c_proj.bias": random(WIDTH)}
    if numbers:
        weights |= {name: torch.tensor(n) for name, n in (("input_resolution", 16), ("context_length", 7), ("vocab_size", 9))}
    return weights


def modules_of(weights: dict[str, Tensor]) -> nn.Module:
    """Modules without a program that hold these weights by their dotted names."""
    root = nn.Module()
    for name, value in weights.items():
        *path, last = name.split(".")
        place = root
        for part in path:
            if part not in dict(place.named_children()):
                place.add_module(part, nn.Module())
            place = getattr(place, part)
        if value.is_floating_point():
            place.register_parameter(last, nn.Parameter(value, requires_grad=False))
        else:
            place.register_buffer(last, value)
    return root


def save_archive(weights: dict[str, Tensor], path: Path) -> None:
    """As TorchScript, as OpenAI hands its weights out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's, of TorchScript's end
        torch.jit.script(modules_of(weights)).save(str(path))


def clip_by_hand(weights: dict[str, Tensor], images: np.ndarray, quick: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """images (N, 3, 16, 16) to all tokens after the projection, (N, 1 + L, DIM), and to the class token's attention to patches
    in the last block, mean over heads, (N, L)."""
    w = {name: value.double().numpy() for name, value in weights.items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centered = x - x.mean(-1, keepdims=True)
        return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        return x / (1 + np.exp(-1.702 * x)) if quick else torch.nn.functional.gelu(torch.from_numpy(x)).numpy()

    tokens = []
    for image in images.astype(np.float64):
        rows = [w["visual.class_embedding"]]
        for y in range(0, SIDE * PATCH, PATCH):
            for x in range(0, SIDE * PATCH, PATCH):
                patch = image[:, y : y + PATCH, x : x + PATCH]
                rows.append((w["visual.conv1.weight"] * patch).sum((1, 2, 3)))
        tokens.append(np.stack(rows) + w["visual.positional_embedding"])
    x = norm(np.stack(tokens), "visual.ln_pre")
    for i in range(DEPTH):
        block = f"visual.transformer.resblocks.{i}"
        qkv = norm(x, f"{block}.ln_1") @ w[f"{block}.attn.in_proj_weight"].T + w[f"{block}.attn.in_proj_bias"]
        mixed, looked = [], []
        for head in range(HEADS):
            q, k, v = (qkv[..., part * WIDTH + head * 64 : part * WIDTH + head * 64 + 64] for part in range(3))
            scores = np.exp(q @ k.transpose(0, 2, 1) / 8)
            scores /= scores.sum(-1, keepdims=True)
            mixed.append(scores @ v)
            looked.append(scores[:, 0, 1:])
        x = x + np.concatenate(mixed, -1) @ w[f"{block}.attn.out_proj.weight"].T + w[f"{block}.attn.out_proj.bias"]
        hidden = gelu(norm(x, f"{block}.ln_2") @ w[f"{block}.mlp.c_fc.weight"].T + w[f"{block}.mlp.c_fc.bias"])
        x = x + hidden @ w[f"{block}.mlp.c_proj.weight"].T + w[f"{block}.mlp.c_proj.bias"]
    return norm(x, "visual.ln_post") @ w["visual.proj"], np.mean(looked, 0)
