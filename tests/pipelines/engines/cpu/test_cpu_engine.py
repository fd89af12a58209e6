"""The same bits for any batch, number of threads and processor; kernels stay inside their arrays; refusals by name."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import viewmill as vm
from viewmill.augment import Recipe, UnsupportedRecipe, View
from viewmill.augment.ops import Blur, Crop, Inpaint, Normalize, Resize, Rotate
from viewmill.pipelines.cache import cache_folder
from viewmill.pipelines.engines.cpu import CpuEngine, render

EVERYTHING = """
import numba, sys, numpy as np, viewmill as vm
from hashlib import sha256
from viewmill.augment import Recipe, View
from viewmill.augment.ops import *
from viewmill.pipelines.engines.cpu import render

rng = np.random.default_rng(5)
SIZES = [(61, 83), (33, 400), (300, 41), (1, 1), (255, 255), (97, 131)]
images = [rng.integers(0, 256, (*hw, 3), dtype=np.uint8) for hw in SIZES]
digest = sha256()
recipes = [vm.recipe(n) for n in ("dino", "simclr", "byol", "mae", "rotnet")]
for side in (32, 96, 98, 160, 224, 255, 1, 7):
    ops = (Crop(size_px=side, filter="lanczos"), Jitter(p=1.0), Blur(p=1.0), Flip())
    recipes.append(Recipe((View("a", side, ops),)))
recipes.append(Recipe((View("a", 50, (Resize(side_px=60), CenterCrop(size_px=50), Rotate(angles_deg=(90, 180), pick="random",
    direction="clockwise"), Blur(p=1.0, kind="gaussian", taps=23, border="reflect"))),)))
recipes.append(Recipe((View("a", 40, (Resize(side_px=60), RandomCrop(size_px=40, pad_px=9), Solarize(p=1.0))),)))
recipes.append(Recipe((View("a", 40, (Crop(size_px=40), Cutout(size_px=9), Erase(p=1.0, value="noise"), Noise(p=1.0),
    Posterize(p=0.5), Sharpness(p=1.0), Autocontrast(p=0.5), Equalize(p=0.5), Warp(points=16, shift_fraction=(-0.06, 0.06)),
    Rotate(kind="free", range_deg=(-12.6, 12.6), filter="bilinear"))),)))
recipes += [vm.recipe(n) for n in ("jigsaw++", "context_resnet", "cmc_resnet", "pirl", "beit", "counting", "deepcluster",
    "context_encoder_random", "colorization", "damaged_jigsaw")]
for recipe in recipes:
    n = len(images)
    params = vm.draw(recipe, 3, 1, np.arange(n), np.array(SIZES), position=np.arange(n), length=n,
                     partner_size_hw=np.array(SIZES[::-1]))
    for dtype in ("float32", "float16", "bfloat16", "uint8"):
        for last in (False, True):
            for views in render(images, recipe, params, dtype, partners=images[::-1], channels_last=last).values():
                digest.update(views.tobytes())
print(digest.hexdigest())

from viewmill.pipelines.engines.cpu import vectors  # the checks are there, or they would have found nothing

@numba.njit
def transpose(source, top, left, rows, columns, out):
    vectors.transpose(source, top, left, rows, columns, out)

room = np.zeros((100, 100), np.uint8)
for top, left, rows, columns in ((1, 0, 40, 40), (0, 1, 40, 40), (-1, 0, 40, 40)):
    try:
        transpose(room[:40, :40], top, left, rows, columns, room.copy())
    except IndexError:
        continue
    assert not numba.config.BOUNDSCHECK, (top, left)
"""


def digest_in_a_new_process(cache: Path, **environment: str) -> str:
    ran = subprocess.run([sys.executable, "-c", EVERYTHING], capture_output=True, text=True, env={
        **os.environ, "PYTHONPATH": str(Path(vm.__file__).parents[1]), "VIEWMILL_CACHE_DIR": str(cache), **environment})
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout.strip()


def test_the_bits_are_those_of_a_generic_processor_and_every_index_is_inside_its_array(tmp_path: Path) -> None:
    """One compilation for both: without the processor's own instructions, and with every array access checked."""
    checked = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_BOUNDSCHECK": "1"}
    assert digest_in_a_new_process(tmp_path, **checked) == digest_in_a_new_process(cache_folder())


