"""The traced forms: one graph without breaks, parameters as inputs, the same views. What traces is judged without a C++
compiler; the slow test also generates code."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import viewmill as vm
from PIL import Image
from torch import Tensor
from viewmill.augment import Recipe, View
from viewmill.augment.ops import (
    Blur,
    CenterCrop,
    Clip,
    Crop,
    Flip,
    Grayscale,
    Jitter,
    Normalize,
    Op,
    RandomCrop,
    Resize,
    Solarize,
)
from viewmill.augment.render import apply_ops, as_tensors, compiled_ops

N = 4
COLOUR = (Flip(p=0.5), Jitter(p=1.0), Grayscale(p=0.3), Blur(p=0.8), Solarize(p=0.5), Normalize(kind="range", range=(-1, 1)))


@pytest.fixture(autouse=True)
def fresh_graphs() -> Iterator[None]:
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch.compiler.reset()


@pytest.fixture(scope="module")
def batch(photograph: np.ndarray) -> Tensor:
    """(4, 3, 61, 83) uint8."""
    rolled = np.stack([np.roll(photograph, (7 * i, 11 * i), (0, 1)) for i in range(N)])
    return torch.from_numpy(rolled).permute(0, 3, 1, 2).contiguous()


def traced(recipe: Recipe, backend: str = "eager") -> object:
    def run(images: Tensor, params: dict[str, object]) -> dict[str, Tensor]:
        return vm.render(images, recipe, params, engine="torch")

    return torch.compile(run, fullgraph=True, backend=backend)


def drawn(recipe: Recipe, batch: Tensor, seed: int = 0) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    n = len(batch)
    return vm.draw(recipe, seed, 0, np.arange(n), np.tile(batch.shape[2:], (n, 1)), position=np.arange(n), length=n)


def one(*ops: Op, size_px: int | tuple[int, int] = 24) -> Recipe:
    return Recipe((View("a", size_px, ops),))


@pytest.mark.parametrize(("filter", "out_hw"), [
    ("bilinear", (20, 30)), ("bicubic", (24, 24)), ("lanczos", (30, 20)), ("bicubic", (70, 90))])
def test_crops_of_a_batch_equal_pillow(filter: str, out_hw: tuple[int, int], batch: Tensor) -> None:
    """Boxes as tensors, some with the vertical pass first. A weight may differ in its last of 22 bits, a level by 1."""
    box = np.array([[3, 5, 50, 22], [0, 0, 61, 83], [10, 20, 9, 60], [1, 2, 60, 7]], np.int32)
    op = Crop(size_px=out_hw, filter=filter)
    levels = torch.compile(op.apply, fullgraph=True, backend="eager")(batch.float(), {"box": torch.from_numpy(box)})
    assert isinstance(levels, Tensor) and levels.is_contiguous()
    for image, (top, left, height, width), ours in zip(batch, box.tolist(), levels, strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        part = picture.crop((left, top, left + width, top + height))
        theirs = np.asarray(part.resize(out_hw[::-1], getattr(Image.Resampling, filter.upper())), np.float32)
        apart = np.abs(ours.permute(1, 2, 0).numpy() - theirs)
        assert apart.max() <= 1 and (apart > 0).mean() < 1e-4


@pytest.mark.parametrize("recipe", [
    one(Crop(size_px=24), *COLOUR),
    one(Crop(size_px=(20, 90), antialias=False, cubic_a=-0.75), Clip(lo=0.2, hi=0.8), size_px=(20, 90)),
    one(Crop(size_px=24), Blur(p=0.5, kind="gaussian", taps=9, border="reflect"),
        Jitter(brightness_law="additive", contrast_pivot="channel-mean", saturation_law="hsv-scale", clamp="end")),
    one(Resize(side_px=40), CenterCrop(size_px=36), RandomCrop(size_px=(36, 50), pad_px=9), size_px=(36, 50)),
    one(Resize(mode="exact", side_px=29, filter="bicubic"), Blur(p=1.0, kind="gaussian", taps=5, border="zero"), size_px=29),
], ids=["dino", "tensorflow", "laws", "windows", "exact"])
def test_one_graph_gives_the_same_views(recipe: Recipe, batch: Tensor) -> None:
    run = traced(recipe)
    for seed in (0, 1):  # the second draw meets the first one's graph
        params = drawn(recipe, batch, seed)
        graph = run(batch, as_tensors(params))["a"]  # type: ignore[operator]
        eager = vm.render(list(batch), recipe, params, engine="torch")["a"]
        apart = (graph - eager).abs() * 255
        assert graph.shape == eager.shape and apart.mean() < 0.01 and (apart > 1).float().mean() < 1e-3
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_a_graph_carries_gradients(batch: Tensor) -> None:
    recipe = one(Crop(size_px=24), *COLOUR)
    params = drawn(recipe, batch)
    grads = []
    for run in (traced(recipe, "aot_eager"), lambda x, p: vm.render(x, recipe, p, engine="torch")):
        images, tensors = (batch / 255).requires_grad_(), as_tensors(params)
        contrast = tensors["a/0"]["jitter"]["contrast"].requires_grad_()
        (run(images, tensors)["a"] * torch.linspace(0, 1, 24)).sum().backward()  # type: ignore[operator]
        assert images.grad is not None and contrast.grad is not None
        grads.append((images.grad, contrast.grad))
    for graph, eager in zip(*grads, strict=True):
        assert (graph - eager).abs().quantile(0.99) < 0.01 * eager.abs().max()


def test_compiled_ops_are_kept_and_made_once_for_each_ops() -> None:
    assert compiled_ops(COLOUR) is compiled_ops(tuple(COLOUR)) is not compiled_ops(COLOUR[1:])


def test_many_compiled_ops_do_not_share_one_limit(batch: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda run, **how: _compile(run, backend="eager", **how))
    for level in range(12):  # the compiler gives up on a function at its eighth graph
        ops = (Solarize(p=1.0, threshold=level + 3), Normalize(kind="none"))
        params = {"solarize": {"apply": torch.tensor([True] * N)}, "normalize": {}}
        assert torch.allclose(compiled_ops(ops)(batch.float(), params), apply_ops(batch.float(), ops, params))


_compile = torch.compile


@pytest.mark.slow
def test_generated_code_gives_the_same_views(batch: Tensor) -> None:
    recipe = one(Crop(size_px=24), *COLOUR)
    params = drawn(recipe, batch)
    graph = traced(recipe, "inductor")(batch, as_tensors(params))["a"]  # type: ignore[operator]
    apart = (graph - vm.render(batch, recipe, params, engine="torch")["a"]).abs() * 255
    assert apart.mean() < 0.01 and (apart > 1).float().mean() < 1e-3
