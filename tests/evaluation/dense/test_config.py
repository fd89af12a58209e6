"""The published numbers, and what becomes of them in a run of another length or batch."""

from __future__ import annotations

from typing import Any

import pytest
from viewmill.evaluation.dense.config import DetectionConfig, SegmentationConfig, lists

DATA = ("train.json", "test.json")


def test_moco_s_numbers_stand() -> None:
    of = DetectionConfig(*DATA, protocol="moco_voc").schedule()
    assert (of.lr, of.batch_size, of.steps, of.drops_at, of.warmup_steps) == (0.02, 16, 24_000, (18_000, 22_000), 100)
    assert (of.neck, of.masks, of.norms, of.new_norms, of.weight_decay) == ("c4", False, "batch", True, 1e-4)
    assert of.sides_px == (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800) and of.test_side_px == 800


def test_a_shorter_run_and_a_smaller_batch_keep_their_proportions() -> None:
    of = DetectionConfig(*DATA, protocol="moco_voc", steps=2400, batch_size=4).schedule()
    assert (of.lr, of.drops_at, of.warmup_steps) == (0.005, (1800, 2200), 10)
    given = DetectionConfig(*DATA, protocol="moco_voc", steps=2400, batch_size=4, lr=0.1, drops_at=(7,),
                            warmup_steps=100).schedule()
    assert (given.lr, given.drops_at, given.warmup_steps) == (0.1, (7,), 100)
    longer = SegmentationConfig(*DATA, protocol="mmselfsup", steps=40_000, batch_size=32).schedule()
    assert (longer.lr, longer.final_lr, longer.warmup_steps) == (0.02, 2e-4, 0)


@pytest.mark.parametrize(("kind", "keys", "said"), [
    (DetectionConfig, {"protocol": "moco_vok"}, "unknown protocol 'moco_vok'; did you mean 'moco_voc'"),
    (DetectionConfig, {"sides_px": ()}, "sides_px needs whole numbers"),
    (DetectionConfig, {"jitter": (2.0, 0.1)}, "jitter needs two scales"),
    (DetectionConfig, {"lr": 0.0}, "lr needs a number above 0"),
    (DetectionConfig, {"steps": 0}, "steps needs a number of at least 1"),
    (DetectionConfig, {"layer_decay": 1.5}, "layer_decay needs"),
    (SegmentationConfig, {"ratio": (2.0, 1.0)}, "ratio needs"),
    (SegmentationConfig, {"classes": 1}, "classes needs"),
    (SegmentationConfig, {"final_lr": 1.0}, "final_lr=1 needs to be at most lr"),
    (SegmentationConfig, {"save_minutes": 0.0}, "save_minutes needs"),
])
def test_numbers_out_of_range(kind: Any, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        kind(*DATA, **keys)


def test_data_is_one_path_or_several_of_a_kind() -> None:
    assert lists("a.json") == ["a.json"] and lists(["a.txt", "b.txt"]) == ["a.txt", "b.txt"]
    for data, said in (([], "need a path"), (None, "need a path"), (["a.txt", "b.json"], "cannot be mixed")):
        with pytest.raises(ValueError, match=said):
            lists(data)
