"""metrics.jsonl survives crashes and resumes without double or lost steps."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image
from viewmill.models.training.metrics import Metrics, draw_curves, latest, read


def write(out: Path, start: int, steps: range) -> None:
    log = Metrics(out, start, tensorboard=False)
    for step in steps:
        log.write(step, step / 4, {"loss": 1 / step, "lr": 0.1})
    log.close()


def test_each_line_is_an_object_with_step_and_epoch(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 3))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": 1, "epoch": 0.25, "loss": 1.0, "lr": 0.1},
                                                    {"step": 2, "epoch": 0.5, "loss": 0.5, "lr": 0.1}]


def test_lines_after_the_resumed_step_and_a_torn_last_line_are_cut(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 7))
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 7, "lo')
    write(tmp_path, 4, range(5, 9))
    assert [row["step"] for row in read(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_run_from_the_start_begins_a_new_file(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 7))
    write(tmp_path, 0, range(1, 3))
    assert [row["step"] for row in read(tmp_path / "metrics.jsonl")] == [1, 2]


def test_what_json_cannot_say_is_null(tmp_path: Path) -> None:
    log = Metrics(tmp_path, 0, tensorboard=False)
    log.write(1, 0.1, {"loss": float("nan"), "lr": 0.5})
    log.close()
    assert read(log.path) == [{"step": 1, "epoch": 0.1, "loss": None, "lr": 0.5}]


def test_latest_takes_the_last_of_each_name(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 4))
    assert latest(tmp_path / "metrics.jsonl", "loss", "knn") == {"loss": 1 / 3}


def test_curves_are_drawn_with_and_without_knn(tmp_path: Path) -> None:
    assert draw_curves(tmp_path) is None
    write(tmp_path, 0, range(1, 30))
    assert draw_curves(tmp_path) == tmp_path / "curves.png"
    narrow = Image.open(tmp_path / "curves.png").size
    log = Metrics(tmp_path, 29, tensorboard=False)
    log.write(29, 7.25, {"knn": 0.5, "knn_raw_pixels": 0.3})
    log.close()
    draw_curves(tmp_path)
    wide = Image.open(tmp_path / "curves.png").size
    assert wide[0] == 3 * narrow[0] // 2 and wide[1] == narrow[1]
    log = Metrics(tmp_path, 29, tensorboard=False)
    for step in (30, 31):
        log.write(step, step / 4, {"loss": 1.0, "health_std": 0.5, "health_rankme": 9.0})
    log.close()
    draw_curves(tmp_path)
    assert Image.open(tmp_path / "curves.png").width == 5 * narrow[0] // 2


def test_tensorboard_gets_the_same_scalars(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = Metrics(tmp_path, 0, tensorboard=True)
    log.write(3, 0.5, {"loss": 2.5})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(3, 2.5)]
