"""Decoding: Pillow's pixels bit for bit, and one stated outcome for everything that is not a sound image."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import warnings
import zlib
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from viewmill.pipelines.decode import MAX_PIXELS, BadSample, decode

from .shards import encoded, picture

SIZES = [(61, 83), (1, 1), (8, 8), (16, 16), (17, 3), (2, 40)]


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def check(data: bytes) -> None:
    pixels = decode(data)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert np.array_equal(pixels, by_pillow(data))


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
def test_jpeg_equals_pillow(photograph: np.ndarray, subsampling: str, progressive: bool, height: int, width: int) -> None:
    for quality in (30, 75, 100):
        check(encoded(photograph[:height, :width], subsampling=subsampling, progressive=progressive, quality=quality))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_jpegs_of_other_colours_equal_pillow(photograph: np.ndarray, height: int, width: int) -> None:
    image = Image.fromarray(np.ascontiguousarray(photograph[:height, :width]))
    gray = encoded(image.convert("L"))
    check(gray)
    assert (np.ptp(decode(gray), axis=2) == 0).all()
    check(encoded(image.convert("CMYK")))
    check(encoded(image, keep_rgb=True))  # three components that are RGB, not YCbCr
    check(encoded(image, restart_marker_rows=1))


def test_ycck_jpeg_equals_pillow(photograph: np.ndarray) -> None:
    """Pillow writes CMYK with Adobe's transform 0; 2 says that the first three components are YCbCr of inverted CMY."""
    data = encoded(Image.fromarray(photograph).convert("CMYK"))
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    ycck = data[:at] + b"\2" + data[at + 1:]
    check(ycck)
    assert not np.array_equal(decode(ycck), decode(data))


def test_sampling_factors_without_a_name_equal_pillow() -> None:
    """Luma sampled 3 x 1 times as often as chroma, which TurboJPEG cannot read. The scan is written by hand with the
    standard tables: three blocks of luma, the second brighter (DC category 5, +22), and one of each chroma, all flat."""
    data = encoded(np.full((8, 24, 3), 128, np.uint8), subsampling="4:4:4")
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    header = bytearray(data[:scan + 2 + int.from_bytes(data[scan + 2:scan + 4], "big")])
    header[frame + 11] = 0x31
    bits = "00" "1010" + "110" "10110" "1010" + "00" "1010" + "00" "00" * 2
    bits += "1" * (-len(bits) % 8)
    data = bytes(header) + int(bits, 2).to_bytes(len(bits) // 8, "big") + b"\xff\xd9"
    with pytest.raises(ValueError, match="subsampling"):
        simplejpeg.decode_jpeg(data)
    check(data)
    columns = decode(data)[0, :, 0].astype(int)
    assert columns[0] == 128 and columns[12] > 128 and len(set(columns)) == 2


@pytest.mark.parametrize(("kind", "mode", "options"), [
    ("PNG", "RGB", {}), ("PNG", "L", {}), ("PNG", "1", {}), ("PNG", "P", {}), ("PNG", "RGBA", {}), ("PNG", "LA", {}),
    ("WEBP", "RGB", {}), ("WEBP", "RGBA", {"lossless": True}), ("BMP", "RGB", {}), ("GIF", "P", {}), ("TIFF", "CMYK", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}), ("PPM", "L", {}), ("PPM", "RGB", {}),
])
def test_other_formats_equal_pillow(photograph: np.ndarray, kind: str, mode: str, options: dict) -> None:
    check(encoded(Image.fromarray(photograph).convert(mode), kind, **options))


