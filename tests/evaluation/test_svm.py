"""Linear SVMs, one class against the rest: scikit-learn's machine on scaled features, costs chosen without test pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC
from viewmill import cli
from viewmill.augment.presets import recipe
from viewmill.evaluation import svm
from viewmill.evaluation.multilabel import MultiLabelSource
from viewmill.evaluation.opening import open_encoder
from viewmill.evaluation.pictures import Pictures, evaluation_recipe
from viewmill.evaluation.svm import GRIDS, SvmConfig, run
from viewmill.evaluation.voc import CLASSES
from viewmill.models.layers import maps
from viewmill.pipelines.source import open_source

from .tasks import SIDE, pictures, task
from .test_encoder import write_run
from .voc_folders import write_voc

COSTS = (0.01, 1.0, 100.0)


def several(count: int, seed: int) -> Pictures:
    """Each of three colours is in a picture or not; the third class is difficult in every eighth picture."""
    rng = np.random.default_rng(seed)
    target = (rng.random((count, 3)) < 0.4).astype(np.int8)
    flat = 60 + 100 * target + rng.normal(0, 45, (count, 3))
    images = np.clip(flat[:, None, None] + rng.normal(0, 20, (count, SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    target[::8, 2] = -1
    return Pictures(MultiLabelSource(open_source((images, np.zeros(count, np.int64))), target), None, f"data={seed}", 1,
                    unlabelled=True)


def independently(x: np.ndarray, y: np.ndarray, asked: np.ndarray, costs: tuple[float, ...]) -> tuple[float, np.ndarray]:
    """The benchmark's protocol written out with scikit-learn: (chosen cost, scores)."""
    x, asked = (rows / (np.sqrt((rows**2).sum(1)) + 1e-5)[:, None] for rows in (x, asked))

    def machine(cost: float) -> LinearSVC:
        return LinearSVC(C=cost, class_weight={1: 2, -1: 1}, max_iter=2000, dual=True, random_state=0)

    means = []
    for cost in costs:
        folds = StratifiedKFold(3).split(x, y)
        means.append(np.mean([average_precision_score(y[test] == 1, machine(cost).fit(x[fit], y[fit]).decision_function(x[test]))
                              for fit, test in folds]))
    best = costs[int(np.argmax(means))]
    return best, machine(best).fit(x, y).decision_function(asked)


@pytest.mark.filterwarnings("ignore:Liblinear failed to converge")
@pytest.mark.parametrize("difficult", ["negative", "ignored"])
def test_it_is_scikit_learn_s_machine_by_the_benchmark_s_protocol(tmp_path: Path, difficult: Any) -> None:
    here = task(tmp_path, train=several(120, 1), test=several(60, 2))
    result = run(here, SvmConfig(costs=COSTS, difficult=difficult))
    x, asked = (here.features(part).x.double().numpy() for part in ("train", "test"))
    shown, wanted = here.train.source.target, here.test.source.target  # type: ignore[attr-defined]
    expected = []
    for number in range(3):
        kept = shown[:, number] >= 0 if difficult == "ignored" else np.ones(120, bool)
        cost, score = independently(x[kept], np.where(shown[kept, number] == 1, 1, -1), asked, COSTS)
        counted = wanted[:, number] >= 0
        expected.append(average_precision_score(wanted[counted, number], score[counted]))
        assert result["by_class"]["cost"][str(number)] == cost
        np.testing.assert_allclose(result["arrays"]["score"][:, number], score, rtol=1e-5)
    assert list(result["by_class"]["map_summed"].values()) == pytest.approx(expected)
    assert result["map_summed"] == pytest.approx(np.mean(expected)) and 0.6 < result["map_summed"] < 0.99
    assert result["map_all_point"] > result["map_summed"] and result["chosen_on"] == "3-fold cross-validation"
    assert "top1" not in result and result["classes"] == 3


def test_grids_are_those_of_the_benchmark() -> None:
    assert GRIDS["code"][:3] == (0.01, 0.1, 0.0625) and len(GRIDS["code"]) == 18 and min(GRIDS["code"]) == 2**-19
    assert GRIDS["tens"][0] == 1e-7 and GRIDS["tens"][-1] == 100 and len(GRIDS["paper"]) == 26


def test_of_one_label_each_the_highest_score_answers(tmp_path: Path) -> None:
    result = run(task(tmp_path, classes=3, images=90), SvmConfig(costs=(1.0,)))
    assert result["converged"] and not run(task(tmp_path, classes=3, images=90), SvmConfig(costs=(1.0,), max_iter=1))["converged"]
    assert result["top1"] == result["correct"].mean() == (result["arrays"]["score"].argmax(1) == np.arange(60) % 3).mean() > 0.7
    assert result["chosen_on"] == "nothing to choose" and not list(tmp_path.rglob("*.json"))


def test_pictures_without_any_label_stand_against_no_class(tmp_path: Path) -> None:
    train = several(60, 1)
    target = train.source.target.copy()  # type: ignore[attr-defined]
    target[40:] = -1
    unknown = MultiLabelSource(train.source.source, target)  # type: ignore[attr-defined]
    fewer = train.part(np.arange(40))
    found = [run(task(tmp_path / str(number), train=each, test=several(30, 2)), SvmConfig(costs=(1.0,)))
             for number, each in enumerate((fewer, Pictures(unknown, None, "data=unknown", 1, unlabelled=True)))]
    assert np.array_equal(found[0]["arrays"]["score"], found[1]["arrays"]["score"]) and found[1]["train_images"] == 40


