"""solo-learn's augmentations: a list of views, each with sections of named numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..op import Op, UnsupportedRecipe, nearest
from ..ops import Blur, Crop, Equalize, Flip, Grayscale, Jitter, Normalize, Resize, Solarize
from ..ops.normalize import IMAGENET_MEAN, IMAGENET_STD

STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "stl10": ((0.4914, 0.4823, 0.4466), (0.247, 0.243, 0.261)),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
}
"""Mean and deviation by its name of the data."""

SECTIONS = {
    "rrc": ("enabled", "crop_min_scale", "crop_max_scale"),
    "color_jitter": ("prob", "brightness", "contrast", "saturation", "hue"),
    "grayscale": ("prob",),
    "gaussian_blur": ("prob",),
    "solarization": ("prob",),
    "equalization": ("prob",),
    "horizontal_flip": ("prob",),
}
NUMBERS = ("crop_size", "num_crops")


def views_of(augmentations: Any, dataset: str) -> list[tuple[Op, ...]]:
    """augmentations: a YAML file, its content, or a configuration with it under `augmentations`. In its order: crop, jitter,
    grayscale, blur, solarization, equalization, flip. Raises UnsupportedRecipe for a section or number that has no equal."""
    if dataset not in STATISTICS:
        raise ValueError(f"import_recipe: dataset {dataset!r} has no mean and deviation here; "
                         f"{nearest(dataset, list(STATISTICS))}")
    where = "import_recipe"
    if isinstance(augmentations, str | Path):
        where, augmentations = str(augmentations), _read(Path(augmentations))
    if isinstance(augmentations, Mapping):
        augmentations = augmentations.get("augmentations", augmentations)
    if not isinstance(augmentations, list | tuple) or not augmentations:
        raise ValueError(f"{where}: needs a list of views, as solo-learn's augmentations are, got {type(augmentations).__name__}")
    views: list[tuple[Op, ...]] = []
    for number, view in enumerate(augmentations):
        views += [_ops(view, f"{where}: view {number}", dataset)] * int(view.get("num_crops", 1))
    return views


def _read(path: Path) -> Any:
    from omegaconf import OmegaConf

    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error


def _ops(view: Mapping[str, Any], where: str, dataset: str) -> tuple[Op, ...]:
    for name, section in view.items():
        if name not in SECTIONS and name not in NUMBERS:
            raise UnsupportedRecipe(f"{where}: {name} has no equal here; {nearest(str(name), [*SECTIONS, *NUMBERS])}")
        for key in section if isinstance(section, Mapping) else ():
            if key not in SECTIONS[name]:
                raise UnsupportedRecipe(f"{where}: {name}.{key} has no equal here; {nearest(str(key), list(SECTIONS[name]))}")
    if "crop_size" not in view:
        raise ValueError(f"{where}: crop_size is not stated")
    side, crop, jitter = int(view["crop_size"]), view.get("rrc", {}), view.get("color_jitter", {})
    chance = {name: float(view.get(name, {}).get("prob", 0)) for name in SECTIONS if name != "rrc"}
    mean, std = STATISTICS[dataset]
    first: Op = Resize(mode="short-side", side_px=side, filter="bicubic", cubic_a=-0.5)
    if crop.get("enabled", True):
        scale = (float(crop.get("crop_min_scale", 0.08)), float(crop.get("crop_max_scale", 1.0)))
        first = Crop(size_px=side, scale=scale, filter="bicubic", cubic_a=-0.5)
    strengths: dict[str, Any] = {"hue_turns" if name == "hue" else name: float(jitter.get(name, 0))
                                 for name in SECTIONS["color_jitter"][1:]}
    ops: list[tuple[str, Op]] = [
        ("color_jitter", Jitter(p=chance["color_jitter"], **strengths)),
        ("grayscale", Grayscale(p=chance["grayscale"])),
        ("gaussian_blur", Blur(p=chance["gaussian_blur"], kind="pillow", sigma_px=(0.1, 2.0))),
        ("solarization", Solarize(p=chance["solarization"], threshold=128)),
        ("equalization", Equalize(p=chance["equalization"])),
        ("horizontal_flip", Flip(p=chance["horizontal_flip"])),
    ]
    return (first, *(op for name, op in ops if chance[name]), Normalize(kind="mean-std", mean=mean, std=std, space="unit"))
