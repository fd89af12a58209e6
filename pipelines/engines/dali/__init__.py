"""Decoding and cropping by NVIDIA DALI on a GPU, then augment's torch ops on the same device. DALI draws nothing: boxes and
flips come in as arrays. On the CPU the same graph runs with the device argument changed.

Images are always decoded whole: nvImageCodec's decoding of regions fails or crashes in the versions that DALI 2.4 ships with.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....augment.draw import Params, draw
from ....augment.levels import as_levels, to_bytes
from ....augment.masks import Mask
from ....augment.op import Op
from ....augment.ops import CenterCrop, Crop, Flip, Normalize, RandomCrop, Resize, Tiles
from ....augment.recipe import Instance, Recipe, UnsupportedRecipe
from ....augment.render import apply_ops, compiled_ops
from ....augment.sharing import key
from .library import dali, missing
from .steps import Cut, Mirror, Resample, Step

__all__ = ["RESAMPLE", "DaliEngine", "DaliOptions", "Graph", "as_ppm", "missing", "place", "render"]

LOG = logging.getLogger("viewmill")
RESAMPLE = ("pillow", "fused")
_TRIED: set[str] = set()
"""Fingerprints of recipes whose torch half is known to run."""


@dataclass(frozen=True)
class DaliOptions:
    """resample: "pillow" repeats the arithmetic of the contract to within a level or two: the box is cut, and each axis rounded
    to 8 bits; "fused" is DALI's own way, as fast as its random_resized_crop, one op a view whose filter looks beyond the box.

    hw_decoder_load: the fraction of a batch that the GPU's JPEG engine decodes, the rest is left to its cores.
    prefetch_queue_depth: batches inside DALI. device_memory_padding, host_memory_padding: bytes that each decoding thread
    begins with; width_hint_px, height_hint_px: the largest image expected, 0 unknown: memory that need not grow later.
    compile: whether torch fuses what comes after the crop, at the first batch; None: on a GPU.
    """

    resample: str = "pillow"
    hw_decoder_load: float = 0.65
    prefetch_queue_depth: int = 2
    device_memory_padding: int = 16 * 2**20
    host_memory_padding: int = 8 * 2**20
    width_hint_px: int = 0
    height_hint_px: int = 0
    compile: bool | None = None

    def __post_init__(self) -> None:
        if self.resample not in RESAMPLE:
            raise ValueError(f"DaliOptions.resample needs one of {', '.join(RESAMPLE)}, got {self.resample!r}")
        if not 0 <= self.hw_decoder_load <= 1:
            raise ValueError(f"DaliOptions.hw_decoder_load needs a fraction between 0 and 1, got {self.hw_decoder_load!r}")
        for name, least in (("prefetch_queue_depth", 1), ("device_memory_padding", 0), ("host_memory_padding", 0),
                            ("width_hint_px", 0), ("height_hint_px", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"DaliOptions.{name} needs a whole number >= {least}, got {value!r}")


@dataclass(frozen=True)
class Work:
    """What torch does at once: views of one group with equal ops, from number `first` on. crops: which outputs of the graph
    they begin with; ops: those that are left; absent: the op whose `present` blanks what is not there."""

    group: str
    first: int
    views: tuple[str, ...]
    crops: tuple[int, ...]
    ops: tuple[Op, ...]
    absent: Tiles | None


class DaliEngine:
    """A recipe as a tree of DALI's ops and what torch does afterwards. Raises UnsupportedRecipe, naming the op, for a recipe
    that does not begin with crops, takes a second image, or needs a method's model. channels_last: of each view's memory."""

    name = "dali"

    def __init__(self, recipe: Recipe, dtype: str = "float32", options: DaliOptions | None = None,
                 channels_last: bool = False) -> None:
        recipe = as_levels(recipe) if dtype == "uint8" else recipe
        self.recipe, self.dtype, self.options = recipe, getattr(torch, dtype), options or DaliOptions()
        self.channels_last = channels_last
        self.nodes: list[tuple[int, Step]] = []  # of which node's output, or -1 for the decoded image
        self.outputs: list[int] = []  # numbers of nodes
        self.works: list[Work] = []
        self._not_compiled: set[tuple[Op, ...]] = set()
        owners: dict[Any, str] = {}
        if recipe.decode == "scaled":
            raise UnsupportedRecipe(f"recipe {recipe}: the dali engine decodes images whole, not as decode='scaled' has it; "
                                    "try engine='cpu'")
        for instance in recipe.instances:
            self._add(instance, owners)
        if recipe.fingerprint not in _TRIED:
            self._try()
            _TRIED.add(recipe.fingerprint)

    def pack(self, params: Params) -> range:
        """Nothing is packed: `arrays` reads the parameters of whole batches."""
        return range(len(self.nodes[0][1].arrays(params)[0]))

    def arrays(self, params: Params) -> list[Any]:
        """What the graph takes besides the images, in its order: arrays of N, or lists of N arrays."""
        return [array for _, step in self.nodes for array in step.arrays(params)]

    def define(self, source: Callable[[], Sequence[Any]], batch_size: int, threads: int, device: torch.device) -> Any:
        """The pipeline, not built. source() -> N encoded images, (bytes,) uint8 each, then `arrays`. Out: (N, h, w, 3) uint8
        for each output, on the device."""
        fn, types = dali().fn, dali().types
        on_gpu, options = device.type == "cuda", self.options
        example = [np.asarray(array[0]) for array in self.arrays(self._example())]
        kinds = [types.UINT8, *(types.INT32 if each.dtype == np.int32 else types.FLOAT for each in example)]
        pipe = dali().Pipeline(batch_size, threads, (device.index or 0) if on_gpu else None, exec_dynamic=True,
                        prefetch_queue_depth=options.prefetch_queue_depth)
        with pipe:
            # A function of Python: DALI looks for one inside of any other callable, and never ends.
            encoded, *inputs = fn.external_source(source=lambda: source(), num_outputs=len(kinds), batch=True, dtype=kinds,
                                                  ndim=[1, *(each.ndim for each in example)])
            on_device = {"hw_decoder_load": options.hw_decoder_load, "device_memory_padding": options.device_memory_padding,
                         "host_memory_padding": options.host_memory_padding,
                         "preallocate_width_hint": options.width_hint_px, "preallocate_height_hint": options.height_hint_px}
            # Smooth chroma upsampling as libjpeg-turbo has it; orientation tags are ignored: both as the contract says.
            image = fn.decoders.image(encoded, device="mixed" if on_gpu else "cpu", output_type=types.RGB,
                                      adjust_orientation=False, jpeg_fancy_upsampling=True, **(on_device if on_gpu else {}))
            left, made = iter(inputs), list[Any]()
            for parent, step in self.nodes:
                made.append(step.build(image if parent < 0 else made[parent], left))
            pipe.set_outputs(*(made[number] for number in self.outputs))
        return pipe

    def finish(self, crops: Sequence[Tensor], params: Params) -> dict[str, Tensor]:
        """{group: (V, N, C, H, W)} from the graph's outputs, on their device and the current stream."""
        count, device = len(crops[0]), crops[0].device
        out = {}
        for name, g in self.recipe.groups.items():
            one = (g.height, g.width, g.channels) if self.channels_last else (g.channels, g.height, g.width)
            made = torch.empty((g.count, count, *one), dtype=self.dtype, device=device)
            out[name] = made.movedim(-1, 2) if self.channels_last else made
        with torch.no_grad():
            for work in self.works:
                taken = [crops[i].movedim(-1, 1) for i in work.crops]
                levels = torch.cat(taken) if len(taken) > 1 else taken[0]
                levels = levels.to(torch.float32, memory_format=torch.contiguous_format)
                if work.absent is not None:
                    present = _together(params, work.views, work.absent, device)["present"]
                    levels = levels * present.reshape(-1, 1, 1, 1)
                drawn = {op.name: {} if isinstance(op, Normalize) or type(op).apply is Mask.apply
                         else _together(params, work.views, op, device) for op in work.ops}
                views = self._apply(levels, work.ops, drawn)
                target = out[work.group][work.first:work.first + len(work.views)]
                target.copy_((to_bytes(views) if self.dtype == torch.uint8 else views).reshape(target.shape))
        return out

    def _apply(self, levels: Tensor, ops: tuple[Op, ...], drawn: dict[str, dict[str, Tensor]]) -> Tensor:
        asked = levels.device.type == "cuda" if self.options.compile is None else self.options.compile
        if asked and ops not in self._not_compiled:
            try:
                return compiled_ops(ops)(levels, drawn)
            except Exception as error:  # no compiler here, or an op that is not one graph
                self._not_compiled.add(ops)
                LOG.warning("torch cannot compile %s, which run one by one: %s", ", ".join(op.type for op in ops),
                            next(iter(str(error).strip().splitlines()), type(error).__name__))
        return apply_ops(levels, ops, drawn)

    def _add(self, instance: Instance, owners: dict[Any, str]) -> None:
        geometry, rest = self._split(instance)
        flip = None
        if rest and isinstance(rest[0], Flip) and isinstance(geometry[-1], Crop | Resize):
            flip, rest = rest[0], rest[1:]
        node, alike = -1, list[Any]()
        for op in geometry:
            mirror = flip if op is geometry[-1] else None
            # What is drawn once is made once: nine tiles of one crop are cut from it, and arms with the same crop share it.
            alike += [key(each, instance) for each in (op, mirror) if each is not None]
            owner = instance.name if None in alike else owners.setdefault((*alike, mirror), instance.name)
            for step in self._steps(owner, op, mirror):
                if (node, step) not in self.nodes:
                    self.nodes.append((node, step))
                node = self.nodes.index((node, step))
        if node not in self.outputs:
            self.outputs.append(node)
        crop, last = self.outputs.index(node), geometry[-1]
        absent = last if isinstance(last, Tiles) and last.layout == "lattice" else None
        at = max((n for n, work in enumerate(self.works) if work.group == instance.group), default=-1)  # arms take turns
        before = self.works[at] if at >= 0 else None
        if before is not None and (before.ops, before.absent) == (rest, absent):
            self.works[at] = replace(before, views=(*before.views, instance.name), crops=(*before.crops, crop))
        else:
            self.works.append(Work(instance.group, instance.ordinal, (instance.name,), (crop,), rest, absent))

    def _steps(self, view: str, op: Op, flip: Flip | None) -> tuple[Step, ...]:
        fused = self.options.resample == "fused"
        if isinstance(op, Flip):
            return (Mirror(view, op),)
        if not isinstance(op, Crop | Resize):
            return (Cut(view, op),)
        if fused:
            return (Resample(view, op, flip, exact=False, region=isinstance(op, Crop)),)
        resample = Resample(view, op, flip, exact=bool(op.antialias), region=False)
        return (Cut(view, op), resample) if isinstance(op, Crop) else (resample,)

    def _split(self, instance: Instance) -> tuple[list[Op], tuple[Op, ...]]:
        """The ops up to the one that fixes the view's size, and those after it."""
        where = f"recipe {self.recipe}, view {instance.name}: "
        way_out = "; try engine='cpu' or 'torch'"
        if instance.view.image == "partner" or any(op.takes_partner for op in instance.ops):
            raise UnsupportedRecipe(f"{where}the dali engine takes no second image{way_out}")
        for op in instance.ops:
            if op.needs:
                raise UnsupportedRecipe(f"{where}{op.type} needs {op.needs}, which no engine has; try "
                                        f"vm.render(..., engine='torch', models={{{op.type!r}: ...}})")
        geometry: list[Op] = []
        size: tuple[int, int] | None = None
        for number, op in enumerate(instance.ops):
            if not isinstance(op, Crop | Resize | RandomCrop | CenterCrop | Tiles | Flip):
                raise UnsupportedRecipe(f"{where}the dali engine crops before anything else, and {op.type} comes first{way_out}")
            if isinstance(op, Crop | Resize):
                if op.filter == "bicubic" and op.cubic_a not in (None, -0.5):
                    raise UnsupportedRecipe(f"{where}DALI's cubic filter has cubic_a=-0.5, {op.type} wants {op.cubic_a}{way_out}")
                if op.filter == "lanczos" and not op.antialias:
                    raise UnsupportedRecipe(f"{where}{op.type} with filter 'lanczos' needs antialias true")
            geometry.append(op)
            size, _ = op.output(size, 3)
            if size is not None:
                return geometry, instance.ops[number + 1:]
        raise UnsupportedRecipe(f"{where}the dali engine needs a crop or resize in every view{way_out}")

    def _example(self) -> Params:
        first, size = np.zeros(1, np.int64), np.full((1, 2), 4096)
        return draw(self.recipe, 0, 0, first, size, position=first, length=1)

    def _try(self) -> None:
        """What an op refuses is said now, and not in the middle of an epoch."""
        params = self._example()
        sizes: dict[int, tuple[int, int]] = {}
        for work in self.works:
            for view, crop in zip(work.views, work.crops, strict=True):
                instance = next(i for i in self.recipe.instances if i.name == view)
                size: tuple[int, int] | None = None
                for op in self._split(instance)[0]:
                    size, _ = op.output(size, 3)
                assert size is not None
                sizes[crop] = size
        self.finish([torch.zeros((1, *sizes[i], 3), dtype=torch.uint8) for i in range(len(self.outputs))], params)


