"""Images in memory."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.sources.arrays import ArraySource
from viewmill.pipelines.sources.keys import NoSuchKey

from ..shards import picture

IMAGES = np.stack([picture(4, 6, i) for i in range(5)])


def test_one_array_with_labels() -> None:
    source = ArraySource(IMAGES, [3, 1, -1, 0, 2])
    assert len(source) == 5 and source.shard_sizes.tolist() == [5] and source.local and source.labelled
    assert np.array_equal(source.read(2), IMAGES[2]) and source.label(1) == 1 and source.label(2) == -1
    assert source.key(4) == "4" and source.where(4) == "arrays[4]" and source.find("4") == 4
    sizes = source.size_hw(np.array([4, 0]))
    assert sizes.tolist() == [[4, 6], [4, 6]] and sizes.dtype == np.int32


def test_a_list_of_any_sizes_without_labels() -> None:
    source = ArraySource([picture(4, 6), picture(2, 9), picture(3, 3)[..., 0]])
    assert source.size_hw(np.arange(3)).tolist() == [[4, 6], [2, 9], [3, 3]]
    assert not source.labelled and source.label(0) == -1


def test_gray_images_and_tensors() -> None:
    torch = pytest.importorskip("torch")
    assert len(ArraySource(IMAGES[..., 0])) == len(ArraySource(IMAGES[..., :1])) == 5
    source = ArraySource(torch.from_numpy(IMAGES), torch.arange(5))
    assert np.array_equal(source.read(3), IMAGES[3]) and source.label(3) == 3


def test_the_fingerprint_follows_pixels_labels_and_number() -> None:
    changed = IMAGES.copy()
    changed[3, 1, 1, 1] ^= 1
    prints = [ArraySource(*data).fingerprint for data in
              ((IMAGES,), (IMAGES, [0] * 5), (IMAGES, [1] + [0] * 4), (changed,), (IMAGES[:4],), (IMAGES[::-1],),
               (IMAGES.reshape(5, 6, 4, 3),))]
    assert len(set(prints)) == 7
    assert ArraySource(list(IMAGES)).fingerprint == ArraySource(IMAGES.copy()).fingerprint == prints[0]


def test_pickles() -> None:
    copy = pickle.loads(pickle.dumps(ArraySource(IMAGES, range(5))))
    assert np.array_equal(copy.read(1), IMAGES[1]) and copy.label(4) == 4


@pytest.mark.parametrize(("images", "labels", "message"), [
    (np.zeros((0, 4, 4, 3), np.uint8), None, r"^arrays: no image, got 0 samples"),
    (IMAGES[0], None, r"^arrays: need uint8 \(N, H, W, 3\), got shape \(4, 6, 3\): one image is a set with N = 1$"),
    (IMAGES.astype(np.float32), None, r"^arrays\[0\]: needs uint8 .* got float32 \(4, 6, 3\): convert it"),
    (IMAGES.transpose(0, 3, 1, 2), None, r"^arrays\[0\]: needs uint8 .* got uint8 \(3, 4, 6\): convert it"),
    ([IMAGES[0], IMAGES[1].astype(int)], None, r"^arrays\[1\]: needs uint8"),
    ([IMAGES[0], np.zeros((0, 3, 3), np.uint8)], None, r"^arrays\[1\]: needs uint8"),
    (IMAGES, [0, 1], r"^labels: need 5 whole numbers, one an image, got int64 \(2,\)$"),
    (IMAGES, [0.5] * 5, r"^labels: need 5 whole numbers, one an image, got float64 \(5,\)$"),
    (IMAGES, ["cat"] * 5, r"^labels: need 5 whole numbers"),
])
def test_what_is_no_set_of_images(images: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ArraySource(images, labels)


def test_no_such_key() -> None:
    for key in ("5", "-1", "x", "²"):
        with pytest.raises(NoSuchKey, match=r"near it: 0\.\.4"):
            ArraySource(IMAGES).find(key)
