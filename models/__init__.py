"""Methods by name, with what their papers published; torch and the method itself load when one is built."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .method import Method


@dataclass(frozen=True)
class MethodInfo:
    """What is known of a method without loading it.

    module, cls: where its class is; CLSConfig beside it are its own fields. recipe, recipe_32px: names of its views, at the
    published size and for 32 px images; fields_32px: its own fields for such images, as its authors or, for MAE, we set them.
    published: a run's numbers (epochs, batch_size over all ranks, recipe, clip_grad, optimizer, schedule), as the paper's
    main experiment on ImageNet has them.
    """

    name: str
    module: str
    cls: str
    paper: str
    recipe: str
    recipe_32px: str
    published: dict[str, Any] = field(repr=False)
    fields_32px: dict[str, Any] = field(default_factory=dict, repr=False)

    def load(self) -> type[Method]:
        loaded: type[Method] = getattr(import_module(f".{self.module}", __name__), self.cls)
        return loaded

    def config(self, **fields: Any) -> Any:
        """The method's own fields at their published values, but for those given."""
        return getattr(import_module(f".{self.module}", __name__), f"{self.cls}Config")(**fields)


METHODS: dict[str, MethodInfo] = {
    info.name: info
    for info in (
        MethodInfo(
            name="simclr", module="simclr", cls="SimCLR", recipe="simclr", recipe_32px="simclr_cifar",
            paper="Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations, arXiv:2002.05709",
            published={
                "epochs": 100, "batch_size": 4096, "recipe": "simclr", "clip_grad": None,
                # 0.075 * sqrt(4096) = 0.3 * 4096 / 256 = 4.8; in smaller batches the paper's root rule learns better.
                "optimizer": {"name": "lars", "lr": 0.075, "scaling": "sqrt", "weight_decay": 1e-6, "momentum": 0.9,
                              "exclude": "norm-and-bias"},
                "schedule": {"warmup_epochs": 10, "final_lr": 0.0},
            },
            fields_32px={"backbone": "resnet18", "temperature": 0.5},
        ),
        MethodInfo(
            name="mae", module="mae", cls="MAE", recipe="mae", recipe_32px="mae_cifar",
            paper="He et al. 2021, Masked Autoencoders Are Scalable Vision Learners, arXiv:2111.06377",
            published={
                "epochs": 800, "batch_size": 4096, "recipe": "mae", "clip_grad": None,
                "optimizer": {"name": "adamw", "lr": 1.5e-4, "scaling": "linear", "weight_decay": 0.05, "betas": (0.9, 0.95),
                              "exclude": "norm-and-bias"},
                "schedule": {"warmup_epochs": 40, "final_lr": 0.0},
            },
            fields_32px={"backbone": "vit_tiny_patch16_224", "patch_px": 4, "decoder_dim": 96, "decoder_depth": 2,
                         "decoder_heads": 3},
        ),
    )
}


def method_info(name: str) -> MethodInfo:
    """Raises ValueError for an unknown method, naming the nearest."""
    if name not in METHODS:
        close = difflib.get_close_matches(name, METHODS, 1, 0.5)
        raise ValueError(f"unknown method {name!r}; {f'did you mean {close[0]!r}?' if close else 'known: ' + ', '.join(METHODS)}")
    return METHODS[name]


def build(name: str, config: Any = None, *, image_px: int, in_chans: int = 3) -> Method:
    """A method, untrained, for views of image_px x image_px. config: its own fields, by default the published ones.

    Raises ValueError, one line: an unknown method, a backbone or an image size that do not fit.
    """
    info = method_info(name)
    fields = info.config() if config is None else config
    if not isinstance(fields, type(info.config())):
        raise ValueError(f"{name} needs its own fields, {info.cls}Config, got {type(fields).__name__}")
    return info.load()(fields, image_px=image_px, in_chans=in_chans)
