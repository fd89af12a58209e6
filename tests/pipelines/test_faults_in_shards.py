"""Every fault inside a shard has one outcome: read as something, replaced for a reason, not a sample, or refused in one line."""

from __future__ import annotations

import builtins
import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from viewmill import Loader
from viewmill.pipelines.decode import decode
from viewmill.pipelines.engines.cpu.cache import kernels_folder
from viewmill.pipelines.faults import BadSample, DataError
from viewmill.pipelines.quarantine import read_quarantine
from viewmill.pipelines.source import open_source
from viewmill.pipelines.sources.tar import TarSource

from .shards import encoded, picture, write_tar
from .streams import SMALL

PHOTO = np.kron(picture(12, 16), np.ones((4, 4, 1), np.uint8))  # 48 x 64
JPEG = encoded(PHOTO, quality=90)
PNG = encoded(PHOTO, "PNG")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels_folder()  # those of the user's cache serve
    monkeypatch.setenv("VIEWMILL_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def outcome(source: Any, index: int) -> np.ndarray | str:
    """Pixels, or the reason why there are none."""
    try:
        return decode(source.read(index))
    except BadSample as reason:
        return str(reason)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(side: int) -> bytes:
    """side x side gray zeros, that really are there: a thousandth of their size when compressed. Of equal parts, which can follow
    each other after a full flush; the checksum of n zeros is 1 + 65536 n, modulo 65521 (Adler-32)."""
    packer = zlib.compressobj(9)
    start = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    part = packer.compress(bytes(100 * (side + 1))) + packer.flush(zlib.Z_FULL_FLUSH)
    rows = start + part * (side // 100) + b"\x03\0" + struct.pack(">I", side * (side + 1) % 65521 << 16 | 1)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def sized(jpeg: bytes, height: int, width: int) -> bytes:
    """A JPEG that says it has another size."""
    frame = jpeg.index(b"\xff\xc0")
    return jpeg[:frame + 5] + struct.pack(">HH", height, width) + jpeg[frame + 9:]


def ycck() -> bytes:
    data = encoded(Image.fromarray(PHOTO).convert("CMYK"))
    at = data.index(b"Adobe") + 11
    return data[:at] + b"\2" + data[at + 1:]


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(PHOTO, exif=exif, quality=90)


def animated(kind: str) -> bytes:
    frames = [Image.fromarray(PHOTO), *(Image.fromarray(255 - PHOTO) for _ in range(2))]
    options = {"lossless": True} if kind == "WEBP" else {}
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def pillows(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


DEEP = np.array([[0, 255, 256], [32767, 65280, 65535]], np.uint16)
ALPHA = np.dstack([PHOTO, np.zeros(PHOTO.shape[:2], np.uint8)])

IMAGES: dict[str, tuple[str, bytes, Callable[[], np.ndarray] | str]] = {
    "a JPEG": ("jpg", JPEG, lambda: pillows(JPEG)),
    "zero bytes": ("jpg", b"", "empty, 0 bytes"),
    "garbage": ("jpg", bytes(range(1, 256)) * 20, "not an image"),
    "zeros": ("jpg", bytes(3000), "not an image"),
    "JPEG cut in its pixels": ("jpg", JPEG[:len(JPEG) // 2], "JPEG cut short"),
    "JPEG without its last byte": ("jpg", JPEG[:-1], "JPEG cut short"),
    "JPEG cut in its header": ("jpg", JPEG[:100], "JPEG cut short before its size"),
    "JPEG with zeros in its middle": ("jpg", JPEG[:1500] + bytes(400) + JPEG[1900:], "JPEG damaged"),
    "PNG named .jpg": ("jpg", PNG, lambda: PHOTO),
    "JPEG named .png": ("png", JPEG, lambda: pillows(JPEG)),
    "text named .jpg": ("jpg", b"<html>404 Not Found</html>", "not an image"),
    "EPS named .jpg": ("jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%ls) (w) file\n", "not an image"),
    "JPEG that says 30,000 x 30,000": ("jpg", sized(JPEG, 30_000, 30_000), "more than 178,956,970 pixels"),
    "JPEG that says 10,000 x 10,000": ("jpg", sized(JPEG, 10_000, 10_000), "JPEG cut short|JPEG damaged"),
    "16-bit PNG": ("png", encoded(DEEP, "PNG"), lambda: np.dstack([(DEEP >> 8).astype(np.uint8)] * 3)),
    "CMYK JPEG": ("jpg", encoded(Image.fromarray(PHOTO).convert("CMYK")),
                  lambda: pillows(encoded(Image.fromarray(PHOTO).convert("CMYK")))),
    "YCCK JPEG": ("jpg", ycck(), lambda: pillows(ycck())),
    "palette PNG": ("png", encoded(Image.fromarray(PHOTO).quantize(16), "PNG"),
                    lambda: np.array(Image.fromarray(PHOTO).quantize(16).convert("RGB"))),
    "palette PNG with tRNS": ("png", encoded(Image.fromarray(PHOTO).quantize(16), "PNG", transparency=bytes(range(16))),
                              lambda: np.array(Image.fromarray(PHOTO).quantize(16).convert("RGB"))),
    "PNG with alpha": ("png", encoded(ALPHA, "PNG"), lambda: PHOTO),
    "animated WebP": ("webp", animated("WEBP"), lambda: PHOTO),
    "animated GIF": ("gif", animated("GIF"), lambda: pillows(animated("GIF"))),
    "JPEG turned by EXIF": ("jpg", rotated(), lambda: pillows(JPEG)),
    "bytes behind the JPEG": ("jpg", JPEG + b"a film", lambda: pillows(JPEG)),
}


@pytest.mark.parametrize("fault", IMAGES)
def test_images(tmp_path: Path, fault: str) -> None:
    """What is at fault lies between two sound samples, which are read as ever."""
    extension, data, expected = IMAGES[fault]
    files = [("a.jpg", JPEG), ("a.cls", b"1"), (f"b.{extension}", data), ("b.cls", b"2"), ("c.jpg", JPEG), ("c.cls", b"3")]
    source = TarSource([write_tar(tmp_path / "x.tar", files)])
    assert [source.key(i) for i in range(3)] == ["a", "b", "c"] and [source.label(i) for i in range(3)] == [1, 2, 3]
    for sound in (0, 2):
        assert np.array_equal(outcome(source, sound), pillows(JPEG))
    found = outcome(source, 1)
    if isinstance(expected, str):
        assert isinstance(found, str) and any(found.startswith(each) for each in expected.split("|"))
    else:
        assert isinstance(found, np.ndarray) and np.array_equal(found, expected())
        assert source.size_hw(np.array([1]))[0].tolist() == list(found.shape[:2])


def test_all_of_them_through_a_loader_are_replaced_counted_and_quarantined(tmp_path: Path) -> None:
    bad = {name for name, (_, _, expected) in IMAGES.items() if isinstance(expected, str)}
    files = [(f"{number:03}.{extension}", data) for number, (extension, data, _) in enumerate(IMAGES.values())]
    keys = {f"{number:03}" for number, name in enumerate(IMAGES) if name in bad}
    path = write_tar(tmp_path / "x.tar", files)
    with Loader(str(path), SMALL, len(files), threads=2, sidecar=False, max_bad=1.0,
                quarantine=tmp_path / "quarantine.jsonl") as loader:
        (batch,) = list(loader)
        reasons = loader.stats()["substituted"]
    assert len(bad) == 11 and sum(reasons.values()) == int(batch.substitute.sum()) == len(bad)
    assert not keys & set(batch.key)
    named = read_quarantine(tmp_path / "quarantine.jsonl")
    assert {each.key for each in named} == keys
    for each in named:
        expected = list(IMAGES.values())[int(each.key)][2]
        assert isinstance(expected, str) and any(each.reason.startswith(start) for start in expected.split("|"))


BOMB = """
import resource, sys
import numpy as np
from viewmill.pipelines.decode import decode
from viewmill.pipelines.faults import BadSample
from viewmill.pipelines.source import open_source
source = open_source(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for index in range(len(source)):
    source.size_hw(np.array([index]))
    try:
        decode(source.read(index))
        sys.exit("decoded")
    except BadSample as reason:
        print(reason)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_the_bomb_is_a_sound_image() -> None:
    assert not decode(png_bomb(500)).any()


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    """A PNG of 900 megapixels that is 0.9 MB, a JPEG and a progressive one that say as much: under 32 MiB more at the peak."""
    progressive = bytearray(sized(JPEG, 30_000, 30_000))
    progressive[progressive.index(b"\xff\xc0") + 1] = 0xC2
    bomb = png_bomb(30_000)
    assert len(bomb) < 1_000_000
    path = write_tar(tmp_path / "x.tar", [("a.png", bomb), ("b.jpg", sized(JPEG, 30_000, 30_000)), ("c.jpg", bytes(progressive))])
    said = subprocess.run([sys.executable, "-c", BOMB, str(path)], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[:3] == ["more than 178,956,970 pixels"] * 3 and int(said[3]) < 32


class TestMembers:
    def keys(self, tmp_path: Path, files: list[tuple[str, bytes]], layout: int = tarfile.USTAR_FORMAT) -> list[str]:
        source = TarSource([write_tar(tmp_path / "x.tar", files, layout)])
        assert all(isinstance(outcome(source, i), np.ndarray) for i in range(len(source)))
        return [source.key(i) for i in range(len(source))]

    def test_names_that_lead_out_are_only_names(self, tmp_path: Path) -> None:
        """Nothing is ever extracted, so no name is a place on this machine."""
        before = set(tmp_path.parent.iterdir())
        assert self.keys(tmp_path, [("../up.jpg", JPEG), ("/etc/passwd.jpg", JPEG), ("a/../../b.jpg", JPEG)]) == [
            "../up", "/etc/passwd", "a/../../b"]
        assert set(tmp_path.parent.iterdir()) == before and {p.name for p in tmp_path.iterdir()} == {"x.tar"}

    def test_duplicate_keys_are_samples_of_their_own(self, tmp_path: Path) -> None:
        assert self.keys(tmp_path, [("a.jpg", JPEG), ("a.jpg", JPEG), ("b.jpg", JPEG), ("a.jpg", JPEG)]) == ["a", "a", "b", "a"]

    @pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_long_names(self, tmp_path: Path, layout: int) -> None:
        name = "folder/" * 30 + "n" * 200
        assert self.keys(tmp_path, [(f"{name}.jpg", JPEG), ("b.jpg", JPEG)], layout) == [name, "b"]

    def test_links_folders_devices_and_sparse_files_are_no_images(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "x.tar", "w") as tar:
            for name, kind in (("a.jpg", tarfile.SYMTYPE), ("b.jpg", tarfile.LNKTYPE), ("c.jpg", tarfile.FIFOTYPE),
                               ("d.jpg", tarfile.DIRTYPE), ("e.jpg", tarfile.CHRTYPE)):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, "/etc/passwd"
                tar.addfile(info)
            info = tarfile.TarInfo("f.jpg")
            info.size = len(JPEG)
            tar.addfile(info, io.BytesIO(JPEG))
        source = TarSource([tmp_path / "x.tar"])
        assert [source.key(i) for i in range(len(source))] == ["f"]

    def test_many_members_without_an_image(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"^.*x\.tar: no images, found \.txt: images are members named KEY\.jpg"):
            self.keys(tmp_path, [(f"{i}.txt", b"") for i in range(20_000)])


@pytest.mark.parametrize(("files", "label"), [
    ([], -1), ([("b.cls", b"")], -1), ([("b.cls", b"cat")], -1), ([("b.cls", b"1.5")], -1), ([("b.cls", b"-3")], -1),
    ([("b.cls", b"9" * 18)], 10**18 - 1), ([("b.cls", b"9" * 19)], -1), ([("b.cls", b"9" * 5000)], -1),
    ([("b.cls", b"\xff\x00")], -1),
    ([("b.json", b'{"label": "7"}')], -1), ([("b.json", b'{"label": [7]}')], -1), ([("b.json", b'{"label": null}')], -1),
    ([("b.json", b'{"label": 1e2}')], -1), ([("b.json", b'{"label": -1}')], -1), ([("b.json", b'{"label": NaN}')], -1),
    ([("b.json", b'{"label": ' + b"9" * 5000 + b"}")], -1), ([("b.json", b"{" * 50_000)], -1), ([("b.json", b'{"label": 4}')], 4),
])
def test_labels(tmp_path: Path, files: list[tuple[str, bytes]], label: int) -> None:
    """What is no whole number >= 0 is no label; the image is read all the same."""
    source = TarSource([write_tar(tmp_path / "x.tar", [("b.jpg", JPEG), *files, ("c.jpg", JPEG), ("c.cls", b"5")])])
    assert [source.label(i) for i in range(2)] == [label, 5] and isinstance(outcome(source, 0), np.ndarray)


def whole(tmp_path: Path) -> bytes:
    """Headers at 0 and 1536, padding from 1212 to 1536 and 2748 to 3072, the end mark from 3072 on."""
    return write_tar(tmp_path / "whole.tar", [("a.jpg", JPEG[:700]), ("b.jpg", JPEG[:700])]).read_bytes()


@pytest.mark.parametrize(("length", "what"), [(1600, "in a header"), (2300, "in a member"), (2900, "in the padding"),
                                              (3072, "before the end mark"), (0, "at nothing")])
def test_tars_cut_short_are_refused(tmp_path: Path, length: int, what: str) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(whole(tmp_path)[:length])
    with pytest.raises(DataError) as error:
        open_source(str(path))
    text = str(error.value)
    assert text.startswith(f"{path}: ") and "\n" not in text and "copy or download it again" in text
    assert ("cut short" in text) == (length > 0)


def test_a_bit_flipped_in_any_byte_of_a_header_is_refused(tmp_path: Path) -> None:
    data, path = bytearray(whole(tmp_path)), tmp_path / "x.tar"
    for at in range(1536, 2048, 7):
        data[at] ^= 1
        path.write_bytes(data)
        data[at] ^= 1
        with pytest.raises(DataError, match=r"damaged at offset 1536, .*copy or download it again"):
            open_source(str(path))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_tars_are_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "x.tar").write_bytes(pack(whole(tmp_path)))
    with pytest.raises(DataError, match=r"a compressed tar, which cannot be read by offset: decompress it once"):
        open_source(str(tmp_path / "x.tar"))


@pytest.mark.parametrize("data", ["pipe:cat x.tar", ["a.tar", "pipe:cat x.tar"]])
def test_commands_are_not_run(tmp_path: Path, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tar(tmp_path / "a.tar", [("a.jpg", JPEG)])
    with pytest.raises(DataError, match=r"^pipe:cat x\.tar: a command, which is not run .*viewmill pack --allow-pipe"):
        open_source(data)


class Payload:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_nothing_is_unpickled_or_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = pickle.dumps(Payload(tmp_path / "run"))
    array = io.BytesIO()
    np.save(array, np.array([Payload(tmp_path / "run")], object), allow_pickle=True)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch run) (w) file\n%%EOF\n"
    about = json.dumps({"label": "__import__('os').system('touch run')"}).encode()
    files = [("a.jpg", JPEG), ("a.cls", payload), ("a.json", about),
             *((f"a.{extension}", payload) for extension in ("pkl", "pickle", "pth", "pyd", "py", "pt", "ckpt", "yaml")),
             ("a.npy", array.getvalue()), ("b.jpg", payload), ("c.png", eps), ("d.tif", array.getvalue()), ("e.gif", eps),
             ("f.webp", b"#!/bin/sh\ntouch run\n"), ("g.jpg", JPEG)]
    path = write_tar(tmp_path / "x.tar", files)
    monkeypatch.chdir(tmp_path)

    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("something was unpickled or executed")

    with monkeypatch.context() as patch:
        for module, names in ((pickle, ("load", "loads", "Unpickler")), (subprocess, ("Popen", "run", "call")),
                              (os, ("system", "popen", "execv", "posix_spawn", "fork")), (builtins, ("eval", "exec"))):
            for name in names:
                patch.setattr(module, name, refuse)
        source = open_source(str(path))
        found = [outcome(source, i) for i in range(len(source))]
        labels = [source.label(i) for i in range(len(source))]
    assert [source.key(i) for i in range(len(source))] == list("abcdefg") and labels == [-1] * 7
    assert [each if isinstance(each, str) else "pixels" for each in found] == [
        "pixels", "not an image", "not an image", "not an image", "not an image", "not an image", "pixels"]
    assert not (tmp_path / "run").exists()
