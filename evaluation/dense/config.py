"""The keys of the dense tasks."""

# ruff: noqa: RUF009 (key() gives a dataclass field)
from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from ...augment.op import nearest
from ...models.training.config import key
from .schedules import DETECTION, SEGMENTATION, Detection, Schedule, Segmentation

Of = TypeVar("Of", bound=Schedule)


@dataclass(frozen=True)
class DenseConfig:
    """What both tasks are told."""

    data: Any = key("pictures to learn from: COCO's JSON of instances, or a list of a VOC folder, ImageSets/*/NAME.txt; several "
                    "as a list")
    test_data: Any = key("pictures to be tested on, in the same way")
    images: str | None = key("of COCO's JSON: the folder of the pictures; null: as COCO has it, train2017 beside annotations",
                             None)
    test_images: str | None = key("the same of test_data", None)
    out: str | None = key("folder of the results and of what an interrupted run goes on from; null: eval/ in the run's folder, "
                          "eval/NAME for other encoders", None)
    protocol: str = key("whose numbers stand where a key is null", "small")
    lr: float | None = key("rate of the uppermost layers; null: the published one, times batch_size over the published", None)
    batch_size: int | None = key("pictures a step, over all ranks together; the world size divides it", None)
    steps: int | None = key("how many; drops_at and warmup_steps keep their places in proportion", None)
    optimizer: Literal["sgd", "adamw"] | None = key("sgd with momentum 0.9, or adamw", None)
    law: Literal["steps", "poly", "cosine"] | None = key("of the rate", None)
    drops_at: tuple[int, ...] | None = key("law=steps: the steps after which the rate falls to a tenth", None)
    final_lr: float | None = key("law=poly and cosine: where it ends", None)
    warmup_steps: int | None = key("linear, from a thousandth", None)
    weight_decay: float | None = key("of weights; never of norms, positions and tokens", None)
    layer_decay: float | None = key("rate of a layer of the backbone over that of the layer above it; 1: all alike", None)
    drop_path: float | None = key("stochastic depth of the last block; it grows from 0 at the first", None)
    norms: Literal["batch", "frozen"] | None = key("batch norms of the backbone: trained, over all ranks; or as pretraining left "
                                                   "them", None)
    precise_bn: int | None = key("batches over which batch norm's statistics are measured anew after training; 0: none", None)
    backbone: str | None = key("the network that a file of weights belongs to", None)
    weights_key: str | None = key("which network of a file that holds several, for example teacher", None)
    image_px: int | None = key("side of the pictures that the encoder was trained on, of a file of weights or a name; null: 224",
                               None)
    pretrained: bool = key("of a name of timm's: its published weights; false: untrained", True)
    max_images: int | None = key("at most so many pictures to learn from, a fixed random part; null: all", None)
    max_test_images: int | None = key("at most so many pictures to be tested on, a fixed random part; null: all", None)
    save_minutes: float = key("minutes between two checkpoints", 10.0)
    seed: int = key("of orders, draws and first weights", 0)
    device: Literal["auto", "cpu", "cuda"] = key("auto: cuda where there is one", "auto")
    precision: Literal["auto", "fp32", "bf16"] = key("auto: bf16 autocast on CUDA, fp32 elsewhere", "auto")
    threads: int | None = key("threads that make pictures ready, of each rank; null: a share of its cores", None)
    torch_threads: int | None = key("threads of torch of each rank on the CPU; null: the cores that those leave", None)

    def __post_init__(self) -> None:
        for name in ("image_px", "max_images", "max_test_images", "threads", "torch_threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} needs a whole number of at least 1, got {value}")
        if self.seed < 0:
            raise ValueError(f"seed needs a whole number of at least 0, got {self.seed}")
        if not self.save_minutes > 0:
            raise ValueError(f"save_minutes needs a number above 0, got {self.save_minutes}")

    @property
    def of_voc(self) -> bool:
        """Whether the pictures to be tested on are of VOC's lists."""
        return lists(self.test_data)[0].endswith(".txt")


@dataclass(frozen=True)
class DetectionConfig(DenseConfig):
    neck: Literal["pyramid", "c4"] | None = key("pyramid: FPN, of a vision transformer a simple one; c4: a ResNet's third stage, "
                                                "the fourth in the heads", None)
    masks: bool | None = key("learn and judge masks too: instance segmentation", None)
    sides_px: tuple[int, ...] | None = key("short side in training, one of these for each picture", None)
    test_side_px: int | None = key("short side in testing", None)
    longest_px: int | None = key("bound of the long side; the short one shrinks with it", None)
    jitter: tuple[float, ...] | None = key("instead of sides_px: lowest and largest scale of a picture, of which a square of "
                                           "test_side_px is cut; []: none", None)
    new_norms: bool | None = key("batch norm in the new layers", None)
    pyramid_dim: int = key("channels of the pyramid and of the mask head", 256)
    head_dim: int = key("width of the box head of a pyramid", 1024)

    def __post_init__(self) -> None:
        super().__post_init__()
        of = self.schedule()
        for name in ("test_side_px", "longest_px"):
            _at_least(name, getattr(of, name), 1)
        for name in ("pyramid_dim", "head_dim"):
            _at_least(name, getattr(self, name), 1)
        if not of.sides_px or min(of.sides_px) < 1:
            raise ValueError(f"sides_px needs whole numbers of at least 1, got {list(of.sides_px)}")
        if of.jitter and not (len(of.jitter) == 2 and 0 < of.jitter[0] <= of.jitter[1]):
            raise ValueError(f"jitter needs two scales, 0 < lowest <= largest, or none, got {list(of.jitter)}")

    def schedule(self) -> Detection:
        """The protocol with the user's numbers. Raises ValueError for an unknown one, naming the nearest, and for numbers out of
        range."""
        return _schedule(self, DETECTION)


