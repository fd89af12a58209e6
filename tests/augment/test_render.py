"""Rendering one tensor of images: the same views, on any device, with gradients, and nothing of the caller's overwritten."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import viewmill as vm
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
from viewmill.augment.render import apply_ops, as_tensors

N = 5
OPS = (Flip(p=0.5), Jitter(p=0.8), Grayscale(p=0.4), Blur(p=0.7), Solarize(p=0.5), Clip(lo=0.1, hi=0.9),
       Normalize(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)))


@pytest.fixture(scope="module")
def batch(photograph: np.ndarray) -> Tensor:
    """(5, 3, 61, 83) uint8, no two alike."""
    rolled = np.stack([np.roll(photograph, (7 * i, 11 * i), (0, 1)) for i in range(N)])
    return torch.from_numpy(rolled).permute(0, 3, 1, 2).contiguous()


def one(*ops: Op, size_px: int | tuple[int, int] = 24) -> Recipe:
    return Recipe((View("a", size_px, ops),))


def drawn(recipe: Recipe, batch: Tensor, seed: int = 0) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    return vm.draw(recipe, seed, 0, np.arange(len(batch)), np.tile(batch.shape[2:], (len(batch), 1)))


@pytest.mark.parametrize("recipe", [
    one(Crop(size_px=24), *OPS),
    one(RandomCrop(size_px=30, pad_px=9), *OPS, size_px=30),
    one(Resize(side_px=40), CenterCrop(size_px=36), *OPS, size_px=36),
    one(CenterCrop(size_px=(70, 20)), Flip(p=1.0), size_px=(70, 20)),
])
def test_a_batch_in_either_layout_equals_a_list(recipe: Recipe, batch: Tensor) -> None:
    params = drawn(recipe, batch)
    images = [image.permute(1, 2, 0).numpy() for image in batch]
    listed = vm.render(images, recipe, params, engine="torch")["a"]
    for whole in (batch, batch.permute(0, 2, 3, 1), batch.permute(0, 2, 3, 1).contiguous()):
        assert torch.equal(vm.render(whole, recipe, params, engine="torch")["a"], listed)
        assert torch.equal(vm.render(whole, recipe, as_tensors(params), engine="torch")["a"], listed)


def test_floats_on_the_unit_scale_mean_the_same(batch: Tensor) -> None:
    recipe = one(Crop(size_px=24), *OPS)
    params = drawn(recipe, batch)
    bytes_, floats = (vm.render(each, recipe, params, engine="torch")["a"] for each in (batch, batch / 255))
    apart = (bytes_ - floats).abs()
    assert (apart > 1e-3).float().mean() < 1e-3  # a tie of a rounding may fall the other way


@pytest.mark.parametrize("first", range(len(OPS)))
def test_the_images_stay_as_they_were(first: int, batch: Tensor) -> None:
    """Ops work in place on buffers of their own only, whichever comes first."""
    params = drawn(one(Crop(size_px=24), *OPS), batch)["a/0"]
    levels = batch.float()
    before = levels.clone()
    apply_ops(levels, OPS[first:], params)
    for op in OPS:
        op.apply(levels, params[op.name])
    assert torch.equal(levels, before)


def test_in_place_equals_op_by_op(batch: Tensor) -> None:
    params = drawn(one(Crop(size_px=24), *OPS), batch)["a/0"]
    images: Tensor = batch.float()
    for op in OPS:
        images = op.apply(images, params[op.name])  # type: ignore[assignment]
    assert torch.allclose(apply_ops(batch.float(), OPS, params), images, atol=1e-6)


def test_the_way_of_gradients_computes_the_same(batch: Tensor) -> None:
    """Images that want a gradient take whole-batch arithmetic instead of rows in place."""
    params = drawn(one(Crop(size_px=24), *OPS), batch)["a/0"]
    levels = batch.float()
    whole = apply_ops(levels.clone().requires_grad_(), OPS, params)
    apart = (whole.detach() - apply_ops(levels, OPS, params)).abs() * torch.tensor([0.2, 0.3, 0.4]).reshape(3, 1, 1) * 255
    assert apart.quantile(0.999) < 0.01 and apart.max() < 2  # where a hue or a threshold lies on the edge


def test_a_gradient_passes_the_crops_roundings(batch: Tensor) -> None:
    """Linear but for its roundings: the gradient is that of torch's own antialiased resize of the same box."""
    op = Crop(size_px=(20, 30), filter="bicubic")
    box = np.array([[3, 5, 50, 40], [0, 0, 61, 83], [10, 20, 9, 60], [7, 1, 54, 10], [1, 2, 20, 30]], np.int32)
    weights = torch.linspace(-1, 2, 20 * 30 * 3).reshape(3, 20, 30)
    ours, theirs = (batch.float().mul(0.6).add(40).requires_grad_() for _ in range(2))
    (op.apply(ours, {"box": box}) * weights).sum().backward()  # type: ignore[operator, union-attr]
    for image, (top, left, height, width) in zip(theirs, box.tolist(), strict=True):
        part = image[None, :, top:top + height, left:left + width]
        resized = torch.nn.functional.interpolate(part, (20, 30), mode="bicubic", antialias=True, align_corners=False)
        (resized[0] * weights).sum().backward()
    assert ours.grad is not None and theirs.grad is not None
    inside = (ours.grad - theirs.grad).abs() < 1e-3
    assert inside.float().mean() > 0.999 and theirs.grad.abs().max() > 1  # a clipped level passes nothing


