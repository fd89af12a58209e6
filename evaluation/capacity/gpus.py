"""GPUs as data: what their makers publish, and which share of it published runs came to."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class GPU:
    """half, tf32, single: dense operations a second at most, in bf16 or fp16, in TensorFloat-32 (0: there is none), in float32.
    bf16: whether it multiplies in bfloat16. bandwidth: bytes a second of its memory. memory_gib: how much of it. decoders: JPEG
    engines; decode: images a second that they were seen to decode, 0 where nobody published it. cores: of the node that its maker
    builds of 8, physical ones. reach: which share of the roofline (see `needs.roofline`) a published run came to.
    """

    name: str
    half: float
    tf32: float
    single: float
    bf16: bool
    bandwidth: float
    memory_gib: float
    decoders: int
    decode: float
    cores: int
    reach: float
    source: str = field(repr=False)
    decode_source: str = field(repr=False)
    cores_source: str = field(repr=False)
    reach_source: str = field(repr=False)


_A100 = {
    "half": 312e12, "tf32": 156e12, "single": 19.5e12, "bf16": True, "decoders": 5, "decode": 8000.0, "cores": 128, "reach": 0.77,
    "source": "NVIDIA, A100 Tensor Core GPU data sheet, SXM",
    "decode_source": "one A100, images of 0.37 megapixels on average: pytorch/vision pull request 8496",
    "cores_source": "NVIDIA DGX A100, two EPYC 7742",
    "reach_source": "DINOv2's ViT-L/16, 125,000 steps of 2,048 images in about a day on 32 A100-80GB: facebookresearch/dinov2, "
                    "README",
}
_HOPPER = {
    "half": 989e12, "tf32": 494e12, "single": 67e12, "bf16": True, "decoders": 7, "decode": 11200.0, "cores": 112, "reach": 0.58,
    "decode_source": "an A100's 8,000 times 7/5, its engines over an A100's: computed, and the number of engines is unverified",
    "cores_source": "NVIDIA DGX H100 and H200, two Xeon 8480C",
    "reach_source": "DINOv3's ViT-L/16 on ImageNet-1k, about 14 hours on 32 H100, counted as DINOv2's step: "
                    "facebookresearch/dinov3, README; by the seconds a step in its configuration's header it would be 0.41",
}

GPUS: dict[str, GPU] = {gpu.name: gpu for gpu in (
    GPU("v100", 125e12, 0.0, 15.7e12, False, 900e9, 32, 0, 0.0, 40, 0.33, "NVIDIA, Tesla V100 data sheet, SXM2 of 32 GB",
        "no JPEG engine; its hybrid decoder's rate is published nowhere that was looked", "NVIDIA DGX-1, two Xeon E5-2698 v4",
        "DINO's ViT-S/16, 100 epochs in 1.75 days on 8 GPUs: facebookresearch/dino, README, which does not say which GPUs"),
    GPU(name="a100-40", bandwidth=1555e9, memory_gib=40, **_A100),  # type: ignore[arg-type]
    GPU(name="a100-80", bandwidth=2039e9, memory_gib=80, **_A100),  # type: ignore[arg-type]
    GPU(name="h100", bandwidth=3350e9, memory_gib=80, source="NVIDIA, H100 Tensor Core GPU data sheet, SXM",
        **_HOPPER),  # type: ignore[arg-type]
    GPU(name="h200", bandwidth=4800e9, memory_gib=141, source="NVIDIA, H200 Tensor Core GPU data sheet, SXM",
        **_HOPPER),  # type: ignore[arg-type]
)}


def gpu_of(name: str) -> GPU:
    """Raises ValueError for an unknown one, naming those there are."""
    if name.lower() not in GPUS:
        close = difflib.get_close_matches(name.lower(), GPUS, 1, 0.5)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ValueError(f"gpu={name} is not known; {hint}use one of {', '.join(GPUS)}")
    return GPUS[name.lower()]
