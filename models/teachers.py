"""Frozen networks whose tokens a method predicts: of a run of this program, of CLIP, or of timm, from local files alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .attention import tokens_and_attention
from .ema import follow, follower, rising_momentum
from .training import checkpoint
from .training.bounds import from_0_to_1, whole
from .training.config import key
from .vit import is_plain_vit, one_line, open_to_sizes, tokens, vit_of
from .weight_files import FOLLOWS, groups, read_weights

OWN = "own"
Activation = Literal["auto", "gelu", "quick_gelu"]

LAYOUT = (
    "a teacher is (1) a run's folder or one of its checkpoints, of a method whose encoder is a plain ViT with class token; (2) "
    "OpenAI's CLIP, its TorchScript archive or its state dict, or open_clip's: visual.conv1.weight (D, 3, p, p), "
    "visual.class_embedding (D), visual.positional_embedding (1 + L, D), visual.ln_pre.*, "
    "visual.transformer.resblocks.N.{ln_1,attn.in_proj_weight,attn.in_proj_bias,attn.out_proj,ln_2,mlp.c_fc,mlp.c_proj}, "
    "visual.ln_post.*, visual.proj (D, T); (3) a plain ViT of timm's, DINO's or MAE's: patch_embed.proj.*, cls_token, pos_embed, "
    "blocks.N.{norm1,attn.qkv,attn.proj,norm2,mlp.fc1,mlp.fc2}, norm; as .pt, .pth, .bin or .safetensors")
"""What files may look like; behind any prefix, such as module., and inside a dictionary, such as teacher or state_dict."""

_OPENAI = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's archives hold beside the weights, and no other."""
_HEADS = {1280: 16, 1408: 16}
"""Of ViT-H and ViT-g; all other published widths have 64 channels a head."""
_FROM_CLIP = (("transformer.resblocks.", "blocks."), (".ln_1.", ".norm1."), (".ln_2.", ".norm2."),
              (".attn.in_proj_", ".attn.qkv."), (".attn.out_proj.", ".attn.proj."), (".mlp.c_fc.", ".mlp.fc1."),
              (".mlp.c_proj.", ".mlp.fc2."), ("ln_pre.", "norm_pre."), ("ln_post.", "norm."), ("conv1.", "patch_embed.proj."))


@dataclass(frozen=True)
class TeacherConfig:
    """Keys of the methods that have such a teacher."""

    teacher: str | None = key("whose tokens are predicted: a run's folder or checkpoint, a file of CLIP's, open_clip's or timm's "
                              "weights; own: a moving average of the encoder itself, which needs no file; null: none yet", None)
    target_dim: int | None = key("width of its tokens, behind CLIP's projection; null: that of the encoder", None)
    teacher_activation: Literal["auto", "gelu", "quick_gelu"] = key(
        "of a CLIP's blocks, which no file says: quick_gelu (OpenAI's weights), gelu (open_clip's own); auto: quick_gelu of "
        "OpenAI's archive, gelu of what is no CLIP", "auto")
    teacher_heads: int | None = key("attention heads of a file's network, which it does not say; null: one of 64 channels "
                                    "each, 16 of ViT-H and ViT-g", None)
    teacher_momentum: float = key("own: of the moving average at first; half a cosine brings it to 1", 0.996)

    def __post_init__(self) -> None:
        whole(self, "target_dim", "teacher_heads")
        from_0_to_1(self, "teacher_momentum")


@dataclass(frozen=True)
class TeacherTokens:
    """Of N images: cls (N, T), patches (N, L, T), row by row, after the last norm and the projection where there is one;
    attention (N, L) float32: the share of the class token's attention in the last block that each patch has, mean over heads;
    None where it was not asked for. Without a gradient."""

    cls: Tensor
    patches: Tensor
    attention: Tensor | None


