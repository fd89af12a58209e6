"""Sources and targets behind URLs, and commands."""

from __future__ import annotations

import functools
import http.server
import os
import shlex
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from viewmill.pipelines.catalogue import CATALOGUE, Catalogue, read_catalogue
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.index_file import read_index
from viewmill.pipelines.pack import Settings
from viewmill.pipelines.pack.index_only import index_only

from ..shards import encoded, picture, shard, write_tar
from .packed import members, packed, sums


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Answers ranges, as object stores do; the file server of the standard library does not."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        data = path.read_bytes()
        wanted = self.headers.get("Range")
        begin, end = 0, len(data) - 1
        if wanted and "whole-only" not in path.name:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last or end), end)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(end - begin + 1))
        self.end_headers()
        self.wfile.write(data[begin:end + 1])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and its URL."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Ranges, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def memory() -> Iterator[str]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield "memory://bucket/train"
    system.store.clear()


@pytest.mark.parametrize("shuffle", [True, False])
def test_tars_behind_http_are_the_tars_on_disk(served: tuple[Path, str], tmp_path: Path, shuffle: bool) -> None:
    folder, url = served
    paths = [shard(folder / f"t-{i}.tar", 9, 9 * i) for i in range(2)]
    packed(f"{url}/t-{{0..1}}.tar", tmp_path / "remote", shard_samples=5, shuffle=shuffle)
    packed([*paths], tmp_path / "local", shard_samples=5, shuffle=shuffle)
    assert sums(tmp_path / "remote") == sums(tmp_path / "local")


