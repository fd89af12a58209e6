"""Other libraries' data sets as sources: the pixels and labels they have, read by number, in any process; or why not."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import viewmill as vm
from PIL import Image
from torch.utils.data import IterableDataset, Subset
from torchvision.datasets import CIFAR10, STL10, ImageFolder
from viewmill.pipelines.decode import BadSample, decode
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.shard_writer import write_shard
from viewmill.pipelines.source import ArraySource, Source, TarSource, open_source

from ...streams import SMALL, jpeg, pictures

PICTURES = pictures(6)
LABELS = [i % 3 for i in range(6)]
EXTRA = "is not installed: pip install 'viewmill[peers]'"


def seen(source: Source) -> tuple[list[np.ndarray], list[int]]:
    return [decode(source.read(i)) for i in range(len(source))], [source.label(i) for i in range(len(source))]


def check(source: Source, wanted: list[np.ndarray], labels: list[int]) -> None:
    """Pixels, labels and sizes; the same after pickling; found by key; sizes of any index."""
    for each in (source, pickle.loads(pickle.dumps(source))):
        assert isinstance(each, Source) and len(each) == len(wanted) and each.labelled == any(x >= 0 for x in labels)
        assert each.size_hw(np.array([3, 0])).tolist() == [list(wanted[3].shape[:2]), list(wanted[0].shape[:2])]
        images, found = seen(each)
        assert all(np.array_equal(a, b) for a, b in zip(images, wanted, strict=True)) and found == labels
        assert each.fingerprint == source.fingerprint and each.find(each.key(4)) == 4
        assert int(each.shard_sizes.sum()) == len(wanted)


def decoded(lossy: bool) -> list[np.ndarray]:
    return [decode(jpeg(picture)) for picture in PICTURES] if lossy else PICTURES


def image_folder(root: Path) -> Path:
    for number, picture in enumerate(PICTURES):
        (root / f"class{LABELS[number]}").mkdir(exist_ok=True)
        (root / f"class{LABELS[number]}" / f"{number}.jpg").write_bytes(jpeg(picture))
    return root


BY_CLASS = [0, 3, 1, 4, 2, 5]
"""In which order a folder of classes shows the pictures."""


def test_torchvision_s_image_folder_is_read_as_files(tmp_path: Path) -> None:
    source = open_source(ImageFolder(str(image_folder(tmp_path))))
    check(source, [decoded(True)[i] for i in BY_CLASS], [0, 0, 1, 1, 2, 2])
    assert isinstance(source.read(0), bytes) and source.key(1).endswith("class0/3.jpg")
    file, offset, size = source.extent(1)  # type: ignore[attr-defined]
    assert (file.name, offset, size) == ("3.jpg", 0, len(jpeg(PICTURES[3])))
    file.unlink()
    with pytest.raises(BadSample, match="cannot be read"):
        source.read(1)


def made(kind: Any, **attributes: Any) -> Any:
    """A torchvision data set without its download."""
    data = kind.__new__(kind)
    data.__dict__.update({"transform": None, "target_transform": None, "transforms": None, **attributes})
    return data


def test_torchvision_s_arrays_are_read_as_arrays() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    cifar = open_source(made(CIFAR10, data=pixels, targets=LABELS))
    assert isinstance(cifar, ArraySource)
    check(cifar, list(pixels), LABELS)
    stl = open_source(made(STL10, data=pixels.transpose(0, 3, 1, 2), labels=np.array([0, 1, -1, 2, 0, -1])))
    check(stl, list(pixels), [0, 1, -1, 2, 0, -1])


def test_a_subset_is_a_part_of_what_its_data_set_is(tmp_path: Path) -> None:
    whole = ImageFolder(str(image_folder(tmp_path)))
    source = open_source(Subset(whole, [5, 0, 2, 3]))
    assert [source.key(i).rsplit("/")[-1] for i in range(4)] == ["5.jpg", "0.jpg", "1.jpg", "4.jpg"]
    assert [source.label(i) for i in range(4)] == [2, 0, 1, 1]


class Own:
    """Somebody's data set. kind: what its samples are."""

    def __init__(self, kind: str) -> None:
        self.kind, self.read = kind, 0

    def __len__(self) -> int:
        return len(PICTURES)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        self.read += 1
        picture, label = PICTURES[index], LABELS[index]
        tensor = torch.from_numpy(picture).permute(2, 0, 1)
        return {"pillow": (Image.fromarray(picture), label), "tensor": (tensor, torch.tensor(label)),
                "array": [picture, label, "x"],
                "bytes": {"jpg": jpeg(picture), "cls": str(label).encode(), "__key__": "k"}, "alone": Image.fromarray(picture),
                "float": (tensor / 255, label), "text": ("no image", label), "two": {"a": tensor, "b": tensor}}[self.kind]