def test_transparent_pixels_keep_their_colour_and_nobody_is_warned(photograph: np.ndarray) -> None:
    rgba = np.dstack([photograph, np.zeros(photograph.shape[:2], np.uint8)])
    assert np.array_equal(decode(encoded(rgba, "PNG")), photograph)
    palette = encoded(Image.fromarray(photograph).convert("P"), "PNG", transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = decode(palette)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(pixels, by_pillow(palette))


@pytest.mark.parametrize("kind", ["PNG", "PPM", "TIFF"])
def test_sixteen_bits_keep_their_upper_eight(kind: str) -> None:
    levels = np.array([[0, 255, 256], [32767, 65280, 65535]], np.uint16)
    assert decode(encoded(levels, kind))[..., 1].tolist() == [[0, 0, 1], [127, 255, 255]]


def test_an_animation_shows_its_first_frame() -> None:
    frames = [Image.fromarray(picture(5, 9, i)) for i in range(3)]
    for kind in ("WEBP", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert np.array_equal(decode(data), np.asarray(frames[0]))


def test_exif_orientation_is_ignored(photograph: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert np.array_equal(decode(encoded(photograph, exif=exif)), decode(encoded(photograph)))


def test_the_content_says_what_it_is_whatever_it_is_called(photograph: np.ndarray) -> None:
    check(encoded(photograph, "PNG"))  # decode never sees a name
    assert decode(encoded(photograph) + b"bytes after the end, as phones append films").shape == photograph.shape


def test_arrays_pass_through() -> None:
    image = picture(4, 6)
    assert decode(image) is image
    assert decode(image[:, ::2]).flags.c_contiguous and np.array_equal(decode(image[:, ::2]), image[:, ::2])
    for gray in (image[..., 0], image[..., :1]):
        assert np.array_equal(decode(gray), np.dstack([image[..., 0]] * 3))


@pytest.mark.parametrize("array", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8),
                                   np.zeros((0, 4, 3), np.uint8),
                                   np.zeros(4, np.uint8)])
def test_other_arrays_are_bad_samples(array: np.ndarray) -> None:
    with pytest.raises(BadSample, match="not uint8"):
        decode(array)


SCALED_SIZES = [(200, 333), (128, 128), (127, 65), (64, 401), (61, 83), (16, 16), (17, 33)]


def by_pillows_draft(data: bytes, denominator: int) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (image.width // denominator, image.height // denominator))
        return np.array(image.convert("RGB"))


@pytest.mark.parametrize("denominator", [2, 4, 8])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
def test_a_scaled_jpeg_equals_pillows_draft(photograph: np.ndarray, subsampling: str, denominator: int) -> None:
    for height, width in SCALED_SIZES:
        large = Image.fromarray(photograph).resize((width, height), Image.Resampling.BICUBIC)
        for progressive in (False, True):
            data = encoded(large, subsampling=subsampling, progressive=progressive, quality=85)
            pixels = decode(data, denominator)
            assert pixels.shape == (-(-height // denominator), -(-width // denominator), 3) and pixels.flags.c_contiguous
            assert np.array_equal(pixels, by_pillows_draft(data, denominator))


@pytest.mark.parametrize("denominator", [1, 2, 4, 8])
@pytest.mark.parametrize(("height", "width"), [*SIZES, (5, 700)])
def test_what_cannot_be_scaled_is_reduced_by_as_much(photograph: np.ndarray, height: int, width: int, denominator: int) -> None:
    image = Image.fromarray(photograph).resize((width, height), Image.Resampling.BICUBIC)
    shape = (-(-height // denominator), -(-width // denominator), 3)
    for data in (encoded(image, "PNG"), encoded(image.convert("P"), "GIF"), encoded(image.convert("CMYK")), np.array(image)):
        pixels, whole = decode(data, denominator), decode(data).astype(int)
        assert pixels.shape == shape and pixels.dtype == np.uint8
        corner = whole[(shape[0] - 1) * denominator:, (shape[1] - 1) * denominator:].mean((0, 1))
        assert np.array_equal(pixels[0, 0], np.floor(whole[:denominator, :denominator].mean((0, 1)) + 0.5))
        assert np.array_equal(pixels[-1, -1], np.floor(corner + 0.5))
    assert decode(encoded(image), denominator).shape == decode(encoded(image.convert("L")), denominator).shape == shape


def test_a_scaled_jpeg_is_near_the_means_of_its_blocks(photograph: np.ndarray) -> None:
    large = Image.fromarray(photograph).resize((664, 488), Image.Resampling.BICUBIC)
    data = encoded(large, subsampling="4:4:4", quality=95)
    for denominator in (2, 4, 8):
        assert np.abs(decode(data, denominator).astype(int) - decode(np.asarray(large), denominator)).mean() < 1


@pytest.mark.parametrize("denominator", [0, 3, 16, -1])
def test_other_denominators_are_refused(denominator: int) -> None:
    with pytest.raises(ValueError, match=f"denominator needs one of 1, 2, 4, 8, got {denominator}"):
        decode(picture(4, 4), denominator)


class TestBadSamples:
    def test_a_scaled_jpeg_cut_short_or_damaged(self, photograph: np.ndarray) -> None:
        data = encoded(photograph, quality=90)
        for denominator in (2, 4, 8):
            for length in (len(data) // 2, len(data) - 40, len(data) - 1):
                with pytest.raises(BadSample, match=r"^JPEG cut short$"):
                    decode(data[:length], denominator)
            with pytest.raises(BadSample, match=r"^JPEG damaged"):
                decode(data[:-2] + b"\x12\x34" * 9 + data[-2:], denominator)

    def test_a_jpeg_cut_short_anywhere(self, photograph: np.ndarray) -> None:
        """Also by its last byte, half of the end marker; libjpeg would fill the rest with gray."""
        for options in ({}, {"progressive": True}):
            data = encoded(photograph, quality=90, **options)
            scan = data.index(b"\xff\xda")
            for length in [*range(3, len(data), 97), len(data) - 3, len(data) - 2, len(data) - 1]:
                with pytest.raises(BadSample, match="^JPEG cut short$" if length > scan + 20 and not options else "^JPEG"):
                    decode(data[:length])

    def test_a_gray_or_cmyk_jpeg_cut_short(self, photograph: np.ndarray) -> None:
        for mode in ("L", "CMYK"):
            data = encoded(Image.fromarray(photograph).convert(mode))
            with pytest.raises(BadSample, match=r"^JPEG cut short$"):
                decode(data[:-40])
            with pytest.raises(BadSample, match=r"^JPEG damaged"):  # which Pillow, that makes RGB of CMYK, would not notice
                decode(data[:-2] + b"\x12\x34" * 9 + data[-2:])

    @pytest.mark.filterwarnings("ignore::UserWarning")
    @pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {}), ("BMP", {}), ("GIF", {}), ("TIFF", {})])
    def test_other_formats_cut_short(self, photograph: np.ndarray, kind: str, options: dict) -> None:
        data = encoded(photograph, kind, **options)
        with pytest.raises(BadSample):
            decode(data[:len(data) // 2])

    @pytest.mark.parametrize(("at", "error"), [(11, "ValueError"), (36, "SyntaxError")])
    def test_whatever_a_plugin_raises(self, at: int, error: str) -> None:
        """The length of a PNG's header chunk, and that of its data, set to 0."""
        data = bytearray(encoded(picture(4, 5), "PNG"))
        data[at] = 0
        with pytest.raises(BadSample, match=f"^PNG cannot be decoded \\({error}\\)$"):
            decode(bytes(data))

    def test_data_left_over_are_damage(self, photograph: np.ndarray) -> None:
        """What is left when all blocks are decoded: after a flipped bit the rest of the scan is usually shifted like this."""
        data = encoded(photograph)
        with pytest.raises(BadSample, match=r"^JPEG damaged \(Corrupt JPEG data: N extraneous bytes before marker N\)$"):
            decode(data[:-2] + b"\x12\x34" * 9 + data[-2:])

    def test_zeros_in_the_middle_are_damage(self, photograph: np.ndarray) -> None:
        data = encoded(photograph, quality=95)
        middle = len(data) // 2
        with pytest.raises(BadSample, match="JPEG"):
            decode(data[:middle] + bytes(600) + data[middle + 600:])

    @pytest.mark.parametrize(("data", "reason"), [(b"", "empty, 0 bytes"), (b"GIF89a", "not an image"),
                                                  (b"<html>", "not an image")])
    def test_not_an_image(self, data: bytes, reason: str) -> None:
        with pytest.raises(BadSample, match=f"^{reason}$"):
            decode(data)

    def test_a_pixel_bomb_is_refused_by_its_header(self) -> None:
        def png(height: int, width: int) -> bytes:
            def chunk(kind: bytes, data: bytes) -> bytes:
                return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
            return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT",
                                                                         zlib.compress(bytes(1000))) + chunk(b"IEND", b"")

        with pytest.raises(BadSample, match=r"^more than 178,956,970 pixels$"):
            decode(png(30_000, 30_000))
        jpeg = bytearray(encoded(picture(8, 8)))
        frame = jpeg.index(b"\xff\xc0")
        jpeg[frame + 5:frame + 9] = struct.pack(">HH", 60_000, 60_000)
        with pytest.raises(BadSample, match="more than"):
            decode(bytes(jpeg))
        assert MAX_PIXELS == 178_956_970

    def test_of_a_baseline_jpeg_the_scaled_pixels_count(self) -> None:
        """20,000 x 10,000 px: an eighth of that is allowed, and what is then found is that only 8 x 8 are there."""
        jpeg = bytearray(encoded(picture(8, 8)))
        frame = jpeg.index(b"\xff\xc0")
        jpeg[frame + 5:frame + 9] = struct.pack(">HH", 20_000, 10_000)
        with pytest.raises(BadSample, match="more than"):
            decode(bytes(jpeg))
        with pytest.raises(BadSample, match=r"^JPEG (cut short|damaged)"):
            decode(bytes(jpeg), 8)
        jpeg[frame + 1] = 0xC2  # progressive: libjpeg holds all of it
        with pytest.raises(BadSample, match="more than"):
            decode(bytes(jpeg), 8)

    @pytest.mark.filterwarnings("ignore::UserWarning")
    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]), st.integers(0, 10**9), st.integers(0, 255),
           st.integers(0, 40))
    def test_no_damaged_byte_raises_anything_else(self, kind: str, at: int, byte: int, run: int) -> None:
        data = bytearray(ENCODED[kind])
        at %= len(data)
        data[at:at + run] = bytes([byte]) * min(run, len(data) - at)
        try:
            pixels = decode(bytes(data))
        except BadSample as reason:
            assert str(reason) and "\n" not in str(reason)
        else:
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3


ENCODED = {kind: encoded(picture(20, 30), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")}


def test_real_images_have_the_pixels_that_the_oracles_were_made_of(shared: Path) -> None:
    sources = json.loads((shared / "oracles" / "views" / "cases.json").read_text())["sources"]
    for name, about in sources.items():
        with tarfile.open(shared / "data" / "imagenet-sample" / about["shard"]) as tar:
            member = tar.extractfile(f"{name}.jpg")
            assert member is not None
            pixels = decode(member.read())
        assert pixels.shape == (about["height"], about["width"], 3)
        assert sha256(pixels.tobytes()).hexdigest() == about["rgb_sha256"]
