"""What becomes of an image's bytes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from viewmill.pipelines.faults import BadSample
from viewmill.pipelines.pack import Settings
from viewmill.pipelines.pack.reencode import finished, target

from ..shards import encoded, picture


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * y / height, 255 * x / width, 127 + 60 * np.sin(6 * x / width)], -1).astype(np.uint8)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(("size", "shortest", "longest", "expected"), [
    ((375, 500), 256, 0, (256, 341)), ((500, 375), 256, 0, (341, 256)), ((256, 900), 256, 0, (256, 900)),
    ((100, 50), 256, 0, (100, 50)), ((375, 500), 0, 256, (192, 256)), ((7, 1000), 0, 100, (1, 100)), ((3, 3), 2, 0, (2, 2)),
    ((1, 5000), 0, 100, (1, 100)), ((333, 1000), 100, 0, (100, 300)), ((1001, 334), 0, 500, (500, 167)), ((9, 9), 0, 0, (9, 9)),
])
def test_sizes(size: tuple[int, int], shortest: int, longest: int, expected: tuple[int, int]) -> None:
    assert target(*size, shortest, longest) == expected


def test_bytes_stay_where_nothing_has_to_change() -> None:
    data = encoded(picture(20, 30), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
    for options in ({}, {"shortest": 20}, {"longest": 30}, {"orient": True}, {"verify": "decode"}, {"verify": "none"}):
        made = finished(data, Settings(**options))
        assert made.data is data and made.extension == ""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_large_images_become_smaller_jpegs_near_to_a_plain_resize(kind: str) -> None:
    image = Image.fromarray(smooth(600, 900))
    made = finished(encoded(image, kind), Settings(shortest=64, quality=95))
    assert made.extension == "jpg" and opened(made.data).format == "JPEG" and opened(made.data).size == (96, 64)
    plain = np.asarray(image.resize((96, 64), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(np.asarray(opened(made.data).convert("RGB")).astype(int) - plain).mean() < (9 if kind == "GIF" else 3)


def test_gray_stays_gray_and_cmyk_and_alpha_become_rgb() -> None:
    gray = finished(encoded(Image.fromarray(smooth(90, 90)[..., 0])), Settings(shortest=40))
    assert opened(gray.data).mode == "L"
    cmyk = finished(encoded(Image.fromarray(smooth(90, 90)).convert("CMYK")), Settings(shortest=40))
    assert opened(cmyk.data).mode == "RGB"
    alpha = finished(encoded(Image.fromarray(smooth(90, 90)).convert("RGBA"), "PNG"), Settings(shortest=40))
    assert opened(alpha.data).mode == "RGB"


def test_a_colour_profile_and_an_orientation_not_applied_stay() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a maker"
    made = opened(finished(encoded(smooth(90, 60), exif=exif, icc_profile=profile), Settings(shortest=30)).data)
    assert made.info["icc_profile"] == profile and dict(made.getexif()) == {0x0112: 6} and made.size == (30, 45)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"shortest": 24}])
def test_orientation_is_what_pillow_makes_of_it(orientation: int, options: dict[str, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(smooth(48, 72), quality=95, exif=exif)
    made = finished(data, Settings(orient=True, quality=95, **options))
    upright = ImageOps.exif_transpose(opened(data))
    if options:
        upright = upright.resize((36, 24) if orientation < 5 else (24, 36), Image.Resampling.BICUBIC)
    assert (made.height, made.width) == upright.size[::-1] and opened(made.data).size == upright.size
    off = np.abs(np.asarray(opened(made.data)).astype(int) - np.asarray(upright).astype(int)).mean()
    assert off < 3, off
    assert opened(made.data).getexif().get(0x0112, 1) == 1
    assert (made.data is data) == (orientation == 1 and not options)


def test_what_cannot_be_decoded_is_refused_as_asked() -> None:
    cut = encoded(smooth(80, 80))[:900]
    assert finished(cut, Settings()).data is cut
    with pytest.raises(BadSample, match="JPEG cut short"):
        finished(cut, Settings(verify="decode"))
    with pytest.raises(BadSample, match="JPEG cut short"):
        finished(cut, Settings(shortest=10))
    with pytest.raises(BadSample, match="not an image"):
        finished(b"no image at all", Settings())
    with pytest.raises(BadSample, match="0 bytes"):
        finished(b"", Settings())
    assert finished(b"no image at all", Settings(verify="none")).data == b"no image at all"
    bomb = bytearray(encoded(picture(8, 8)))
    at = bomb.index(b"\xff\xc0")
    bomb[at + 5:at + 9] = (30000).to_bytes(2, "big") * 2
    with pytest.raises(BadSample, match="more than"):
        finished(bytes(bomb), Settings())
