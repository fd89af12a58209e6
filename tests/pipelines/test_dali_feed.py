"""Loading by DALI on the CPU: the same samples, order and parameters as every engine, damaged files or not, and its end."""

from __future__ import annotations

import gc
import io
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from viewmill import Batch, Loader, Recipe, View
from viewmill.augment.ops import CenterCrop, Jitter, Resize
from viewmill.pipelines import dali_feed
from viewmill.pipelines.decode import decode
from viewmill.pipelines.engines import dali

from .shards import encoded, picture
from .streams import SMALL, data, folder, pictures, shown

nvidia = pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")


def open_loader(source: Any, **options: Any) -> Loader:
    given = {"engine": "dali", "device": "cpu", "threads": 2, "max_bad": 1.0, "batch_size": 4, "recipe": SMALL, **options}
    return Loader(source, given.pop("recipe"), given.pop("batch_size"), **given)


def batches(source: Any, **options: Any) -> list[Batch]:
    with open_loader(source, **options) as loader:
        return list(loader)


def about(batch: Batch) -> tuple[Any, ...]:
    """All but the pixels."""
    params = {(view, op, name): array.tolist() for view, ops in batch.params.items()
              for op, arrays in ops.items() for name, array in arrays.items()}
    return (batch.epoch, batch.key, *(getattr(batch, name).tolist() for name in ("label", "index", "position", "substitute",
                                                                                "padding")), params)


def apart(one: Batch, other: Batch) -> float:
    return max(float((one.views[group] - other.views[group]).abs().max()) for group in one.views) * 255


@pytest.mark.parametrize("last", ["drop", "short", "pad"])
def test_an_epoch_shows_what_the_cpu_engine_shows(last: str, tmp_path: Path) -> None:
    source = folder(tmp_path, 22, broken=[3, 11], headless=[5])
    ours = batches(source, last=last, epochs=2)
    theirs = batches(source, last=last, epochs=2, engine="cpu", sidecar=False)
    assert [about(batch) for batch in ours] == [about(batch) for batch in theirs]
    assert any(batch.substitute.any() for batch in ours)
    assert max(apart(a, b) for a, b in zip(ours, theirs, strict=True)) <= 3
    assert {name: views.shape for name, views in ours[0].views.items()} == \
        {name: views.shape for name, views in theirs[0].views.items()}


def mixed(root: Path) -> Path:
    """Baseline, progressive, gray, CMYK and RGB JPEGs, one that says it lies on its side, PNG, WebP, GIF, one cut short."""
    root.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds = [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {}), ("GIF", {}),
             ("JPEG", {"keep_rgb": True}), ("JPEG", {"exif": turned.tobytes()})]
    for number, (kind, options) in enumerate(kinds):
        (root / f"{number}.{kind.lower()}").write_bytes(encoded(picture(40 + number, 50), kind, **options))
    for number, mode in ((8, "L"), (9, "CMYK")):
        file = io.BytesIO()
        Image.fromarray(picture(44, 51)).convert(mode).save(file, "JPEG")
        (root / f"{number}.jpeg").write_bytes(file.getvalue())
    whole = encoded(picture(60, 40), "JPEG")
    (root / "10.jpeg").write_bytes(whole[:-2])
    return root


def test_formats_that_dali_is_not_given_are_decoded_as_ever(tmp_path: Path) -> None:
    """The whole picture in one window: what comes out is what `decode` gives, to the bit."""
    root, recipe = mixed(tmp_path / "mix"), Recipe((View("whole", 40, (CenterCrop(size_px=40),)),))
    [batch] = batches(root, recipe=recipe, batch_size=11)
    seen = dict(zip(batch.key, range(11), strict=True))
    assert batch.substitute.tolist().count(True) == 1
    for key, row in seen.items():
        if batch.substitute[row]:
            continue
        path = next(path for path in root.iterdir() if key.endswith((path.name, path.stem)))
        image = decode(path.read_bytes())
        top, left = (round((side - 40) / 2) for side in image.shape[:2])
        shown = (batch.views["whole"][0, row] * 255).round().to(torch.uint8).movedim(0, -1).numpy()
        assert np.array_equal(shown, image[top:top + 40, left:left + 40]), path.name


