"""`viewmill eval attention`, short for `eval figure attention`: what it draws, says and refuses."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from viewmill import cli
from viewmill.evaluation.command import manual
from viewmill.evaluation.figures.attention import AttentionConfig, row
from viewmill.evaluation.figures.figure import read
from viewmill.evaluation.figures.sheet import EDGE_PX, GAP_PX, LINE_PX, levels

from tests.evaluation.test_command import refused, write_tar
from tests.evaluation.test_encoder import write_run


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """An untrained run of DINO with patches of 4 px and 3 heads, and pictures without labels."""
    write_run(tmp_path / "run", "dino")
    return ["attention", str(tmp_path / "run"), f"data={write_tar(tmp_path / 'test.tar', 9, 1, labels=False)}",
            f"out={tmp_path / 'seen.png'}", "device=cpu"]


def drawn(words: list[str], *more: str) -> np.ndarray:
    assert cli.main(["eval", *words, *more]) == 0
    return np.asarray(Image.open(next(word.removeprefix("out=") for word in words if word.startswith("out="))))


def tiles(sheet: np.ndarray, rows: int, columns: int, side: int) -> np.ndarray:
    """(rows, columns, side, side, 3): what lies where tiles belong; the size of the whole is looked at."""
    pitch, top = side + GAP_PX, EDGE_PX + LINE_PX
    assert sheet.shape == (top + rows * pitch - GAP_PX + EDGE_PX, 2 * EDGE_PX + columns * pitch - GAP_PX, 3)
    return np.stack([[sheet[top + row * pitch :, EDGE_PX + column * pitch :][:side, :side] for column in range(columns)]
                     for row in range(rows)])


def test_a_row_for_each_picture_and_a_column_for_each_head(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    sheet = drawn(words, "samples=2", "tile_px=100")
    found = tiles(sheet, 2, 4, 96)  # three times 32 px
    picture = found[0, 0].reshape(32, 3, 32, 3, 3)
    assert (picture == picture[:, :1, :, :1]).all() and picture.std() > 5
    assert not any((a == b).all() for a, b in pairwise(found[0, 1:]))
    path = next(word.removeprefix("out=") for word in words if word.startswith("out="))
    said = read(path)
    assert said is not None and said.title == "Where the class token looks, in 3 heads"
    assert f"dino of {words[1]}, step 7" in said.caption and "8 x 8 patches of a picture of 32 px" in said.caption
    assert said.command == ("viewmill", "eval", "figure", *words, "samples=2", "tile_px=100")
    out = capsys.readouterr().out
    assert said.caption in out and f"figure     {path}" in out


def test_any_size_that_patches_divide_and_the_same_pictures_each_time(words: list[str]) -> None:
    first, again = drawn(words, "samples=3", "image_px=48"), drawn(words, "samples=3", "image_px=48")
    assert (first == again).all() and tiles(first, 3, 4, 192).std() > 5
    tiles(drawn(words, "samples=20", "tile_px=32"), 9, 4, 32)  # all there are
    of_timm = [words[0], "vit_tiny_patch16_224", *words[2:], "pretrained=false", "image_px=48", "samples=1", "tile_px=48"]
    tiles(drawn(of_timm), 1, 4, 48)


def shown(shares: torch.Tensor, **fields: object) -> np.ndarray:
    config = AttentionConfig(tile_px=4, **fields)  # type: ignore[arg-type]
    base, *heads = row(torch.full((3, 4, 4), 0.5), shares, config)
    assert (base == 0.5).all() and len(heads) == len(shares)
    return levels(heads[0]).astype(int)


def test_colours_go_from_a_heads_least_share_to_its_largest() -> None:
    shares = torch.tensor([[[0.1, 0.2], [0.3, 0.5]]])
    tile = shown(shares, enlarge="nearest", overlay=1.0)
    assert tile.shape == (4, 4, 3) and (tile[:2, :2] == tile[0, 0]).all()
    # 0.2 is a quarter of the way, 0.3 half: the second and third of five colours.
    assert [tile[r, c].tolist() for r, c in ((0, 0), (0, 2), (2, 0), (2, 2))] == [
        [0, 0, 4], [87, 16, 110], [188, 55, 84], [252, 255, 164]]
    assert shown(shares, enlarge="nearest", overlay=0.5)[0, 0].tolist() == [64, 64, 66]  # half of 127.5 and of 0, 0, 4
    assert (shown(shares, overlay=0.0) == 128).all()
    assert len(np.unique(shown(shares, overlay=1.0).reshape(-1, 3), axis=0)) > 4  # bicubic: more than four levels


def test_with_a_mass_the_patches_that_hold_it_are_seen() -> None:
    tile = shown(torch.tensor([[[0.1, 0.2], [0.3, 0.5]]]), mass=0.6)  # of 1.1: 0.5 and 0.3
    assert tile[..., 0].tolist() == [[26] * 4] * 2 + [[128] * 4] * 2  # a fifth of 127.5 where it is dark


def test_heads_that_look_everywhere_alike_are_drawn_too() -> None:
    assert (shown(torch.full((1, 2, 2), 0.25), overlay=1.0)[..., 0] == 0).all()


def test_what_cannot_be_is_refused_in_one_line(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convolutional = write_run(tmp_path / "other", "simclr") and str(tmp_path / "other")
    data = words[2]
    for given, expected in (
            ([convolutional, data], "backbone ConvNet4 has no class token"), ([words[1]], "needs pictures: data=PATTERN"),
            ([data], "figure attention needs one encoder"),
            ([words[1], data, "image_px=30"], "do not divide an image of 30 x 30 px; use 32 x 32"),
            ([words[1], data, "mass=0"], "mass needs a number"), ([words[1], data, "overlay=2"], "overlay needs a number in"),
            ([words[1], data, "samples=0"], "samples needs a whole number"), ([words[1], data, "sample=2"], "samples")):
        assert expected in refused(capsys, "attention", *given)


def test_its_keys_are_in_the_manual() -> None:
    assert "mass=null" in manual("attention") and "attention" in manual()