class Teacher(nn.Module):
    """A plain vision transformer with class token, always in evaluation mode, no weight of which trains. name: for errors.

    projection: what its tokens go through, such as CLIP's into the space that it shares with texts; None: nothing. Raises
    ValueError, one line, for any other network.
    """

    def __init__(self, vit: nn.Module, projection: nn.Linear | None, name: str) -> None:
        super().__init__()
        network: Any = vit
        if not is_plain_vit(vit) or network.cls_token is None or not isinstance(network.norm, nn.LayerNorm):
            raise ValueError(f"{name}: a teacher needs to be a plain ViT with a class token, whose norm comes before any "
                             f"pooling, got {type(vit).__name__}; {LAYOUT}")
        open_to_sizes(vit)
        self.vit, self.projection, self.name = network, projection, name
        self.dim = int(network.embed_dim if projection is None else projection.out_features)
        self.patch_px = int(network.patch_embed.patch_size[0])
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Teacher:
        """In evaluation mode whatever the method around it is in."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor, grid: tuple[int, int], *, attention: bool = False) -> TeacherTokens:
        """images (N, C, H, W), of which grid says the rows and columns of patches that are asked for. Raises ValueError, one
        line, where this network would make others."""
        height, width = images.shape[2:]
        if (height, width) != (grid[0] * self.patch_px, grid[1] * self.patch_px):
            raise ValueError(f"teacher {self.name} has patches of {self.patch_px} px and sees {height} x {width} px; for the "
                             f"{grid[0]} x {grid[1]} patches of the encoder it needs {grid[0] * self.patch_px} x "
                             f"{grid[1] * self.patch_px} px: set model.patch_px, or size_px of the views that it sees")
        shares: Tensor | None = None
        if attention:
            x, of_heads = tokens_and_attention(self.vit, images)
            shares = of_heads.mean(1).flatten(1)
        else:
            with one_line(self.vit, images):
                x = tokens(self.vit, images)
        x = x if self.projection is None else self.projection(x)
        return TeacherTokens(x[:, 0], x[:, int(self.vit.num_prefix_tokens) :], shares)


class ChosenTeacher(nn.Module):
    """The teacher that a method's configuration names. One of a file is opened when it is first needed, and again by a resumed
    run: it is no part of the method's state, so that checkpoints stay small and what is only judged needs none. dim: T of its
    tokens.
    """

    def __init__(self, config: TeacherConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        width: Any = encoder.embed_dim
        self.dim = config.target_dim or int(width)
        self.average = Teacher(follower(encoder), None, OWN) if config.teacher == OWN else None
        self._opened: list[Teacher] = []  # a list hides it from the state dict
        if self.average is not None:
            self._refuse_other_width(self.average)

    def forward(self, images: Tensor, grid: tuple[int, int], *, attention: bool = False) -> TeacherTokens:
        teacher = self.open()
        if next(teacher.parameters()).device != images.device:
            teacher.to(images.device)
        told: TeacherTokens = teacher(images, grid, attention=attention)
        return told

    def follow(self, encoder: nn.Module, progress: float) -> None:
        """After a step: the moving average moves; a frozen teacher stays."""
        if self.average is not None:
            follow(self.average.vit, encoder, rising_momentum(self.config.teacher_momentum, progress))

    def open(self) -> Teacher:
        """Raises ValueError, one line, where there is none, none can be read, or its tokens have another width."""
        if self.average is not None:
            return self.average
        if not self._opened:
            of = self.config
            if of.teacher is None:
                raise ValueError(f"this method needs model.teacher=PATH, or model.teacher={OWN}, a moving average of the encoder "
                                 f"itself; {LAYOUT}")
            teacher = open_teacher(of.teacher, activation=of.teacher_activation, heads=of.teacher_heads)
            self._refuse_other_width(teacher)
            self._opened.append(teacher)
        return self._opened[0]

    def _refuse_other_width(self, teacher: Teacher) -> None:
        if teacher.dim != self.dim:
            raise ValueError(f"teacher {teacher.name} has tokens of width {teacher.dim}, and model.target_dim is {self.dim}; set "
                             f"model.target_dim={teacher.dim}")


def open_teacher(where: str, *, activation: Activation = "auto", heads: int | None = None) -> Teacher:
    """The teacher in a run's folder, one checkpoint of it, or a file of weights; see LAYOUT. Nothing that a file names is run.
    activation, heads: of a file's network, see `TeacherConfig`. Raises ValueError, one line, where it cannot be had."""
    path = Path(where)
    if path.is_dir():
        found = checkpoint.at(path)
        if found is None:
            raise ValueError(f"{path} holds no checkpoint of a run; {LAYOUT}")
        return _of_run(*found)
    if not path.is_file():
        raise ValueError(f"there is no teacher {where}; {LAYOUT}")
    state = read_weights(path)
    if "method" in state and "draw_version" in state:
        return _of_run(path, state)
    return _of_file(path, state, activation, heads)


def _of_run(path: Path, state: Mapping[str, Any]) -> Teacher:
    from .restored import restored  # which knows all methods, of which the one that asks is one

    return Teacher(restored(path, state)[0].encoder, None, f"{state['method']} of {path}")


def _of_file(path: Path, state: Mapping[str, Any], activation: Activation, heads: int | None) -> Teacher:
    try:
        for part, tensors in groups(state).items():
            for named, projection in _networks(tensors):
                return _assembled(path, part, tensors, named, projection, activation, heads)
    except KeyError as error:
        raise ValueError(f"{path} lacks {error}; {LAYOUT}") from error
    raise ValueError(f"{path} holds no vision transformer that could teach; {LAYOUT}")


