"""The keys of fine-tuning on few labels: published numbers for 1 % and for 10 %, and a rate of the new head's own."""

# ruff: noqa: RUF009 (key() gives a dataclass field)
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ...augment.op import nearest
from ...models.training.config import key
from ..finetune.config import TUNINGS, FinetuneConfig, Tuning
from ..labels import check_labels


def _of(name: str, **more: Any) -> Tuning:
    return replace(TUNINGS[name], **more)


_SGD: dict[str, Any] = {"optimizer": "sgd", "scaling": "none", "epochs": 20, "steps_at": (), "law": "cosine"}
_SWAV: dict[str, Any] = {**_SGD, "law": "steps", "steps_at": (12, 16), "step_factor": 0.2}

# The trunk's and the head's rates by evaluate.py of Barlow Twins and VICReg, whose heads begin with a deviation of 0.01; SwAV's
# begins with PyTorch's, nearly the same. "_1" is meant for 1 % of ImageNet's labels, "_10" for 10 %.
SEMI: dict[str, Tuning] = {
    "small_1": _of("small", source="ours: few small pictures", lr=3e-3, batch_size=64, epochs=40),
    "small_10": _of("small", source="ours: some more", lr=3e-3, epochs=15),
    "swav_1": _of("resnet", source="facebookresearch/swav eval_semisup.py", lr=0.02, head_lr=5.0, **_SWAV),
    "swav_10": _of("resnet", source="facebookresearch/swav eval_semisup.py", lr=0.01, head_lr=0.2, **_SWAV),
    "barlow_twins_1": _of("resnet", source="facebookresearch/barlowtwins evaluate.py", lr=0.005, head_lr=0.5, **_SGD),
    "vicreg_1": _of("resnet", source="facebookresearch/vicreg README", lr=0.03, head_lr=0.08, **_SGD),
    "vicreg_10": _of("resnet", source="facebookresearch/vicreg README", lr=0.01, head_lr=0.1, **_SGD),
    "simclr_v2_1": _of("simclr_v2"),
}
FAMILIES = tuple(dict.fromkeys(name.rpartition("_")[0] for name in SEMI))


def numbers(protocol: str, share: float) -> str:
    """Of SEMI's the one that a protocol means for a share of the labels: "swav": swav_1 up to 3 %, swav_10 above; of one that
    published a single set of numbers, that; "swav_10" itself for any share. Raises ValueError for an unknown one."""
    if protocol in SEMI:
        return protocol
    if protocol not in FAMILIES:
        raise ValueError(f"unknown protocol {protocol!r}; {nearest(protocol, [*FAMILIES, *SEMI])}")
    there = [name for name in SEMI if name.rpartition("_")[0] == protocol]
    return there[0] if share <= 0.03 else there[-1]


@dataclass(frozen=True)
class FewLabelsConfig(FinetuneConfig):
    """One fine-tuning: labels a share or a list of keys."""

    published: ClassVar[dict[str, Tuning]] = SEMI

    protocol: str = "small_1"


@dataclass(frozen=True)
class SemiConfig(FewLabelsConfig):
    protocol: str = key(f"whose numbers stand where a key is null: {', '.join(FAMILIES)}, by the share of the labels; or one of "
                        f"{', '.join(SEMI)}", "small")
    labels: Any = key("shares of each class whose labels are used, or files of keys, one a line, as SimCLR's imagenet_subsets "
                      "are: each is fine-tuned on by itself, and the first counts", (0.01, 0.1))
    per_class: tuple[int, ...] = key("in place of labels: so many pictures of each class", ())

    def __post_init__(self) -> None:
        if self.per_class and min(self.per_class) < 1:
            raise ValueError(f"per_class needs whole numbers of at least 1, got {list(self.per_class)}")
        if not self.per_class and not self.shares:
            raise ValueError("labels needs a share of each class at least, for example labels=[0.01,0.1]")
        for labels in self.shares:
            check_labels(labels, self.labels_seed)
            if labels is None:
                raise ValueError("labels=null are all, for which there is viewmill eval finetune; give labels=[0.01,0.1]")
        self.one(0.01)

    @property
    def shares(self) -> tuple[Any, ...]:
        """What labels= lists; none where per_class= stands in its place."""
        if self.per_class:
            return ()
        return tuple(self.labels) if isinstance(self.labels, list | tuple) else (self.labels,)

    def one(self, share: float) -> FewLabelsConfig:
        """Of one fine-tuning, on so large a share of the labels."""
        own = {name: value for name, value in vars(self).items() if name not in ("per_class", "labels")}
        return FewLabelsConfig(**{**own, "protocol": numbers(self.protocol, share)})
