"""Reconstructions: what a run of MAE would show, a row for each of its columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from viewmill import cli
from viewmill.augment import presets
from viewmill.evaluation.figures.figure import read
from viewmill.evaluation.figures.sheet import EDGE_PX, GAP_PX, fitted, levels
from viewmill.evaluation.gallery import Gallery
from viewmill.models.training.config import LoaderConfig
from viewmill.pipelines.source import open_source

from tests.evaluation.test_command import refused, write_tar
from tests.evaluation.test_encoder import write_run


def test_the_columns_that_the_method_paints_as_rows(tmp_path: Path) -> None:
    method = write_run(tmp_path / "run", "mae").eval()
    data = write_tar(tmp_path / "a.tar", 9, 1, labels=False)
    assert cli.main(["eval", "figure", "reconstructions", str(tmp_path / "run"), f"data={data}", "device=cpu"]) == 0
    path = tmp_path / "run" / "figures" / "reconstructions.png"
    columns = Gallery(open_source(data), presets.recipe("mae_cifar"), LoaderConfig(), 0, device=torch.device("cpu"),
                      threads=1).columns(method)  # type: ignore[arg-type]
    image, pitch = np.asarray(Image.open(path)), 160 + GAP_PX
    for row, column in enumerate(columns.values()):
        for place, picture in enumerate(column):
            left = image.shape[1] - EDGE_PX - 8 * pitch + GAP_PX + place * pitch
            tile = image[EDGE_PX + row * pitch :, left:][:160, :160]
            assert (tile == np.asarray(fitted(levels(picture), 160))).all()
    said = read(path)
    assert said is not None and said.title == "What mae makes of 8 images"
    assert f"mae of {tmp_path / 'run'}, step 7: {', '.join(columns)}; of the first 8 images" in said.caption


def test_what_cannot_be_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "simclr")
    write_run(tmp_path / "mae", "mae")
    data = f"data={write_tar(tmp_path / 'a.tar', 3, 1)}"
    (tmp_path / "empty").mkdir()
    for given, expected in (([str(tmp_path / "simclr"), data], "paints nothing; methods that do are for example mae"),
                            ([str(tmp_path / "mae")], "does not say where its run found images; give data=PATTERN"),
                            ([str(tmp_path / "empty"), data], "is no run and no checkpoint of one"),
                            (["resnet18", data], "resnet18 is no run and no checkpoint of one"),
                            ([str(tmp_path / "mae"), data, f"test_{data}"], "reconstructions takes no test_data=; leave it out")):
        assert expected in refused(capsys, "figure", "reconstructions", *given, "device=cpu")
