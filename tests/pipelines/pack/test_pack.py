"""Packing from end to end: what goes in comes out, in the same shards for any number of workers."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from viewmill import Loader
from viewmill.pipelines.catalogue import read_catalogue
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.pack import Settings, pack
from viewmill.pipelines.quarantine import read_quarantine

from ..shards import encoded, picture, shard, write_tar
from ..streams import SMALL
from .packed import members, order, packed, sums


def photos(root: Path) -> dict[str, bytes]:
    """Two classes and one image outside of them; keys without their extension."""
    images = {"katze/ünï 日本": encoded(picture(5, 7, 1)), "katze/b_v2": encoded(picture(6, 9, 2), "PNG"),
              "hund/a": encoded(picture(8, 3, 3)), "lose": encoded(picture(4, 4, 4))}
    for key, data in images.items():
        name = {"katze/b_v2": "katze/b.v2.png"}.get(key, f"{key}.JPG")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return images


class TestFolders:
    def test_images_keep_their_bytes_and_classes_their_numbers(self, tmp_path: Path) -> None:
        images = photos(tmp_path / "in")
        summary = packed(tmp_path / "in", tmp_path / "out")
        assert members(tmp_path / "out") == {
            "katze/ünï 日本.jpg": images["katze/ünï 日本"], "katze/ünï 日本.cls": b"1", "katze/b_v2.png": images["katze/b_v2"],
            "katze/b_v2.cls": b"1", "hund/a.jpg": images["hund/a"], "hund/a.cls": b"0", "lose.jpg": images["lose"]}
        assert json.loads((tmp_path / "out" / "classes.json").read_text()) == ["hund", "katze"]
        assert (summary.samples, summary.encoded, summary.status) == (4, 0, 0)
        assert summary.bytes_in == summary.bytes_out == sum(map(len, images.values()))

    def test_classes_of_several_folders_are_numbered_together(self, tmp_path: Path) -> None:
        for name, classes in (("a", "cat dog"), ("b", "ant dog")):
            for each in classes.split():
                (tmp_path / name / each).mkdir(parents=True)
                (tmp_path / name / each / f"{name}.jpg").write_bytes(encoded(picture(4, 4)))
        packed([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
        labels = {name: int(data) for name, data in members(tmp_path / "out").items() if name.endswith(".cls")}
        assert labels == {"cat/a.cls": 1, "dog/a.cls": 2, "ant/b.cls": 0, "dog/b.cls": 2}

    def test_a_folder_without_images(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        with pytest.raises(DataError, match="no images in this folder"):
            packed(tmp_path / "in", tmp_path / "out")


class TestTars:
    def test_all_members_of_a_sample_go_along(self, tmp_path: Path) -> None:
        files = [("a.cls", b"3"), ("a.jpg", encoded(picture(4, 4))), ("a.json", b'{"x": 1}'), ("a.txt", b"words"),
                 ("./d/b.seg.png", encoded(picture(4, 4), "PNG")), ("./d/b.jpg", encoded(picture(5, 5))), ("c.txt", b"no image")]
        packed(write_tar(tmp_path / "x.tar", files), tmp_path / "out")
        found = members(tmp_path / "out")
        assert found == {name.removeprefix("./"): data for name, data in files if name != "c.txt"}

    @pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_every_layout_and_long_names(self, tmp_path: Path, layout: int) -> None:
        long = "x" * 90 if layout == tarfile.USTAR_FORMAT else "日本/" * 60 + "x" * 120
        files = [(f"{long}{i}.jpg", encoded(picture(4 + i, 4, i))) for i in range(5)]
        packed(write_tar(tmp_path / "x.tar", files, layout), tmp_path / "out")
        assert members(tmp_path / "out") == dict(files)

    def test_names_that_would_leave_are_refused_and_logged(self, tmp_path: Path) -> None:
        image = encoded(picture(4, 4))
        path = write_tar(tmp_path / "x.tar", [("../../evil.jpg", image), ("/etc/abs.jpg", image), ("good.jpg", image)])
        summary = packed(path, tmp_path / "out")
        assert list(members(tmp_path / "out")) == ["good.jpg"] and summary.listed == 3
        about, = summary.refused.values()
        assert about == {"count": 2, "examples": ["x.tar: ../../evil", "x.tar: /etc/abs"]}
        logged = read_quarantine(tmp_path / "out" / "refused.jsonl")
        assert [each.key for each in logged] == ["../../evil", "/etc/abs"] and all("absolute" in each.reason for each in logged)

    def test_equal_keys_get_numbers(self, tmp_path: Path) -> None:
        paths = [shard(tmp_path / f"{name}.tar", 3, 0 if name != "c" else 1) for name in "abc"]
        write_tar(tmp_path / "d.tar", [("00001_2.jpg", encoded(picture(9, 9)))])  # what the second 00001 would be called
        summary = packed([*paths, tmp_path / "d.tar"], tmp_path / "out", shuffle=False)
        assert [name.removesuffix(".jpg") for name in order(tmp_path / "out")] == [
            "00000", "00001", "00002", "00000_2", "00001_3", "00002_2", "00001_4", "00002_3", "00003", "00001_2"]
        assert summary.renamed == 5

    @pytest.mark.parametrize("damaged", ["skip", "keep"])
    def test_damaged_tars(self, tmp_path: Path, damaged: str) -> None:
        whole, cut = shard(tmp_path / "a.tar", 3), shard(tmp_path / "b.tar", 4, 10)
        cut.write_bytes(cut.read_bytes()[:4 * 1024 + 700])
        summary = packed([whole, cut], tmp_path / "out", damaged=damaged)
        assert summary.status == 1 and len(summary.problems) == 1 and "b.tar" in summary.problems[0]
        kept = sorted(order(tmp_path / "out"))
        assert kept[:3] == ["00000.jpg", "00001.jpg", "00002.jpg"]
        assert (len(kept) > 3) == (damaged == "keep") and "00013.jpg" not in kept

    def test_a_source_that_is_only_damage(self, tmp_path: Path) -> None:
        (tmp_path / "x.tar").write_bytes(b"not a tar" * 99)
        with pytest.raises(DataError, match="not a tar"):
            packed(tmp_path / "x.tar", tmp_path / "out")


class TestTables:
    def test_a_csv_with_names_for_labels_and_metadata(self, tmp_path: Path) -> None:
        images = photos(tmp_path / "in")
        (tmp_path / "in" / "list.csv").write_text(
            'path,species,"a note"\nkatze/ünï 日本.JPG,cat,"x, ""y"""\n../in/hund/a.JPG,dog,\nlose.JPG,,\nmissing.jpg,cat,\n',
            "utf-8")
        summary = packed(tmp_path / "in" / "list.csv", tmp_path / "out", label="species")
        found = members(tmp_path / "out")
        note = found.pop("katze/ünï 日本.json")
        assert json.loads(note) == {"a note": 'x, "y"'}
        assert found == {"katze/ünï 日本.jpg": images["katze/ünï 日本"], "katze/ünï 日本.cls": b"0", "lose.jpg": images["lose"]}
        assert sorted(summary.refused) == ["cannot be read (No such file or directory)",
                                           "its name would leave the folder (absolute, or with ../)"]
        assert json.loads((tmp_path / "out" / "classes.json").read_text()) == ["cat", "dog"]

    def test_a_tsv_without_a_head_has_paths_and_whole_numbers(self, tmp_path: Path) -> None:
        photos(tmp_path / "in")
        (tmp_path / "in" / "list.tsv").write_text("hund/a.JPG\t7\nlose.JPG\t12\n")
        packed(tmp_path / "in" / "list.tsv", tmp_path / "out")
        assert {name: data for name, data in members(tmp_path / "out").items() if name.endswith("cls")} == {
            "hund/a.cls": b"7", "lose.cls": b"12"}
        assert not (tmp_path / "out" / "classes.json").exists()

    @pytest.mark.parametrize(("text", "options", "said"), [
        ("a,b\nx,y\n", {}, "which column has the images"), ("path,l\nx.jpg,1\n", {"label": "lable"}, "no column 'lable'"),
        ("", {}, "an empty table"), ("path,path\nx,y\n", {}, "two columns of one name"),
        ("path\nx.jpg,1\n", {}, "2 cells in 1 columns"),
    ])
    def test_mistakes(self, tmp_path: Path, text: str, options: dict[str, str], said: str) -> None:
        (tmp_path / "list.csv").write_text(text)
        with pytest.raises(DataError, match=said):
            packed(tmp_path / "list.csv", tmp_path / "out", **options)