def test_gradients_equal_finite_differences() -> None:
    """To the image, to three factors of jitter and to sigma, in float64, where nothing is cut; the differences are taken of the
    other form of each op, which works in place."""
    chance = torch.Generator().manual_seed(3)
    image = (torch.rand((2, 3, 5, 7), generator=chance, dtype=torch.float64) * 80 + 90).requires_grad_()
    values = {name: torch.tensor(v, dtype=torch.float64, requires_grad=True) for name, v in {
        "brightness": [1.1, 0.9], "contrast": [0.8, 1.2], "saturation": [1.1, 0.7], "sigma_px": [1.1, 1.9]}.items()}
    jitter = Jitter(contrast_pivot="channel-mean", hue_turns=0.0)
    order = torch.tensor([[2, 0, 3, 1], [1, 0, 2, 3]])
    weights = torch.rand((2, 3, 5, 7), generator=chance, dtype=torch.float64)

    def value() -> Tensor:
        on = {"apply": torch.tensor([True, True])}
        factors = {k: values[k] for k in ("brightness", "contrast", "saturation")}
        x = jitter.apply(image, {**on, "order": order, **factors, "hue_turns": torch.zeros(2)})  # type: ignore[dict-item]
        x = Blur().apply(x, {**on, "sigma_px": values["sigma_px"]})  # type: ignore[dict-item]
        x = Grayscale().apply(x, {"apply": torch.tensor([True, False])})  # type: ignore[dict-item]
        return (Flip().apply(x, {"apply": torch.tensor([False, True])}) * weights).sum()  # type: ignore[dict-item, operator, return-value]

    value().backward()
    step = 1e-4
    for leaf in (image, *values.values()):
        assert leaf.grad is not None
        for at in range(0, leaf.numel(), 17 if leaf is image else 1):
            entry = leaf.detach().view(-1)[at]
            with torch.no_grad():
                entry += step
                up = value()
                entry -= 2 * step
                down = value()
                entry += step
            expected = (up - down) / (2 * step)
            assert torch.isclose(leaf.grad.view(-1)[at], expected, rtol=1e-4, atol=1e-6)
            assert expected != 0


