"""Context Encoders' random regions: a window of enlarged noise, as Pillow enlarges it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from viewmill.augment.chance import Chance
from viewmill.augment.masks import NoiseField

from .draws import drawn, params_of

FILL: dict[str, Any] = {"fill": (117, 104, 123), "fill_scale": "uint8"}
PUBLISHED = NoiseField(noise_px=600, canvas_px=10000, threshold=0.25, accept=(0.2, 0.3), **FILL)


@dataclass(frozen=True)
class Told(Chance):
    """Hands out a chosen place and, as many as asked for, the cells from its first one on."""

    place: tuple[float, float] = (0, 0)
    cells: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    shapes: tuple[tuple[int, int], ...] = ()

    def uniforms(self, count: int, *, scope: str = "sample", part: str = "", call: int = 0) -> np.ndarray:
        if part == "place":
            return np.array([self.place])
        return next(self.cells[:h, :w].reshape(1, -1) for h, w in self.shapes if h * w == count)


@pytest.mark.parametrize(("upsample", "before", "pillow"), [("bicubic", 1, Image.Resampling.BICUBIC),
                                                            ("bilinear", 0, Image.Resampling.BILINEAR)])
def test_the_field_is_pillows_enlarged_noise(upsample: str, before: int, pillow: Image.Resampling) -> None:
    """Noise of 23 x 23 on a canvas of 100 x 100; the window 15 x 26 whose top left pixel is (31, 40). Pixel 31 lies at
    (31 + 0.5) 0.23 - 0.5 = 6.745 cells, pixel 40 at 8.815; under it lie ceil(3.45) by ceil(5.98) cells, and the taps."""
    noise = np.random.default_rng(0).random((23, 23))
    op = NoiseField(noise_px=23, canvas_px=100, upsample=upsample, threshold=0.5, accept=(1e-9, 1.0), scope="sample", **FILL)
    place = (31.5 / (100 - 15 + 1), 40.5 / (100 - 26 + 1))
    chance = Told(0, 0, np.arange(1), place=place, cells=noise[6 - before:, 8 - before:], shapes=((8, 10), (6, 8)))
    pixels = np.asarray(Image.fromarray(noise.astype(np.float32)).resize((100, 100), pillow))[31:46, 40:66]
    for threshold in (0.1, 0.25, 0.4, 0.5, 0.6, 0.75):
        mask = op.with_fields(threshold=threshold).draw(chance, np.array([[15, 26]]))[0]["mask"][0]
        sure = np.abs(pixels - threshold) > 1e-5
        assert np.array_equal(mask[sure], pixels[sure] < threshold) and sure.mean() > 0.99
        assert 0 < mask.mean() < 1


def test_beyond_the_noise_its_outermost_cells_go_on() -> None:
    """The whole canvas of 30 x 30 from 5 x 5 cells, against Pillow on noise with two more cells all around."""
    noise = np.random.default_rng(1).random((5, 5))
    pixels = np.asarray(Image.fromarray(np.pad(noise, 2, "edge").astype(np.float32)).resize((54, 54), Image.Resampling.BICUBIC))
    pixels = pixels[12:42, 12:42]
    chance = Told(0, 0, np.arange(1), cells=np.pad(noise, (0, 4)), shapes=((9, 9),))
    for threshold in (0.2, 0.4, 0.6, 0.8):
        op = NoiseField(noise_px=5, canvas_px=30, threshold=threshold, accept=(1e-9, 1.0), scope="sample", **FILL)
        mask = op.draw(chance, np.array([[30, 30]]))[0]["mask"][0]
        sure = np.abs(pixels - threshold) > 1e-5
        assert np.array_equal(mask[sure], pixels[sure] < threshold) and sure.mean() > 0.99


def test_one_mask_serves_a_block_and_all_views_and_is_accepted() -> None:
    masks = np.stack([drawn(PUBLISHED, 60, size_px=(128, 128), block=4, ordinal=v) for v in (0, 1)])
    assert np.array_equal(masks[0], masks[1])
    blocks = masks[0].reshape(15, 4, 128, 128)
    assert (blocks == blocks[:, :1]).all() and len({b[0].tobytes() for b in blocks}) == 15
    assert (masks.mean((2, 3)) >= 0.2).all() and (masks.mean((2, 3)) <= 0.3).all()


def test_the_field_is_smooth_and_nowhere_denser_than_elsewhere() -> None:
    """A cell is 16.7 px wide: neighbours agree but at region borders; each pixel is masked in 20 to 30 % of the windows."""
    mask = drawn(PUBLISHED.with_fields(scope="sample"), 300, size_px=(96, 64))
    changes = (mask[:, :, 1:] != mask[:, :, :-1]).mean()
    assert 0.005 < changes < 0.05
    quarters = mask.reshape(300, 2, 48, 2, 32).mean((2, 4))
    assert np.abs(quarters.mean(0) - mask.mean()).max() < 4.2 * quarters.std() / 300**0.5


def test_a_fraction_out_of_reach_gives_the_nearest_window() -> None:
    """Noise is never below 0.01 over 90 % of a window: the most of 128 windows is taken, more than of one at random."""
    op = NoiseField(noise_px=30, canvas_px=60, threshold=0.3, accept=(0.9, 1.0), scope="sample", **FILL)
    nearest = drawn(op, 20, size_px=(20, 30)).mean((1, 2))
    anyone = drawn(op.with_fields(accept=(1e-9, 1.0)), 400, size_px=(20, 30)).mean((1, 2))
    assert nearest.max() < 0.9 and nearest.min() > np.percentile(anyone, 90)


def test_a_window_may_be_the_whole_canvas() -> None:
    op = NoiseField(noise_px=4, canvas_px=20, threshold=0.5, accept=(0.3, 0.7), **FILL)
    assert 0.3 <= drawn(op, 3, size_px=(20, 20)).mean() <= 0.7
    with pytest.raises(ValueError, match="canvas_px needs at least the view's 21 px, got 20"):
        drawn(op, 3, size_px=(20, 21))
    with pytest.raises(ValueError, match="canvas_px needs at least noise_px = 4, got 3"):
        op.with_fields(canvas_px=3)


def test_thresholds_of_nought_and_one_mask_nothing_and_all() -> None:
    """A bilinear field stays within the noise, [0, 1)."""
    op = NoiseField(noise_px=4, canvas_px=20, upsample="bilinear", threshold=0.0, accept=(0.4, 0.5), **FILL)
    assert not drawn(op, 2, size_px=(6, 7)).any() and drawn(op.with_fields(threshold=1.0), 2, size_px=(6, 7)).all()


def test_masked_pixels_are_filled() -> None:
    op = NoiseField(noise_px=4, canvas_px=20, threshold=0.5, accept=(0.3, 0.7), scope="sample", **FILL)
    params = params_of(op, 2, (6, 7))
    images = torch.arange(252.0).reshape(2, 3, 6, 7) + 0.5
    for given in (params, {"mask": torch.from_numpy(params["mask"])}):
        out = op.apply(images, given)  # type: ignore[arg-type]
        assert isinstance(out, torch.Tensor)
        hidden = torch.from_numpy(params["mask"])[:, None].expand_as(images)
        fill = torch.tensor([117.0, 104.0, 123.0])[:, None, None].expand_as(images)
        assert torch.equal(out[hidden], fill[hidden]) and torch.equal(out[~hidden], images[~hidden])
    assert op.caption({"mask": np.array([[[True, False, False, False]]])}, 0) == "25% of the pixels masked"