@pytest.mark.parametrize("kind", ["pillow", "tensor", "array", "bytes", "alone"])
def test_any_data_set_with_a_length_and_numbers_is_read_through_its_own_code(kind: str) -> None:
    check(open_source(Own(kind)), decoded(kind == "bytes"), [-1] * 6 if kind == "alone" else LABELS)


def test_what_was_read_for_its_size_is_kept_for_its_pixels() -> None:
    data = Own("pillow")
    source = open_source(data)
    before = data.read
    source.size_hw(np.arange(6))
    seen(source)
    assert data.read == before + 6
    source.size_hw(np.arange(6))
    assert data.read == before + 6


@pytest.mark.parametrize(("data", "said"), [
    (Own("float"), r"Own\[0\]: needs an image first, got Tensor of float32 \(3, .*been through a transform"),
    (Own("text"), r"Own\[0\]: needs an image first, got str"),
    (Own("two"), r"Own\[0\]: needs one image, found a, b among a, b"),
    ({"train": 1}, r"dict\[0\] raised KeyError: 0: is it a list of samples"),
    (made(CIFAR10, data=np.zeros((1, 8, 8, 3), np.uint8), targets=[0], transform=len), "has a transform of its own.*to None"),
    ((x for x in [1]), r"a generator can only be gone through from its beginning.*vm.pack_stream\(stream, 'shards/'\)"),
])
def test_what_cannot_be_read_is_refused_in_one_line_with_the_way_out(data: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        open_source(data)
    assert "\n" not in str(caught.value)


def test_a_sample_that_its_code_cannot_give_is_a_bad_sample() -> None:
    source = open_source(Own("pillow"))
    source._dataset.kind = "gone"  # type: ignore[attr-defined]
    with pytest.raises(BadSample, match="its data set raised KeyError: 'gone'"):
        source.read(2)
    assert source.size_hw(np.array([2])).tolist() == [[0, 0]]


def test_hugging_face_s_tables_give_their_bytes_and_labels() -> None:
    datasets = pytest.importorskip("datasets", reason=f"datasets {EXTRA}")
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])})
    rows = {"img": [{"bytes": jpeg(picture), "path": None} for picture in PICTURES], "label": LABELS}
    table = datasets.Dataset.from_dict(rows, features=features)
    check(open_source(table), decoded(True), LABELS)
    assert open_source(table).read(2) == jpeg(PICTURES[2])
    plain = open_source(table.remove_columns("label"))
    assert not plain.labelled and plain.label(0) == -1
    with pytest.raises(DataError, match=r"splits train, test: give one of them, as in data\['train'\]"):
        open_source(datasets.DatasetDict({"train": table, "test": table}))
    with pytest.raises(DataError, match=r"has a transform of its own.*reset_format"):
        open_source(table.with_transform(lambda rows: rows))
    with pytest.raises(DataError, match=r"one column of images, found 0 among label \(ClassLabel\)"):
        open_source(table.select_columns(["label"]))
    with pytest.raises(DataError, match=r"streamed table .*pack_stream"):
        open_source(table.to_iterable_dataset())


def test_a_loader_shows_a_table_as_it_shows_the_same_files(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason=f"datasets {EXTRA}")
    files = ImageFolder(str(image_folder(tmp_path)))
    rows = {"image": [path for path, _ in files.samples], "label": [label for _, label in files.samples]}
    table = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    shown = []
    for data in (files, table):
        with vm.Loader(data, SMALL, 3, sidecar=False) as loader:
            shown.append([(batch.views, batch.label) for batch in loader])
    for (views, label), (same, alike) in zip(*shown, strict=True):
        assert torch.equal(label, alike) and all(torch.equal(views[group], same[group]) for group in views)


@pytest.mark.parametrize("encoding", ["jpeg", "pil", "bytes"])
def test_mosaicml_s_shards_give_their_bytes_and_labels(encoding: str, tmp_path: Path) -> None:
    streaming = pytest.importorskip("streaming", reason="mosaicml-streaming is not installed: docs/plug-in.md says how to get it")
    columns = {"label": "int", "image": encoding, "name": "str"}
    with streaming.MDSWriter(out=str(tmp_path), columns=columns, size_limit=4000) as writer:
        for picture, label in zip(PICTURES, LABELS, strict=True):
            image = Image.open(io.BytesIO(jpeg(picture))) if encoding == "jpeg" else \
                Image.fromarray(picture) if encoding == "pil" else jpeg(picture)
            writer.write({"label": label, "image": image, "name": "x" * label})
    data = streaming.StreamingDataset(local=str(tmp_path), batch_size=1, shuffle=True)
    assert len(data.shards) > 1
    wanted = [np.asarray(data[i]["image"].convert("RGB")) for i in range(6)] if encoding != "bytes" else decoded(True)
    check(open_source(data), wanted, LABELS)
    (tmp_path / data.shards[1].raw_data.basename).unlink()
    with pytest.raises(DataError, match=r"1 of \d+ shards are not on this machine, the first is shard.00001.mds: fetch them"):
        open_source(data)