def test_machines_on_a_layer_s_map(tmp_path: Path) -> None:
    """The second of convnet4's maps, averaged over quarters: what scikit-learn's machine makes of the same numbers."""
    encoder = open_encoder("convnet4", pretrained=False, image_px=SIDE)
    encoder.view = evaluation_recipe(recipe("probe"), SIDE)
    here = task(tmp_path, classes=2, images=40, encoder=encoder)
    name = list(maps(encoder.module, torch.zeros(1, 3, SIDE, SIDE)))[1]
    result = run(here, SvmConfig(costs=(1.0,), layer=name, values=400))

    def seen(part: Pictures) -> np.ndarray:
        made = torch.cat([maps(encoder.module, piece.images)[name] for piece in part.pieces(encoder.view)])
        side = round((400 / made.shape[1]) ** 0.5)
        return F.adaptive_avg_pool2d(made, side).flatten(1).double().numpy()

    _, score = independently(seen(here.train), np.where(np.arange(40) % 2 == 1, 1, -1), seen(here.test), (1.0,))
    np.testing.assert_allclose(result["arrays"]["score"][:, 1], score, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="layer=fc9: convnet4, untrained has "):
        run(here, SvmConfig(layer="fc9"))


def test_choices_are_kept_and_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(task(tmp_path, classes=2, images=40), SvmConfig(costs=COSTS))
    monkeypatch.setattr(svm, "fitted_well", lambda *given: pytest.fail("a cost was tried again"))
    second = run(task(tmp_path, classes=2, images=40), SvmConfig(costs=COSTS))
    assert second["by_class"] == first["by_class"] and np.array_equal(second["arrays"]["score"], first["arrays"]["score"])


def test_a_class_that_too_few_pictures_show_is_refused(tmp_path: Path) -> None:
    few = pictures(12, 3, 1, label=[0] * 6 + [1] * 4 + [2] * 2)
    with pytest.raises(ValueError, match="data=1: 2 of its 12 pictures show class 2; its machine needs 3 that do and as many"):
        run(task(tmp_path, train=few, classes=3), SvmConfig(costs=COSTS))
    assert run(task(tmp_path, train=few, classes=3), SvmConfig(costs=(1.0,)))["classes"] == 3


@pytest.mark.parametrize(("keys", "message"), [
    ({"costs": (0.1, 0.0)}, r"costs needs numbers above 0, got \[0.1, 0.0\]"),
    ({"folds": 1}, "folds needs a whole number of at least 2, max_iter of at least 1, got 1, 2000"),
    ({"positive_weight": 0.0}, "positive_weight needs a number above 0, got 0.0"),
])
def test_keys_that_make_no_sense_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SvmConfig(**keys)


def on_a_rank(folder: str) -> dict[str, Any]:
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    result = run(task(Path(folder), classes=3, images=60, rank=rank, ranks=ranks), SvmConfig(costs=(1.0,)))
    return {name: result[name] for name in ("by_class", "top1")}


@pytest.mark.slow
def test_ranks_share_the_classes(tmp_path: Path, world: Callable[..., list[Any]]) -> None:
    alone = run(task(tmp_path / "one", classes=3, images=60), SvmConfig(costs=(1.0,)))
    wanted = {name: alone[name] for name in ("by_class", "top1")}
    assert world(2, on_a_rank, str(tmp_path / "two")) == [wanted, wanted]


def test_voc_s_folder_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = [[("cat", False)], [("dog", False)], [("cat", False), ("dog", False)], [("bird", False), ("cat", True)]]
    parts = {part: {f"{part}{i}": shown[i % 4] for i in range(count)} for part, count in (("trainval", 24), ("test", 12))}
    write_voc(tmp_path / "VOC", parts)
    lists = tmp_path / "VOC" / "ImageSets" / "Main"
    write_run(tmp_path / "run")
    line = ["eval", "svm", str(tmp_path / "run"), f"data={lists / 'trainval.txt'}", f"test_data={lists / 'test.txt'}", "costs=1"]
    assert cli.main(line) == 0
    printed = capsys.readouterr().out
    assert "24 to learn from, 12 to be tested on\n" in printed and "svm        mAP of 11 points " in printed
    kept = json.loads((tmp_path / "run" / "eval" / "svm.json").read_text())
    assert kept["by_class"]["map_all_point"]["cat"] > 0.9 and kept["by_class"]["map_all_point"]["aeroplane"] is None
    assert kept["by_class"]["cost"] == {"bird": 1, "cat": 1, "dog": 1} and kept["classes"] == len(CLASSES)
    arrays = np.load(tmp_path / "run" / "eval" / "svm.npz")
    assert arrays["score"].shape == arrays["target"].shape == (12, 20) and len(arrays["index"]) == 12
    write_voc(tmp_path / "VOC", {"test": {**parts["test"], "x": [("boat", False)]}})
    assert cli.main(line) == 2
    assert "0 of its 24 pictures show class 3; its machine needs 1 that do" in capsys.readouterr().err