def test_a_damaged_or_missing_tar_is_named(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = served
    shard(folder / "a.tar", 3)
    cut = shard(folder / "b.tar", 3, 10)
    cut.write_bytes(cut.read_bytes()[:2700])
    summary = packed(f"{url}/{{a,b,c}}.tar", tmp_path / "out", damaged="keep")
    assert summary.status == 1 and sorted(members(tmp_path / "out"))[::2] == ["00000.cls", "00001.cls", "00002.cls", "00010.cls"]
    assert f"{url}/b.tar: cut short" in summary.problems[0] and f"{url}/c.tar" in summary.problems[1]


def test_a_server_that_sends_no_parts_is_refused_in_one_line(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = served
    shard(folder / "whole-only.tar", 9)
    with pytest.raises(DataError, match="sends whole files only"):
        packed(f"{url}/whole-only.tar", tmp_path / "out")


def test_an_object_store_as_source_and_target(memory: str, tmp_path: Path) -> None:
    source = [shard(tmp_path / f"{i}.tar", 9, 9 * i) for i in range(2)]
    packed([*source], tmp_path / "local", shard_samples=5)
    first = packed([*source], memory, shard_samples=5)  # type: ignore[arg-type]
    system = fsspec.filesystem("memory")
    uploaded = {path.rpartition("/")[2]: system.cat_file(path) for path in system.ls("/bucket/train", detail=False)}
    assert uploaded == {path.name: path.read_bytes() for path in (tmp_path / "local").iterdir() if path.is_file()}
    assert packed([*source], memory, shard_samples=5).packed_now == 0 < first.packed_now  # type: ignore[arg-type]
    packed(f"{memory}/shard-*.tar", tmp_path / "back", shuffle=False)
    assert members(tmp_path / "back") == members(tmp_path / "local")


def test_commands_run_only_when_allowed(tmp_path: Path) -> None:
    source = shard(tmp_path / "x.tar", 7)
    command = f"pipe:cat {shlex.quote(str(source))}"
    with pytest.raises(DataError, match="--allow-pipe"):
        packed(command, tmp_path / "out")
    packed(command, tmp_path / "out", allow_pipe=True)
    packed(source, tmp_path / "direct")
    assert sums(tmp_path / "out") == sums(tmp_path / "direct")
    with pytest.raises(DataError, match="the command failed"):
        packed("pipe:exit 3", tmp_path / "failed", allow_pipe=True)


class TestIndexOnly:
    def test_local_tars_keep_their_bytes_and_get_indexes_and_a_catalogue(self, tmp_path: Path) -> None:
        paths = [shard(tmp_path / f"{i}.tar", 3 + i) for i in range(3)]
        before = [path.read_bytes() for path in paths]
        summary = index_only([str(tmp_path / "*.tar")], None, Settings())
        assert (summary.shards, summary.samples, summary.status) == (3, 12, 0) and [p.read_bytes() for p in paths] == before
        catalogue = read_catalogue(tmp_path)
        assert catalogue is not None and list(catalogue.names) == ["0.tar", "1.tar", "2.tar"]
        index, facts = read_index((tmp_path / "2.tar.index").read_bytes())
        assert list(index.keys()) == [f"{i:05d}" for i in range(5)] and index.checksums and facts.tar_bytes == len(before[2])

    @pytest.mark.parametrize("damaged", ["skip", "keep"])
    def test_damage_is_named_and_left_out_or_kept_up_to_it(self, tmp_path: Path, damaged: str) -> None:
        shard(tmp_path / "0.tar", 3)
        cut = shard(tmp_path / "1.tar", 6)
        cut.write_bytes(cut.read_bytes()[:4200])
        summary = index_only([str(tmp_path)], None, Settings(damaged=damaged))
        catalogue = read_catalogue(tmp_path)
        assert catalogue is not None and summary.status == 1 and "1.tar" in summary.problems[0]
        assert catalogue.shard_sizes.tolist() == ([3] if damaged == "skip" else [3, 2])

    def test_remote_tars_into_a_folder_or_beside_them(self, served: tuple[Path, str], memory: str, tmp_path: Path) -> None:
        folder, url = served
        paths = [shard(folder / f"{i}.tar", 3 + i) for i in range(2)]
        index_only([f"{url}/{{0..1}}.tar"], str(tmp_path / "indexes"), Settings())
        assert sorted(os.listdir(tmp_path / "indexes")) == ["0.tar.index", "1.tar.index", CATALOGUE]
        system = fsspec.filesystem("memory")
        for path in paths:
            system.pipe_file(f"/bucket/train/{path.name}", path.read_bytes())
        index_only([f"{memory}/*.tar"], None, Settings())
        there = Catalogue.from_bytes(system.cat_file(f"/bucket/train/{CATALOGUE}"))
        assert there.shard_sizes.tolist() == [3, 4] and system.exists("/bucket/train/1.tar.index")
        assert (tmp_path / "indexes" / CATALOGUE).read_bytes() == system.cat_file(f"/bucket/train/{CATALOGUE}")

    def test_an_index_that_fits_is_kept_and_that_of_another_tar_of_equal_length_is_not(self, tmp_path: Path) -> None:
        """Newer than the tar, with checksums, of equal length: only names and bytes of samples tell."""
        paths = [shard(tmp_path / f"{i}.tar", 3, 3 * i) for i in range(2)]
        assert paths[0].stat().st_size == paths[1].stat().st_size
        index_only([str(tmp_path)], None, Settings())
        own = [Path(f"{path}.index").read_bytes() for path in paths]
        written = Path(f"{paths[0]}.index").stat().st_ino
        Path(f"{paths[1]}.index").write_bytes(own[0])
        index_only([str(tmp_path)], None, Settings())
        assert [Path(f"{path}.index").read_bytes() for path in paths] == own
        assert Path(f"{paths[0]}.index").stat().st_ino == written
        catalogue = read_catalogue(tmp_path)
        assert catalogue is not None and catalogue.digest(0) != catalogue.digest(1)

    @pytest.mark.parametrize("row", [0, 2, 4])
    def test_equal_names_of_other_images_are_another_tar(self, tmp_path: Path, row: int) -> None:
        """The first, the middle and the last of five images are looked at."""
        path = shard(tmp_path / "x.tar", 5)
        index_only([str(path)], None, Settings())
        index, _ = read_index((before := Path(f"{path}.index")).read_bytes())
        sealed, status = before.read_bytes(), path.stat()
        offset, size = index.place(row)
        data = bytearray(path.read_bytes())
        data[offset + size - 3] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        index_only([str(path)], None, Settings())
        assert before.read_bytes() != sealed

    @pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_indexes_of_long_names_are_kept(self, tmp_path: Path, layout: int) -> None:
        for number, name in enumerate(["n" * 150, "f/" * 70 + "x"]):
            path = write_tar(tmp_path / f"{number}.tar", [(f"{name}.jpg", encoded(picture(6, 8))), (f"{name}.cls", b"1")], layout)
            index_only([str(path)], None, Settings())
            written = Path(f"{path}.index").stat().st_ino
            index_only([str(path)], None, Settings())
            assert Path(f"{path}.index").stat().st_ino == written, name[:3]

    def test_one_catalogue_has_one_place(self, tmp_path: Path) -> None:
        for name in "ab":
            (tmp_path / name).mkdir()
            shard(tmp_path / name / "x.tar", 1)
        with pytest.raises(DataError, match="tars in 2 places"):
            index_only([str(tmp_path / "*" / "x.tar")], None, Settings())
        with pytest.raises(DataError, match="indexes beside them"):
            index_only([str(tmp_path / "a" / "x.tar")], str(tmp_path / "b"), Settings())