def drawn(recipe: Recipe, images: list[np.ndarray]) -> dict:
    n = len(images)
    return vm.draw(recipe, 0, 0, np.arange(n), np.array([i.shape[:2] for i in images]), position=np.arange(n), length=n)


@pytest.fixture(scope="module")
def pictures(photograph: np.ndarray) -> list[np.ndarray]:
    return [np.ascontiguousarray(photograph[i:, 2 * i:]) for i in range(9)]


def test_threads_and_batches_change_no_bit(pictures: list[np.ndarray]) -> None:
    recipe = vm.recipe("simclr_cifar")
    params = drawn(recipe, pictures)
    whole = render(pictures, recipe, params)["global"]
    for threads in (2, 4):
        assert render(pictures, recipe, params, threads=threads)["global"].tobytes() == whole.tobytes()
    from viewmill.augment.draw import take

    for row in range(9):
        alone = render([pictures[row]], recipe, take(params, np.array([row])))["global"]
        assert alone[:, 0].tobytes() == whole[:, row].tobytes()


def test_buffers_reused_from_other_images_leave_no_trace(pictures: list[np.ndarray]) -> None:
    """Large after small after large: what a thread's scratch still holds must not show."""
    recipe = Recipe((View("a", 16, (Resize(side_px=20), Crop(size_px=16), Blur(p=1.0))),))
    engine = CpuEngine(recipe)
    rng = np.random.default_rng(0)
    large = rng.integers(0, 256, (200, 310, 3), dtype=np.uint8)
    images = [pictures[8], large, pictures[0], large]
    packed = engine.pack(drawn(recipe, images))
    out = {"a": np.empty((1, 4, 3, 16, 16), np.float32)}
    for row, image in enumerate(images):
        engine.render_into(image, packed[row], out, row)
    for row, image in enumerate(images):
        fresh = {"a": np.empty((1, 4, 3, 16, 16), np.float32)}
        CpuEngine(recipe).render_into(image, packed[row], fresh, row)
        assert np.array_equal(fresh["a"][:, row], out["a"][:, row])


def test_only_its_own_row_is_written(pictures: list[np.ndarray]) -> None:
    recipe = vm.recipe("simclr_cifar")
    engine = CpuEngine(recipe)
    packed = engine.pack(drawn(recipe, pictures))
    out = {"global": np.full((2, 9, 3, 32, 32), 7.0, np.float32)}
    engine.render_into(pictures[4], packed[4], out, 4)
    untouched = np.delete(out["global"], 4, axis=1)
    assert (untouched == 7).all() and not (out["global"][:, 4] == 7).any()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "uint8"])
@pytest.mark.parametrize("name", ["dino", "rotnet", "cmc_resnet"])
def test_channels_last_moves_values_and_changes_none(pictures: list[np.ndarray], name: str, dtype: str) -> None:
    recipe = vm.recipe(name)
    params = drawn(recipe, pictures)
    first = render(pictures, recipe, params, dtype)
    for group, views in render(pictures, recipe, params, dtype, channels_last=True).items():
        assert np.array_equal(np.moveaxis(views, -1, 2), first[group])


@pytest.mark.parametrize("name", ["dino", "simclr_pil", "mae"])
def test_bytes_are_the_levels_before_the_normalization_rounded_half_up(pictures: list[np.ndarray], name: str) -> None:
    recipe = vm.recipe(name)
    params = drawn(recipe, pictures)
    ones = np.ones(3)
    for group, views in render(pictures, recipe, params, "uint8").items():
        normalize = next(op for v in recipe.views if v.group == group for op in v.ops or () if isinstance(op, Normalize))
        mean, std = (np.array(x).reshape(3, 1, 1) if x else z.reshape(3, 1, 1) for x, z in
                     ((normalize.mean, 0 * ones), (normalize.std, ones)))
        levels = 255 * (render(pictures, recipe, params)[group].astype(np.float64) * std + mean)
        assert np.abs(views - levels).max() < 0.5 + 1e-4 and views.dtype == np.uint8
        apart = np.abs(levels - np.floor(levels) - 0.5) > 1e-3  # from a tie, which float32's normalization may shift
        assert np.array_equal(views[apart], np.floor(levels + 0.5)[apart].astype(np.uint8)) and apart.mean() > 0.9


