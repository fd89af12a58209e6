"""Pseudo-labels: each view of an image tells the cluster that a table gives it; a table that does not fit is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from viewmill.models.pseudo_labels import PseudoLabels, PseudoLabelsConfig
from viewmill.pipelines.batch import Batch
from viewmill.train import read

from ..world import World
from .batches import batch_of, random_views
from .ranks import Told, assert_alike, steps_of

LABELS = np.array([2, 0, 1, -1, 2, 1, 0, 2])
INDEX = torch.tensor([4, 2, 3, 7, 1, 6, 0])


@pytest.fixture
def table(tmp_path: Path) -> str:
    np.save(tmp_path / "clusters.npy", LABELS)
    return str(tmp_path / "clusters.npy")


def small(table: str | None, images: int | None = 8, backbone: str = "convnet4", clusters: int = 3) -> PseudoLabels:
    torch.manual_seed(0)
    return PseudoLabels(PseudoLabelsConfig(backbone, table, clusters), image_px=32, images=images)


def part(own: slice, seed: int = 0, views: int = 1) -> Batch:
    batch = batch_of(random_views(views, 7, 32, seed)[:, own])
    batch.index = INDEX[own]
    return batch


def test_the_loss_is_the_cross_entropy_of_each_images_cluster_and_images_without_one_count_for_nothing(table: str) -> None:
    method, batch = small(table).eval(), part(slice(5), views=2)
    values = method(batch)
    losses, right = [], []
    with torch.no_grad():
        for view in batch.views["global"]:
            logits = method.classifier(method.encoder(view)).double().numpy()
            for row, label in zip(logits, [2, 1, -1, 2, 0], strict=True):  # LABELS of 4, 2, 3, 7, 1
                if label >= 0:
                    losses.append(math.log(np.exp(row).sum()) - row[label])
                    right.append(row.argmax() == label)
    assert len(losses) == 8 and float(values["loss"].detach()) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(values["accuracy"]) == pytest.approx(np.mean(right))


def test_it_begins_at_chance_and_learns_a_batch_by_heart(table: str) -> None:
    method, batch = small(table), part(slice(7))
    optimizer = torch.optim.AdamW(method.parameters(), 2e-3)
    values = method(batch)
    assert float(values["loss"].detach()) == pytest.approx(math.log(3), abs=0.3)
    for _ in range(15):
        optimizer.zero_grad()
        values["loss"].backward()
        optimizer.step()
        values = method(batch)
    assert float(values["accuracy"]) == 1 and float(values["loss"].detach()) < 0.1


def test_a_step_without_any_cluster_moves_nothing(table: str) -> None:
    method, batch = small(table), part(slice(2, 3))
    batch.views["global"] = random_views(1, 2, 32)
    batch.index = torch.tensor([3, 3])
    values = method(batch)
    values["loss"].backward()
    assert float(values["loss"].detach()) == 0 and not method.classifier.weight.grad.any()  # type: ignore[union-attr]


def test_the_table_is_the_datas_and_no_part_of_a_checkpoint(table: str) -> None:
    method, judged = small(table), small(None, None)
    judged.load_state_dict(method.state_dict())
    images = random_views(1, 2, 32)[0]
    method.eval(), judged.eval()
    assert torch.equal(method.features(images), judged.features(images))
    with pytest.raises(ValueError, match="pseudo_labels needs the number of images, build"):
        judged(part(slice(7)))


def test_tables_that_do_not_fit_are_refused(table: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pseudo_labels needs model\.labels=FILE, each image's cluster; make it from a trained"):
        small(None)
    with pytest.raises(ValueError, match=r"needs whole numbers of shape \(9,\), one for each image of the data, got int64"):
        small(table, 9)
    with pytest.raises(ValueError, match=r"has clusters from -1 to 2, and model\.clusters=2 are those from 0 to 1"):
        small(table, clusters=2)
    with pytest.raises(ValueError, match=r"model\.clusters needs a whole number of at least 2, got 1"):
        PseudoLabelsConfig(clusters=1)
    for name, what, says in (("halves", LABELS / 2, r"got float64 \(8,\)"), ("none", np.full(8, -1), "gives no image a cluster"),
                             ("below", LABELS - 1, r"has clusters from -2 to 1"),
                             ("objects", np.array([None] * 8), "is no array of NumPy's")):
        np.save(tmp_path / f"{name}.npy", what, allow_pickle=True)
        with pytest.raises(ValueError, match=says) as caught:
            small(str(tmp_path / f"{name}.npy"))
        assert "\n" not in str(caught.value)
    (tmp_path / "text.npy").write_text("2 0 1")
    for missing in ("text.npy", "nowhere.npy"):
        with pytest.raises(ValueError, match=rf"model\.labels=.*{missing} is no array of NumPy's"):
            small(str(tmp_path / missing))


def test_the_published_run() -> None:
    run, views = read(["pseudo_labels", "data=train.tar"])
    assert (run.model.backbone, run.model.clusters, views.name) == ("alexnet", 2000, "pseudo_labels")
    assert [op.type for op in views.views[0].ops] == ["crop", "flip", "normalize"]


def two_steps(table: str) -> Told:
    return steps_of(small(table, backbone="test_vit"), lambda step, own: part(own, step, 2), 7)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_of_unequally_many_images_with_a_cluster_do_what_one_does(world: World, ranks: int, table: str) -> None:
    assert_alike(two_steps(table), world(ranks, two_steps, table))