@pytest.mark.slow
def test_litdata_s_chunks_are_read_through_its_own_code(tmp_path: Path) -> None:
    litdata = pytest.importorskip("litdata", reason=f"litdata {EXTRA}")
    np.savez(tmp_path / "pictures.npz", *PICTURES)
    (tmp_path / "chunks.py").write_text(CHUNKS)  # its workers import what they run
    subprocess.run([sys.executable, "chunks.py"], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    images, labels = seen(open_source(litdata.StreamingDataset(str(tmp_path / "chunks"))))
    assert labels == LABELS and all(np.array_equal(a, b) for a, b in zip(images, PICTURES, strict=True))


CHUNKS = """
import litdata, numpy
from PIL import Image

def sample(index):
    with numpy.load("pictures.npz") as pictures:
        return {"image": Image.fromarray(pictures[f"arr_{index}"]), "label": index % 3}

if __name__ == "__main__":
    litdata.optimize(sample, list(range(6)), "chunks", chunk_bytes="4KB", num_workers=1)
"""


def test_lightly_s_data_set_is_the_one_inside_it(tmp_path: Path) -> None:
    os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")
    data = pytest.importorskip("lightly.data", reason="lightly is not installed: docs/plug-in.md says how to get it")
    source = open_source(data.LightlyDataset(str(image_folder(tmp_path))))
    images, labels = seen(source)
    assert all(np.array_equal(a, decoded(True)[b]) for a, b in zip(images, BY_CLASS, strict=True))
    assert labels == [0, 0, 1, 1, 2, 2]
    with pytest.raises(DataError, match="LightlyDataset has a transform of its own"):
        open_source(data.LightlyDataset(str(tmp_path), transform=lambda image: image))


def shards(root: Path) -> str:
    for shard in range(2):
        numbers = range(3 * shard, 3 * shard + 3)
        samples = [(f"{i:03d}", {"jpg": jpeg(PICTURES[i]), "cls": str(LABELS[i]).encode()}) for i in numbers]
        write_shard(root / f"train-{shard}.tar", samples)
    return str(root / "train-{0..1}.tar")


def test_webdataset_s_pipelines_are_their_shards_where_they_only_read(tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    pattern = shards(tmp_path)
    pipelines = [
        wds.WebDataset(pattern, shardshuffle=100).shuffle(1000).decode("pil").to_tuple("jpg", "cls").batched(4),
        wds.DataPipeline(wds.SimpleShardList(pattern), wds.split_by_node, wds.split_by_worker, wds.tarfile_to_samples(),
                         wds.shuffle(10)),
    ]
    for pipeline in pipelines:
        source = open_source(pipeline)
        assert isinstance(source, TarSource) and source.fingerprint == open_source(pattern).fingerprint
    with pytest.raises(DataError, match=r"stage map of this webdataset pipeline may change its samples: leave it out, or .*pack"):
        open_source(wds.WebDataset(pattern, shardshuffle=False).map(lambda sample: sample))
    with pytest.raises(DataError, match="stage select of this"):
        open_source(wds.WebDataset(pattern, shardshuffle=False).select(lambda sample: True))


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        for picture, label in zip(PICTURES, LABELS, strict=True):
            yield Image.fromarray(picture), label


def test_a_stream_becomes_shards_that_are_read_by_number(tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    with pytest.raises(DataError, match="a Stream can only be gone through"):
        open_source(Stream())
    summary = vm.pack_stream(Stream(), tmp_path / "own", shard_bytes=1500)
    assert summary.samples == 6 and summary.shards > 1
    check(open_source(tmp_path / "own"), PICTURES, LABELS)
    (tmp_path / "tars").mkdir()
    pipeline = wds.WebDataset(shards(tmp_path / "tars"), shardshuffle=False).map(lambda sample: sample)
    vm.pack_stream(pipeline, tmp_path / "mapped")
    source = open_source(tmp_path / "mapped")
    assert [source.read(i) for i in range(6)] == [jpeg(picture) for picture in PICTURES]
    with pytest.raises(DataError, match="mapped: not empty: name a new folder"):
        vm.pack_stream(Stream(), tmp_path / "mapped")
    with pytest.raises(DataError, match="the stream has no sample"):
        vm.pack_stream([], tmp_path / "none")
    with pytest.raises(DataError, match=r"sample 1: needs an image first, got int"):
        vm.pack_stream([PICTURES[0], 7], tmp_path / "bad")