class Graph:
    """A built pipeline; run(stream) -> (N, h, w, 3) uint8 tensors over DALI's memory, one an output. Each result owns its
    memory as long as a tensor refers to it; on a GPU until the work on it, on any stream, has been waited for."""

    def __init__(self, engine: DaliEngine, source: Callable[[], Sequence[Any]], batch_size: int, threads: int,
                 device: torch.device) -> None:
        self.pipe = engine.define(source, batch_size, threads, device)
        self.pipe.build()

    def run(self, stream: Any = None) -> list[Tensor]:
        """Raises StopIteration after the source did, RuntimeError where an image could not be decoded."""
        return [torch.from_dlpack(crops.as_tensor()) for crops in self.pipe.run(stream)]


def as_ppm(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 as a file that DALI decodes by copying: the way in for pixels that came from elsewhere."""
    head = b"P6 %d %d 255\n" % (image.shape[1], image.shape[0])
    return np.concatenate([np.frombuffer(head, np.uint8), image.reshape(-1)])


def render(images: Sequence[np.ndarray], recipe: Recipe, params: Any, dtype: str = "float32",
           device: torch.device | str | None = None, options: DaliOptions | None = None,
           channels_last: bool = False) -> dict[str, Tensor]:
    """{group: (V, N, C, H, W)} of N images (H, W, 3) uint8, made on the device, see `place`."""
    engine = DaliEngine(recipe, dtype, options, channels_last)
    batch = ([as_ppm(image) for image in images], *engine.arrays(params))
    graph = Graph(engine, iter([batch]).__next__, len(images), 1, place(device))
    return engine.finish(graph.run(), params)


def place(device: torch.device | str | None) -> torch.device:
    """Where to work: on the device that is asked for, else on the current GPU, else on the CPU."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    asked = torch.device(device)
    return torch.device("cuda", torch.cuda.current_device()) if asked == torch.device("cuda") else asked


def _together(params: Params, views: tuple[str, ...], op: Op, device: torch.device) -> dict[str, Tensor]:
    """One op's parameters of several views, one view after the other along the first dimension."""
    drawn = [params[view][op.name] for view in views]
    arrays = {name: np.concatenate([each[name] for each in drawn]) for name in drawn[0]}
    return {name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in arrays.items()}
