"""Published checkpoints of DINO, MAE, MoCo v3, BEiT, iBOT, SimMIM, Barlow Twins, VICReg and SwAV: told by names, and opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..method import Method
from ..vit import features_of, open_to_sizes
from ..weight_files import FOLLOWS, groups
from .layouts import LAYOUTS, Family, Layout, Place, layout_of
from .networks import plain_vit, relative_vit, resnet, swin

__all__ = ["KNOWN", "Published", "find"]

KNOWN = ", ".join(sorted(layout.who for layout in LAYOUTS))

_KIND = {"plain_vit": "vit_base_patch16_224", "relative_vit": "beit_base_patch16_224", "swin": "swin_base_patch4_window7_224"}


@dataclass(frozen=True)
class PublishedConfig:
    """What features depend on besides the weights; it is part of the encoder's fingerprint."""

    who: str
    pooling: str


class Published(Method):
    """A network from a published file, to be judged. layout: whose it is, and how its pictures are shown. image_px: the side that
    it was trained at. kind: of timm's names, one of a network of this kind, whose sizes need not be these."""

    encoder: Any

    def __init__(self, encoder: nn.Module, family: Family, layout: Layout) -> None:
        super().__init__()
        network: Any = encoder
        self.encoder = encoder
        self.family, self.layout = family, layout
        # Behind fc_norm, as fine-tuning leaves it, the network pools by itself.
        mean = layout.pooling == "mean" and family in ("plain_vit", "relative_vit") and isinstance(network.norm, nn.LayerNorm)
        self.config = PublishedConfig(layout.who, "mean" if mean else "own")
        self.feature_dim = int(network.num_features)
        self.image_px = int(network.patch_embed.img_size[0]) if family != "resnet" else 224
        self.kind = _KIND.get(family) or _resnet_kind(network)
        open_to_sizes(encoder)

    def forward(self, batch: Any) -> dict[str, Tensor]:
        raise RuntimeError("a published network is judged here, not pretrained on")

    def features(self, images: Tensor) -> Tensor:
        network: Any = self.encoder
        if self.config.pooling == "mean":
            tokens: Tensor = network.forward_features(images)
            return tokens[:, int(network.num_prefix_tokens) :].mean(1)
        return features_of(network, images)

    @property
    def takes_other_sizes(self) -> bool:
        """Not with relative positions, which are for one number of patches."""
        return self.family != "relative_vit"

    @property
    def about(self) -> str:
        """In a few words: whose, and what."""
        network: Any = self.encoder
        if self.family == "resnet":
            what = _resnet_name(network)
        elif self.family == "swin":
            what = f"a Swin of width {network.embed_dim}"
        else:
            what = (f"a ViT of width {network.embed_dim}, {len(network.blocks)} blocks of {network.blocks[0].attn.num_heads} "
                    f"heads and patches of {network.patch_embed.patch_size[0]} px")
        return f"{self.layout.who}'s {what.removeprefix('a ')}" if self.layout.who else what


def find(state: Mapping[str, Any], key: str | None = None) -> tuple[Published, str] | None:
    """The network that a file's evaluation is about, and the name of the part it lies in, "" for the top; None where the file
    holds none of a known kind. key: of the parts, only that one.

    Raises ValueError with the first weight that is missing or has another shape, in the words of `networks`.
    """
    parts = groups(state)
    if key is not None and key not in parts:
        raise ValueError(f"weights_key={key}: there is no such part; it has {', '.join(name or 'only one' for name in parts)}")
    for part, tensors in parts.items():
        if key is not None and part != key:
            continue
        for place in sorted(_places(tensors), key=lambda at: (any(w in at.prefix for w in FOLLOWS), len(at.prefix), at.prefix)):
            own = {name.removeprefix(place.prefix): value for name, value in tensors.items() if name.startswith(place.prefix)}
            layout = layout_of(place)
            return Published(_network(place.family, own, layout), place.family, layout), part
    return None


def _places(tensors: Mapping[str, Tensor]) -> Iterator[Place]:
    names = frozenset(tensors)
    for name in names:
        if name.endswith("patch_embed.proj.weight"):
            prefix = name.removesuffix("patch_embed.proj.weight")
            if f"{prefix}layers.0.blocks.0.attn.qkv.weight" in names:
                yield Place(prefix, names, "swin")
            elif f"{prefix}blocks.0.attn.q_bias" in names or any(
                    f"{prefix}{table}.relative_position_bias_table" in names for table in ("rel_pos_bias", "blocks.0.attn")):
                yield Place(prefix, names, "relative_vit")
            elif f"{prefix}blocks.0.attn.qkv.weight" in names:
                yield Place(prefix, names, "plain_vit")
        elif name.endswith("layer1.0.conv1.weight"):
            prefix = name.removesuffix("layer1.0.conv1.weight")
            if f"{prefix}conv1.weight" in names and f"{prefix}layer4.0.conv1.weight" in names:
                yield Place(prefix, names, "resnet")


def _network(family: Family, own: Mapping[str, Tensor], layout: Layout) -> nn.Module:
    try:
        if family == "plain_vit":
            return plain_vit(own, dict(layout.heads).get(own["patch_embed.proj.weight"].shape[0]))
        build: dict[str, Callable[[Mapping[str, Tensor]], nn.Module]] = {"relative_vit": relative_vit, "swin": swin,
                                                                         "resnet": resnet}
        return build[family](own)
    except KeyError as error:
        raise ValueError(f"{error} is missing") from error


def _resnet_depth(network: Any) -> int:
    blocks = sum(len(stage) for stage in (network.layer1, network.layer2, network.layer3, network.layer4))
    return 2 + blocks * (3 if hasattr(network.layer1[0], "conv3") else 2)


def _resnet_name(network: Any) -> str:
    width = network.num_features / (2048 if hasattr(network.layer1[0], "conv3") else 512)
    return f"ResNet-{_resnet_depth(network)}" + (f" of {width:g} times the width" if width != 1 else "")


def _resnet_kind(network: Any) -> str:
    depth = _resnet_depth(network)
    return f"resnet{depth}" if depth in (18, 34, 50, 101, 152, 200) else (
        "resnet50" if hasattr(network.layer1[0], "conv3") else "resnet18")