def test_gradients_reach_the_image_and_every_factor_through_a_whole_recipe(batch: Tensor) -> None:
    recipe = one(Crop(size_px=24), Flip(p=0.5), Jitter(p=1.0), Blur(p=1.0), Normalize(kind="range", range=(-1, 1)))
    params = as_tensors(drawn(recipe, batch))
    factors = [params["a/0"]["jitter"][k].requires_grad_() for k in ("brightness", "contrast", "saturation", "hue_turns")]
    images = (batch / 255).requires_grad_()
    views = vm.render(images, recipe, params, engine="torch")["a"]
    (views * torch.linspace(0, 1, 24)).sum().backward()
    assert images.grad is not None and (images.grad.flatten(1).abs().sum(1) > 0).all()
    for factor in factors:
        assert factor.grad is not None and factor.grad.isfinite().all() and (factor.grad != 0).all()


def test_parameters_as_tensors_keep_names_types_and_values(batch: Tensor) -> None:
    params = drawn(one(Crop(size_px=24), *OPS), batch)
    tensors = as_tensors(params)
    assert tensors["a/0"]["crop"]["box"].dtype == torch.int32 and tensors["a/0"]["flip"]["apply"].dtype == torch.bool
    assert tensors["a/0"]["clip"] == {} and tensors.keys() == params.keys()
    tensors["a/0"]["jitter"]["contrast"] += 1
    assert (tensors["a/0"]["jitter"]["contrast"].numpy() == params["a/0"]["jitter"]["contrast"] + 1).all()


def test_auto_is_the_cpu_engine_for_images_in_memory(photograph: np.ndarray) -> None:
    recipe = one(Crop(size_px=24), Jitter(p=1.0))
    params = vm.draw(recipe, 0, 0, np.arange(1), np.array([photograph.shape[:2]]))
    auto, cpu = (vm.render([photograph], recipe, params, engine=engine)["a"] for engine in ("auto", "cpu"))
    assert torch.equal(auto, cpu)


def test_auto_follows_the_device(batch: Tensor) -> None:
    """The meta device stands in for a GPU: only the torch engine takes it, and what comes out lies there."""
    recipe = one(CenterCrop(size_px=24), Normalize(kind="none"))
    params = drawn(recipe, batch)
    for views in (vm.render(batch.to("meta"), recipe, params, engine="auto"),
                  vm.render(list(batch.to("meta")), recipe, params, engine="auto"),
                  vm.render(batch, recipe, params, engine="auto", device="meta")):
        assert views["a"].device.type == "meta" and views["a"].shape == (1, N, 3, 24, 24)


@pytest.mark.parametrize(("given", "message"), [
    ({"device": "cuda:1"}, "engine 'cpu' works on the CPU, not on cuda:1; try engine='torch'"),
    ({"models": {"inpaint": None}}, "engine 'cpu' takes no models; try engine='torch'"),
    ({"engine": "tourch"}, "there is no engine 'tourch'; did you mean 'torch'?"),
])
def test_what_an_engine_cannot_take_is_one_line(given: dict[str, object], message: str, batch: Tensor) -> None:
    recipe = one(CenterCrop(size_px=24))
    with pytest.raises(ValueError) as error:
        vm.render(batch, recipe, drawn(recipe, batch), **given)  # type: ignore[arg-type]
    assert str(error.value) == message


@pytest.mark.parametrize("images", [torch.zeros(2, 3, 8, 8, dtype=torch.int32), torch.zeros(2, 4, 8, 8), torch.zeros(8, 8)])
def test_other_images_are_refused(images: Tensor) -> None:
    recipe = one(CenterCrop(size_px=4), size_px=4)
    params = {"a/0": {"center_crop": {"box": np.array([[2, 2, 4, 4]] * len(images))}}}
    with pytest.raises(ValueError, match=r"an image is \(H, W, 3\) or \(3, H, W\) of uint8, or of floats in \[0, 1\], got"):
        vm.render(images, recipe, params, engine="torch")