def test_several_images_in_one_call_are_each_as_alone(pictures: list[np.ndarray]) -> None:
    recipe = vm.recipe("simclr_cifar")
    engine = CpuEngine(recipe)
    packed = engine.pack(drawn(recipe, pictures))
    together, alone = ({"global": np.full((2, 9, 3, 32, 32), 7.0, np.float32)} for _ in range(2))
    engine.render_several(pictures[2:7], packed[2:7], engine.target(together), 2)
    for row in range(2, 7):
        engine.render_into(pictures[row], packed[row], alone, row)
    assert np.array_equal(together["global"], alone["global"])
    assert (together["global"][:, [0, 1, 7, 8]] == 7).all() and not (together["global"][:, 2:7] == 7).any()


@pytest.mark.parametrize("image", [np.zeros((9, 9, 3)), np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8),
                                   np.zeros((3, 9, 9), np.uint8).transpose(1, 2, 0)])
def test_an_image_that_would_be_misread_is_refused(image: np.ndarray) -> None:
    engine = CpuEngine(vm.recipe("simclr_cifar"))
    with pytest.raises(ValueError, match="an image is uint8"):
        engine.render_into(image, np.zeros(1), {"global": np.zeros((2, 1, 3, 32, 32), np.float32)}, 0)


def test_a_pickled_engine_renders_the_same(pictures: list[np.ndarray]) -> None:
    recipe = vm.recipe("simclr_cifar")
    engine = CpuEngine(recipe)
    packed = engine.pack(drawn(recipe, pictures))
    outs = []
    for each in (engine, pickle.loads(pickle.dumps(engine))):
        outs.append({"global": np.zeros((2, 9, 3, 32, 32), np.float32)})
        each.render_into(pictures[0], packed[0], outs[-1], 0)
    assert sha256(outs[0]["global"].tobytes()).digest() == sha256(outs[1]["global"].tobytes()).digest()


@pytest.mark.parametrize(("ops", "says"), [
    ((Crop(size_px=8), Rotate(kind="free", range_deg=(-9.0, 9.0), filter="bicubic")),
     "no kernel for rotate in this form; try engine='torch'"),
    ((Blur(), Crop(size_px=8)), "crops before anything but jitter"),
    ((Crop(size_px=8), Inpaint(crop_px=8, hole_px=4, border_px=2, noise_std=0.1)), "inpaint needs the method's inpainter"),
    ((Crop(size_px=8, filter="lanczos", antialias=False, cubic_a=-0.5),), "no kernel for crop"),
])
def test_a_refusal_names_the_op_and_the_engine_that_may_have_it(ops: tuple, says: str) -> None:
    with pytest.raises(UnsupportedRecipe, match=says):
        CpuEngine(Recipe((View("a", 8, ops),)))


def test_images_of_another_kind_are_refused() -> None:
    recipe = Recipe((View("a", 8, (Crop(size_px=8), Blur(), Normalize(kind="none"))),))
    with pytest.raises(ValueError, match=r"an image is uint8 \(H, W, 3\), got float64 \(9, 9, 3\)"):
        render([np.zeros((9, 9, 3))], recipe, drawn(recipe, [np.zeros((9, 9, 3))]))