def _networks(tensors: Mapping[str, Tensor]) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """The vision transformers in a group of tensors, under timm's names, the likeliest first, each with the weight and the bias
    of its projection, where there is one."""
    found: list[tuple[tuple[bool, int], dict[str, Tensor], dict[str, Tensor]]] = []
    for end in ("class_embedding", "patch_embed.proj.weight"):
        for prefix in [name.removesuffix(end) for name in tensors if name == end or name.endswith("." + end)]:
            inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            named, projection = _of_clip(inside) if end == "class_embedding" else _of_timm(inside, prefix, tensors)
            found.append(((any(word in prefix for word in FOLLOWS), len(prefix)), named, projection))
    return [(named, projection) for _, named, projection in sorted(found, key=lambda each: each[0])]


def _of_clip(inside: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    named: dict[str, Tensor] = {}
    for old, value in inside.items():
        name = old
        for theirs, ours in _FROM_CLIP:
            name = name.replace(theirs, ours)
        named[name] = value
    projection = {"weight": named.pop("proj").T.contiguous()} if "proj" in named else {}
    named["cls_token"] = named.pop("class_embedding")[None, None]
    named["pos_embed"] = named.pop("positional_embedding")[None]
    return named, projection


def _of_timm(inside: Mapping[str, Tensor], prefix: str, tensors: Mapping[str, Tensor]
             ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    own = ("cls_token", "reg_token", "pos_embed", "patch_embed.", "norm", "blocks.", "attn_pool.")
    named = {name: value for name, value in inside.items() if name.startswith(own)}
    if "register_tokens" in inside:  # DINOv2's own files, whose class token alone has a position beside the patches
        first = named["pos_embed"][:, :1]
        named |= {"reg_token": inside["register_tokens"], "cls_token": named["cls_token"] + first,
                  "pos_embed": named["pos_embed"][:, 1:]}
    # A classifier's head is none of its features; CLIP's is their projection.
    outside = prefix.removesuffix("trunk.") + "head.proj." if prefix.endswith("trunk.") else prefix + "head."
    head = {name: tensors[outside + name] for name in ("weight", "bias") if outside + name in tensors}
    return named, head if "norm_pre.weight" in named or prefix.endswith("trunk.") else {}


def _assembled(path: Path, part: str, tensors: Mapping[str, Tensor], named: dict[str, Tensor], projection: dict[str, Tensor],
               activation: Activation, heads: int | None) -> Teacher:
    name = f"{path.name} ({part})" if part else path.name
    clip, width, places = "norm_pre.weight" in named, int(named["cls_token"].shape[-1]), int(named["pos_embed"].shape[1])
    if clip and activation == "auto":
        if not any(number in tensors for number in _OPENAI):
            raise ValueError(f"{path} is a CLIP's, which does not say its activation: set model.teacher_activation=quick_gelu "
                             "for OpenAI's weights and those trained like them, gelu for open_clip's own")
        activation = "quick_gelu"
    patch = named["patch_embed.proj.weight"].shape
    numbers = {int(each.split(".")[1]) for each in named if each.startswith("blocks.")}
    front = 1 + (int(named["reg_token"].shape[1]) if "reg_token" in named else 0)
    side = isqrt(places)
    side = side if side * side == places else isqrt(max(places - front, 0))
    if places not in (side * side, side * side + front) or len(patch) != 4 or patch[2] != patch[3] or not numbers:
        raise ValueError(f"{path} holds positions for {places} tokens and patches of {tuple(patch)}, and a teacher needs "
                         f"square ones in a square; {LAYOUT}")
    heads = heads or _HEADS.get(width) or max(width // 64, 1)
    if width % heads:
        raise ValueError(f"{path} has a width of {width}, which {heads} heads do not divide; set model.teacher_heads")
    try:
        vit = vit_of(named, patch_px=int(patch[2]), side=side, depth=max(numbers) + 1, heads=heads, eps=1e-5 if clip else 1e-6,
                     activation="quick_gelu" if activation == "quick_gelu" else "gelu")
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {LAYOUT}") from error
    return Teacher(vit, _linear(projection), name)


def _linear(weights: Mapping[str, Tensor]) -> nn.Linear | None:
    if "weight" not in weights:
        return None
    out, width = weights["weight"].shape
    layer = nn.Linear(width, out, bias="bias" in weights)
    with torch.no_grad():
        for name, value in weights.items():
            getattr(layer, name).copy_(value)
    return layer