@dataclass(frozen=True)
class SegmentationConfig(DenseConfig):
    maps: str = key("of VOC's lists: the folder of the maps of classes that are learnt, for example SegmentationClassAug",
                    "SegmentationClass")
    classes: int | None = key("of VOC's lists: how many, with the background; null: as many as training maps have", None)
    short_px: int | None = key("pictures are resized so that this holds the short side ...", None)
    longest_px: int | None = key("... and this the long one", None)
    ratio: tuple[float, float] | None = key("in training, times a number drawn from this range", None)
    crop_px: int | None = key("of which at most so much a side is cut", None)
    most_of_one: float | None = key("cut anew, ten times at most, where one class has more of the pixels; 1: never", None)
    aux: float | None = key("weight of a second head's loss, on the map before the last; 0: none", None)
    output_stride: int | None = key("of a ResNet's map, by dilation; 32: as it is", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        of = self.schedule()
        for name in ("short_px", "longest_px", "crop_px", "output_stride"):
            _at_least(name, getattr(of, name), 1)
        _at_least("aux", of.aux, 0)
        if not 0 < of.ratio[0] <= of.ratio[1]:
            raise ValueError(f"ratio needs 0 < lowest <= largest, got {list(of.ratio)}")
        if not 0 < of.most_of_one <= 1:
            raise ValueError(f"most_of_one needs a share in (0, 1], got {of.most_of_one}")
        if self.classes is not None and not 2 <= self.classes <= 255:
            raise ValueError(f"classes needs a number from 2 to 255, with the background, got {self.classes}")

    def schedule(self) -> Segmentation:
        """As `DetectionConfig.schedule`."""
        return _schedule(self, SEGMENTATION)


def lists(data: Any) -> list[str]:
    """What data= or test_data= names, one or several. Raises ValueError where it names nothing."""
    found = [data] if isinstance(data, str) else list(data) if isinstance(data, list | tuple) else []
    if not found or not all(isinstance(each, str) and each for each in found):
        raise ValueError(f"data and test_data need a path, or a list of paths, got {data!r}")
    if len({each.endswith(".txt") for each in found}) > 1:
        raise ValueError(f"{', '.join(found)}: lists of VOC folders (.txt) and COCO's JSON cannot be mixed")
    return found


def _schedule(config: Any, published: dict[str, Of]) -> Of:
    if config.protocol not in published:
        raise ValueError(f"unknown protocol {config.protocol!r}; {nearest(config.protocol, list(published))}")
    base = published[config.protocol]
    given = {f.name: getattr(config, f.name) for f in fields(base) if f.name != "source"}
    of = replace(base, **{name: value for name, value in given.items() if value is not None})
    for name in ("batch_size", "steps"):
        _at_least(name, getattr(of, name), 1)
    stretch = of.steps / base.steps
    changes: dict[str, Any] = {}
    if config.lr is None:
        changes = {"lr": base.lr * of.batch_size / base.batch_size, "final_lr": of.final_lr if config.final_lr is not None
                   else base.final_lr * of.batch_size / base.batch_size}
    if config.warmup_steps is None:
        changes["warmup_steps"] = min(of.warmup_steps, round(of.warmup_steps * stretch))
    if config.drops_at is None:
        changes["drops_at"] = tuple(round(drop * stretch) for drop in of.drops_at)
    of = replace(of, **changes)
    if not of.lr > 0:
        raise ValueError(f"lr needs a number above 0, got {of.lr}")
    for name in ("final_lr", "warmup_steps", "weight_decay", "precise_bn"):
        _at_least(name, getattr(of, name), 0)
    if not 0 < of.layer_decay <= 1:
        raise ValueError(f"layer_decay needs a number in (0, 1], got {of.layer_decay}")
    if of.final_lr > of.lr:
        raise ValueError(f"final_lr={of.final_lr:g} needs to be at most lr={of.lr:g}")
    return of


def _at_least(name: str, value: float, bound: float) -> None:
    if not value >= bound:
        raise ValueError(f"{name} needs a number of at least {bound:g}, got {value}")