class TestChoices:
    def test_duplicates_of_other_names_are_dropped_after_the_first(self, tmp_path: Path) -> None:
        same, other = encoded(picture(4, 4)), encoded(picture(5, 5))
        write_tar(tmp_path / "a.tar", [("z.jpg", same), ("y.jpg", other)])
        write_tar(tmp_path / "b.tar", [("a.jpg", same), ("b.jpg", encoded(picture(6, 6))), ("c.jpg", other)])
        sources = [tmp_path / "a.tar", tmp_path / "b.tar"]
        summary = packed(sources, tmp_path / "out", duplicates="drop")
        assert sorted(order(tmp_path / "out")) == ["b.jpg", "y.jpg", "z.jpg"] and summary.duplicates == 2
        assert packed(sources, tmp_path / "kept").samples == 5

    def test_refused_images_are_named_and_can_be_skipped(self, tmp_path: Path) -> None:
        good = encoded(np.kron(picture(9, 9), np.ones((8, 8, 1), np.uint8)))
        files = [("a.jpg", good), ("b.jpg", good[:len(good) // 2]), ("c.jpg", b"junk"), ("d.jpg", b"")]
        path = write_tar(tmp_path / "x.tar", files)
        summary = packed(path, tmp_path / "out", verify="decode")
        assert {reason: about["count"] for reason, about in summary.refused.items()} == {
            "JPEG cut short": 1, "not an image": 1, "empty, 0 bytes": 1}
        assert summary.status == 0 and list(members(tmp_path / "out")) == ["a.jpg"]
        again = packed(path, tmp_path / "again", verify="none", skip=str(tmp_path / "out" / "refused.jsonl"))
        assert list(members(tmp_path / "again")) == ["a.jpg"] and again.skipped == 3

    def test_shards_of_so_many_samples_or_bytes(self, tmp_path: Path) -> None:
        source = shard(tmp_path / "x.tar", 23)
        packed(source, tmp_path / "a", shard_samples=5)
        assert read_catalogue(tmp_path / "a").shard_sizes.tolist() == [5, 5, 5, 5, 3]  # type: ignore[union-attr]
        packed(source, tmp_path / "b", shard_bytes=30_000)
        assert all(p.stat().st_size <= 30_720 for p in (tmp_path / "b").glob("*.tar"))
        assert len(list((tmp_path / "b").glob("*.tar"))) > 1

    def test_encoded_anew_it_is_smaller_and_named_jpg(self, tmp_path: Path) -> None:
        files = [("a.png", encoded(picture(40, 60), "PNG")), ("b.jpg", encoded(picture(10, 20))),
                 ("c.JPEG", encoded(picture(90, 30)))]
        summary = packed(write_tar(tmp_path / "x.tar", files), tmp_path / "out", shortest=20)
        found = members(tmp_path / "out")
        assert {name: Image.open(io.BytesIO(data)).size for name, data in found.items()} == {
            "a.jpg": (30, 20), "b.jpg": (20, 10), "c.jpeg": (20, 60)}
        assert found["b.jpg"] == files[1][1] and summary.encoded == 2 and summary.bytes_out < summary.bytes_in

    def test_a_shuffle_is_another_order_of_the_same(self, tmp_path: Path) -> None:
        source = shard(tmp_path / "x.tar", 30, labelled=False)
        orders = []
        for name, options in (("a", {}), ("b", {"seed": 1}), ("c", {"shuffle": False})):
            packed(source, tmp_path / name, **options)
            orders.append(order(tmp_path / name))
        assert orders[2] == sorted(orders[0]) == sorted(orders[1]) and len({tuple(each) for each in orders}) == 3


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    sources: list[Path] = [shard(tmp_path / f"{i}.tar", 20, 20 * i) for i in range(3)]
    photos(tmp_path / "photos")
    found = []
    for workers in (1, 2, 3):
        packed([*sources, tmp_path / "photos"], tmp_path / f"out{workers}", workers=workers, shard_samples=7, longest=6,
               duplicates="drop")
        found.append(sums(tmp_path / f"out{workers}"))
    assert found[0] == found[1] == found[2] and sum(name.endswith(".tar") for name in found[0]) == 10


def test_a_loader_over_the_shards_shows_the_images_of_the_source(tmp_path: Path) -> None:
    source = shard(tmp_path / "x.tar", 30)
    packed(source, tmp_path / "out", shard_samples=8)
    seen = []
    for data in (source, tmp_path / "out"):
        with Loader(data, SMALL, 5, sidecar=False, threads=1, engine="torch") as loader:
            keys = [loader.source.key(i) for i in range(30)]
            content = {key: (loader.source.read(i), loader.source.label(i)) for i, key in enumerate(keys)}
            delivered = sorted(key for batch in loader for key in batch.key)
        seen.append((content, delivered))
    assert seen[0] == seen[1] and len(seen[0][0]) == 30 and seen[1][1] == sorted(seen[1][0])


def test_webdataset_reads_the_shards(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    source = shard(tmp_path / "x.tar", 12)
    packed(source, tmp_path / "out", shard_samples=5)
    paths = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    found = {each["__key__"]: (each["jpg"], int(each["cls"])) for each in webdataset.WebDataset(paths, shardshuffle=False)}
    assert found == {f"{i:05d}": (encoded(picture(4 + i % 3, 8, i)), i % 5) for i in range(12)}


class TestAgain:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[Path]:
        yield shard(tmp_path / "x.tar", 12)

    def test_done_is_done(self, source: Path, tmp_path: Path) -> None:
        first = packed(source, tmp_path / "out", shard_samples=5)
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
        second = packed(source, tmp_path / "out", shard_samples=5)
        assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
        assert second.packed_now == 0 and second.bytes_in == first.bytes_in

    def test_other_options_or_another_source_are_refused_in_one_line(self, source: Path, tmp_path: Path) -> None:
        packed(source, tmp_path / "out", shard_samples=5)
        with pytest.raises(DataError, match=r"shard_samples=5 before, 6 now.*overwrite=true"):
            packed(source, tmp_path / "out", shard_samples=6)
        with pytest.raises(DataError, match="another source: 1 files or folders before, 2 now"):
            packed([source, shard(tmp_path / "y.tar", 3, 50)], tmp_path / "out", shard_samples=5)
        shard(source, 13)
        with pytest.raises(DataError, match=r"another content of x\.tar"):
            packed(source, tmp_path / "out", shard_samples=5)
        packed(source, tmp_path / "out", shard_samples=6, overwrite=True)
        assert read_catalogue(tmp_path / "out").shard_sizes.tolist() == [6, 6, 1]  # type: ignore[union-attr]
        assert len(list((tmp_path / "out").glob("*.tar"))) == 3

    def test_shards_of_others_and_the_source_itself_are_left_alone(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "shard-000000.tar").write_bytes(b"mine")
        with pytest.raises(DataError, match=r"has shard-000000\.tar already"):
            packed(source, tmp_path / "out")
        with pytest.raises(DataError, match="the source lies there"):
            packed(source, tmp_path, overwrite=True)
        assert (tmp_path / "out" / "shard-000000.tar").read_bytes() == b"mine" and source.exists()

    def test_two_packs_at_once(self, source: Path, tmp_path: Path) -> None:
        from viewmill.pipelines.pack import begun

        target = str(tmp_path / "out")
        with begun.locked(begun.plan_folder(target), target), pytest.raises(DataError, match="another pack is at work"):
            pack([str(source)], target, Settings(workers=1))
