"""Pictures of what a method paints: the sheet pixel by pixel, the same images each time, nothing else moved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import viewmill as vm
from PIL import Image
from torch import Tensor, nn
from viewmill.augment import presets
from viewmill.evaluation.gallery import CELL_PX, GAP_PX, TITLE_PX, Gallery, sheet
from viewmill.models.method import Method
from viewmill.models.pictured import Pictured, Shown
from viewmill.models.simclr import SimCLR
from viewmill.models.training.config import LoaderConfig
from viewmill.pipelines.source import ArraySource

CPU = torch.device("cpu")


class Painter(Method):
    """Paints with a dropout, which is off while it shows, and with chance."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.9)
        self.shows: list[Shown] = []

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        assert not self.dropout.training and not torch.is_grad_enabled()
        self.shows.append(batch)
        original = batch.rgb("global", batch.views["global"][0])
        return {"original": self.dropout(original), "noise": torch.rand(len(original), 3, 2, 2)}


def gallery(images: int = 20, seed: int = 3) -> Gallery:
    source = ArraySource(np.random.default_rng(0).integers(0, 256, (images, 32, 32, 3), np.uint8))
    return Gallery(source, presets.recipe("rotnet_cifar"), LoaderConfig(), seed, device=CPU, threads=1)


def test_rows_are_images_and_columns_have_titles_above() -> None:
    red, half = torch.zeros(2, 3, 32, 32), torch.full((2, 3, 64, 320), 0.5)
    red[1, 0], half[0, 0, 0, 0] = 7.0, float("nan")  # what lies outside is clamped, what is no number is black
    made = np.asarray(sheet({"red": red, "wide": half}))
    assert made.shape == (2 * (CELL_PX + GAP_PX) + TITLE_PX + GAP_PX, 2 * (CELL_PX + GAP_PX) + GAP_PX, 3)
    top = TITLE_PX + GAP_PX // 2
    assert (made[top : top + CELL_PX, GAP_PX : GAP_PX + CELL_PX] == 0).all()  # 32 px five times
    below = made[top + CELL_PX + GAP_PX :]
    assert (below[:CELL_PX, GAP_PX : GAP_PX + CELL_PX] == (255, 0, 0)).all()
    left = 2 * GAP_PX + CELL_PX
    assert (below[:32, left : left + CELL_PX] == 128).all() and (below[32:CELL_PX, left:] == 255).all()  # 64 x 320 px, halved
    assert (made[:top, GAP_PX : GAP_PX + 30] < 100).any() and (made[:top, left : left + 30] < 100).any()


def test_a_method_is_shown_the_first_images_of_the_runs_first_epoch_every_time(tmp_path: Path) -> None:
    of, method = gallery(), Painter()
    batch = next(iter(vm.Loader(of.source, of.recipe, 8, seed=3, threads=1, sidecar=False)))
    for step in (5, 12):
        assert of.write(method, step, tmp_path) == tmp_path / "pictures" / f"step-{step:06d}.png"
        assert method.shows[-1].index.tolist() == batch.index.tolist()
        assert torch.equal(method.shows[-1].views["global"], batch.views["global"])
        assert torch.equal(method.shows[-1].drawn("global", "quarter_turns"), batch.drawn("global", "quarter_turns"))
    one, two = ((tmp_path / "pictures" / f"step-{name}.png").read_bytes() for name in ("000005", "000012"))
    assert one == two and sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["step-000005.png", "step-000012.png"]
    shown = np.asarray(Image.open(tmp_path / "pictures" / "step-000005.png"))
    original = of.source.read(int(batch.index[0]))
    turned = method.shows[0].rgb("global", batch.views["global"][0])[0].permute(1, 2, 0).mul(255).round().numpy()
    assert np.array_equal(shown[TITLE_PX + GAP_PX // 2 :, GAP_PX:][: CELL_PX : 5, : CELL_PX : 5], turned)
    assert np.isin(turned[4:-4, 4:-4].reshape(-1, 3)[:50], np.asarray(original).reshape(-1, 3)).all()
    assert len(gallery(images=3).columns(method)["original"]) == 3


def test_showing_moves_no_generator_and_leaves_every_mode_as_it_was() -> None:
    method = Painter()
    method.dropout.train()
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = gallery().columns(method)
    assert torch.equal(torch.get_rng_state(), before) and method.dropout.training and method.training
    torch.manual_seed(8)
    second = gallery().columns(method)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_only_methods_that_paint_have_a_gallery() -> None:
    from viewmill.models import build, method_info

    simclr = build("simclr", method_info("simclr").config(backbone="convnet4"), image_px=32)
    of = gallery()
    given = of.source, of.recipe, of.loader, of.seed
    assert isinstance(simclr, SimCLR) and not isinstance(simclr, Pictured)
    assert Gallery.of(simclr, *given, device=CPU, threads=1) is None
    assert isinstance(Gallery.of(Painter(), *given, device=CPU, threads=1), Gallery)


def test_values_are_shown_by_what_the_groups_recipe_did_to_them() -> None:
    counting = Shown(gallery().batch(), presets.recipe("counting"))  # values in [0, 1]
    assert counting.rgb("tile", torch.full((2, 3, 4, 4), 0.25)).numpy() == pytest.approx(0.25)
    cmc = Shown(gallery().batch(), presets.recipe("cmc_cifar"))
    luma = next(op for op in cmc.recipe.instances[0].ops if op.type == "normalize")
    value = (60 - luma.mean[0]) / luma.std[0]  # type: ignore[attr-defined]
    assert cmc.plain("luma", torch.full((1, 2, 2), value)).numpy() == pytest.approx(60, abs=1e-4)
    assert cmc.rgb("luma", torch.full((1, 2, 2), value)).shape == (3, 2, 2)
    assert cmc.rgb("luma", torch.full((1, 2, 2), value)).numpy() == pytest.approx(0.6, abs=1e-4)


class Filler(Painter):
    renders = ("masks",)

    def pictures(self, batch: Shown) -> dict[str, Tensor]:
        self.shows.append(batch)
        whole = batch.finished("global", {"masks": lambda levels, drawn: levels})
        return {"hole": batch.rgb("global", batch.finished("global")[0]), "whole": batch.rgb("global", whole[0])}


def test_a_method_that_renders_ops_by_itself_is_shown_views_as_they_are_before() -> None:
    of, method = gallery(), Filler()
    given = of.source, presets.recipe("context_encoder_center_cifar"), of.loader, of.seed
    found = Gallery.of(method, *given, device=CPU, threads=1)
    assert found is not None
    columns = found.columns(method)
    (waits,) = method.shows[0].left("global")
    assert waits is not None and waits[0].type == "masks"
    hidden = (columns["hole"] != columns["whole"]).any(1)
    assert hidden[:, 9:23, 9:23].all() and hidden.sum() == 8 * 14 * 14