def test_parameters_of_another_image_are_refused() -> None:
    recipe = Recipe((View("a", 8, (Crop(size_px=8, filter="bilinear"),)),))
    image = np.zeros((20, 30, 3), np.uint8)
    for box in ((0, 0, 21, 30), (0, 0, 20, 31), (-1, 0, 9, 9), (0, -1, 9, 9), (12, 22, 9, 9), (5, 5, 0, 4)):
        params = {"a/0": {"crop": {"box": np.array([box], np.int32)}}}
        with pytest.raises(ValueError, match="box reaches outside the image: the parameters were drawn for an image of another"):
            render([image], recipe, params)
    unfiltered = Recipe((View("a", 8, (Crop(size_px=8, antialias=False, cubic_a=-0.5),)),))
    with pytest.raises(ValueError, match="box reaches outside the image"):
        render([image], unfiltered, {"a/0": {"crop": {"box": np.array([(0, 22, 9, 9)], np.int32)}}})


def test_a_view_that_ends_at_another_size_is_refused() -> None:
    recipe = Recipe((View("a", 8, (Resize(mode="exact", side_px=8),)),))
    for size in ((8, 9), (4, 16)):
        params = {"a/0": {"resize": {"box": np.array([(0, 0, 20, 30)], np.int32), "size": np.array([size], np.int32)}}}
        with pytest.raises(ValueError, match="end at another size than the view's"):
            render([np.zeros((20, 30, 3), np.uint8)], recipe, params)


def test_a_blur_without_room_is_refused() -> None:
    recipe = Recipe((View("a", 8, (Crop(size_px=8), Blur(p=1.0, sigma_px=(0.1, 20.0)))),))
    params = drawn(recipe, [np.zeros((20, 30, 3), np.uint8)])
    params["a/0"]["blur"]["sigma_px"][:] = 20.0
    assert np.isfinite(render([np.zeros((20, 30, 3), np.uint8)], recipe, params)["a"]).all()
    params["a/0"]["blur"]["sigma_px"][:] = 21.5
    with pytest.raises(ValueError, match=r"a/0's blur: sigma_px needs values below 21, got 21.5"):
        render([np.zeros((20, 30, 3), np.uint8)], recipe, params)


def test_kernels_are_cached_for_the_user_under_a_hash_of_their_sources(tmp_path: Path) -> None:
    code = """
import numba, numpy as np
from viewmill.pipelines.engines.cpu import cache, taps
@cache.entry
def out(x):
    return taps.sin_pi(x)
print(out(0.25))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(vm.__file__).parents[1]), "VIEWMILL_CACHE_DIR": str(tmp_path)}
    script = tmp_path / "script.py"
    script.write_text(code)
    runs = [subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment) for _ in range(2)]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    folders = [p for p in tmp_path.iterdir() if p.name.startswith("kernels-")]
    assert len(folders) == 1 and list(folders[0].glob("taps.sin_pi*.nbi"))
    assert abs(float(runs[1].stdout) - 0.5**0.5) < 1e-15


def test_an_unwritable_cache_is_replaced_by_a_temporary_one(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    code = ("import viewmill.pipelines.engines.cpu.cache as c; print(c._writable_folder())")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={
        **os.environ, "PYTHONPATH": str(Path(vm.__file__).parents[1]), "VIEWMILL_CACHE_DIR": str(blocked)})
    assert ran.returncode == 0 and "viewmill-kernels-" in ran.stdout


@pytest.mark.slow
def test_the_first_process_compiles_and_says_so_the_next_reads_what_it_left(tmp_path: Path) -> None:
    """Two processes at once on an empty cache: both render the same, and a third finds the kernels."""
    code = """
import numpy as np, viewmill as vm
pictures = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
loader = vm.Loader(pictures, "mae_cifar", 8, sidecar=False, threads=2)
print(next(iter(loader)).views["global"].sum().item())
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(vm.__file__).parents[1]), "VIEWMILL_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, env=environment, **piped) for _ in range(2)]
    said = [process.communicate() for process in both]
    third = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert len({out for out, _ in said} | {third.stdout}) == 1 and said[0][0].strip(), said
    assert any("compiling the cpu engine's kernels" in err for _, err in said) and "compiling" not in third.stderr