def test_what_dali_may_decode_itself() -> None:
    baseline = encoded(picture(20, 30), "JPEG")
    size = np.array([20, 30])
    assert dali_feed.is_plain(baseline, size)
    assert not dali_feed.is_plain(baseline, np.array([30, 20]))
    assert not dali_feed.is_plain(baseline[:-2], size) and not dali_feed.is_plain(baseline + b"\0", size)
    for kind, options in (("JPEG", {"progressive": True}), ("JPEG", {"keep_rgb": True}), ("PNG", {}), ("WEBP", {})):
        assert not dali_feed.is_plain(encoded(picture(20, 30), kind, **options), size)


def test_a_batch_that_dali_cannot_decode_is_decoded_by_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                               caplog: pytest.LogCaptureFixture) -> None:
    """Files that pass the look at them and are garbage inside: DALI gives up its whole batch, and the graph with it."""
    source = folder(tmp_path, 24)
    for number in (2, 9, 10):
        path = source / f"{number:03}.jpg"
        content = path.read_bytes()
        path.write_bytes(content[:len(content) // 2])
    monkeypatch.setattr(dali_feed, "is_plain", lambda data, size: True)
    with caplog.at_level(logging.WARNING, "viewmill"), open_loader(source, shuffle="none") as loader:
        ours, faults = list(loader), loader.faults
    theirs = batches(source, shuffle="none", engine="torch", sidecar=False)
    assert [about(batch) for batch in ours] == [about(batch) for batch in theirs]
    assert [bool(batch.substitute.any()) for batch in ours] == [True, False, True, False, False, False]
    assert max(apart(a, b) for a, b in zip(ours, theirs, strict=True)) <= 3
    assert 2 <= faults <= 4 and loader.faults == loader.stats()["faults"] >= faults  # it was at work on the next epoch
    assert sum("DALI could not decode a batch" in record.message for record in caplog.records) == 1


def test_a_graph_that_cannot_be_built_again_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(tmp_path, 12, broken=[5])
    monkeypatch.setattr(dali_feed, "is_plain", lambda data, size: True)
    build, built = dali_feed.DaliProducer._graph, []

    def only_once(self: dali_feed.DaliProducer) -> dali_feed.Graph:  # set before the start: the producer runs ahead of us
        if built:
            raise RuntimeError("device lost")
        built.append(self)
        return build(self)

    monkeypatch.setattr(dali_feed.DaliProducer, "_graph", only_once)
    with open_loader(source, shuffle="none") as loader, pytest.raises(RuntimeError, match="device lost"):
        list(loader)
    assert len(built) == 1


def test_too_many_bad_samples_stop_the_run(tmp_path: Path) -> None:
    source = folder(tmp_path, 20, broken=range(0, 20, 4))
    with pytest.raises(RuntimeError, match=r"5 of 20 samples could not be used .*max_bad=0\.1"):
        batches(source, max_bad=0.1)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_resume_to_the_bit_at_another_batch_size(after: int, tmp_path: Path) -> None:
    source = folder(tmp_path, 24, broken=[4])
    whole = [shown(batch) for batch in batches(source)]
    with open_loader(source) as loader:
        stream = iter(loader)
        for _ in range(after):
            next(stream)
        state = loader.state_dict()
    with open_loader(source, batch_size=2, threads=1) as loader:
        loader.load_state_dict(state)
        rest = [row for batch in loader for row in shown(batch)]
    assert rest == [row for batch in whole[after:] for row in batch]


def test_a_closed_loader_goes_on_and_leaves_no_thread() -> None:
    before = threading.active_count()
    loader = open_loader(data(24))
    stream = iter(loader)
    first = next(stream)
    loader.close()
    assert threading.active_count() == before
    second = next(stream)
    loader.close()
    assert [first.position.tolist(), second.position.tolist()] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_batches_that_are_kept_are_never_written_again(tmp_path: Path) -> None:
    kept, copies = [], []
    with open_loader(folder(tmp_path, 24), epochs=5) as loader:
        for batch in loader:
            kept.append(batch)
            copies.append({name: views.clone() for name, views in batch.views.items()})
            batch.views["local"][0, 0].fill_(-7)  # nor does what the trainer writes into one come back in another
            copies[-1]["local"][0, 0].fill_(-7)
    gc.collect()
    assert all(torch.equal(batch.views[name], copy[name]) for batch, copy in zip(kept, copies, strict=True) for name in copy)


def test_crops_lie_in_memory_that_lives_as_long_as_they(tmp_path: Path) -> None:
    """The graph's own outputs, taken without a copy, while it goes on making others."""
    recipe = Recipe((View("a", 24, (Resize(mode="exact", side_px=24),)),))
    engine, count = dali.DaliEngine(recipe), iter(range(100))

    def source() -> Any:
        number = next(count)
        images = [np.full((30, 40, 3), 2 * number + row, np.uint8) for row in range(2)]
        params = {"a/0": {"resize": {"box": np.array([[0, 0, 30, 40]] * 2, np.int32), "size": np.full((2, 2), 24, np.int32)}}}
        return [dali.as_ppm(image) for image in images], *engine.arrays(params)

    graph = dali.Graph(engine, source, 2, 1, torch.device("cpu"))
    held = [graph.run()[0] for _ in range(20)]
    gc.collect()
    assert [crops[:, 0, 0, 0].tolist() for crops in held] == [[2 * i, 2 * i + 1] for i in range(20)]
    assert len({crops.data_ptr() for crops in held}) == 20 and all((crops == crops[:, :1, :1, :1]).all() for crops in held)


def test_an_error_comes_in_its_place_after_all_earlier_batches() -> None:
    class Failing:
        """24 pictures, of which reading number 13 fails as a broken disk does."""

        def __init__(self) -> None:
            from viewmill.pipelines.source import open_source

            self.inner = open_source(pictures(24))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def __len__(self) -> int:
            return 24

        def read(self, index: int) -> Any:
            if index == 13:
                raise OSError("disk gone")
            return self.inner.read(index)

    with open_loader(Failing(), shuffle="none") as loader:
        stream = iter(loader)
        assert [next(stream).index.tolist() for _ in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
        with pytest.raises(OSError, match="disk gone"):
            next(stream)


def test_options_belong_to_the_engine() -> None:
    with pytest.raises(ValueError, match=r"dali=DaliOptions\(...\) is for engine='dali', got engine='cpu'"):
        open_loader(data(8), engine="cpu", dali=dali.DaliOptions())
    assert len(batches(data(8), dali=dali.DaliOptions(resample="fused", prefetch_queue_depth=1), prefetch=1)) == 2


def test_auto_is_the_cpu_engine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert open_loader(data(8), engine="auto", device=None).engine == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert open_loader(data(8), engine="auto", device=None).engine == "dali"
    assert open_loader(data(8), engine="auto", device="cpu").engine == "cpu"
    colour_first = Recipe((View("a", 8, (Jitter(), Resize(mode="exact", side_px=8))),))
    assert open_loader(data(8), engine="auto", device=None, recipe=colour_first).engine == "cpu"  # which dali refuses
    scaled = Recipe((View("a", 8, (Resize(mode="exact", side_px=8),)),), decode="scaled")
    assert open_loader(data(8), engine="auto", device=None, recipe=scaled).engine == "cpu"


def test_without_dali_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nvidia.dali", None)
    with pytest.raises(ValueError, match=r"engine='dali' needs NVIDIA DALI.*: pip install 'viewmill\[dali\]'") as refused:
        open_loader(data(8))
    assert "\n" not in str(refused.value)


def test_a_device_that_is_not_there_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ValueError, match="device 'cuda' is asked for, but torch sees no GPU here"):
        open_loader(data(8), device="cuda")
    with pytest.raises(ValueError, match=r"device needs .*, got 'gpu'"):
        open_loader(data(8), device="gpu")
