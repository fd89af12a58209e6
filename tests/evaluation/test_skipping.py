"""What skipping patches saves, measured: every number of patches has its turn, and the counted work is the formula's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from viewmill.evaluation.skipping import SkippingConfig, in_words, main, measured

TINY = ("backbone=vit_tiny_patch16_224", "image_px=64", "images=2", "visible=[4,8]", "rounds=3", "torch_threads=1")


def by_hand(patches: int, seen: int, dim: int = 192, depth: int = 12) -> float:
    """12 N D^2 + 2 N^2 D for each block on N = the seen patches and the class token; all patches are embedded."""
    n = seen + 1
    return patches * 3 * 16 * 16 * dim + depth * (12 * n * dim**2 + 2 * n**2 * dim)


def test_every_number_of_patches_has_its_turns_and_all_of_them_come_last(tmp_path: Path,
                                                                         capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, f"out={tmp_path / 'found.json'}"]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert [each["visible"] for each in found["passes"]] == [4, 8, 16]
    assert all(len(each["ms"]) == 3 and min(each["ms"]) > 0 for each in found["passes"])
    for each in found["passes"]:
        assert each["multiply_adds"] == pytest.approx(by_hand(16, each["visible"]), rel=0.01)
    printed = capsys.readouterr().out
    assert "vit_tiny_patch16_224" in printed and "| 4 of 16 |" in printed and "medians of 3 rounds" in printed


def test_ratios_are_medians_of_rounds_that_stood_side_by_side() -> None:
    found = {"backbone": "b", "image_px": 32, "images": 1, "device": "cpu", "torch_threads": 2, "torch": "2",
             "passes": [{"visible": 1, "multiply_adds": 1_000_000_000, "ms": [10.0, 20.0, 10.0]},
                        {"visible": 4, "multiply_adds": 4_000_000_000, "ms": [30.0, 80.0, 50.0]}]}
    lines = in_words(found).splitlines()
    assert lines[-2] == "| 1 of 4 | 10 | 1.0 G | 4.00 | 4.00 (3.00 to 5.00) |"
    assert lines[-1] == "| 4 of 4 | 50 | 4.0 G | 1.00 |  |"


def test_patches_that_are_not_there_are_refused_by_name() -> None:
    config = SkippingConfig(backbone="vit_tiny_patch16_224", image_px=32, visible=(5,), rounds=1)
    with pytest.raises(ValueError, match=r"visible: vit_tiny_patch16_224 has 4 patches at 32 px, got 5; use 1 to 4"):
        measured(config, torch.device("cpu"))
    with pytest.raises(ValueError, match="rounds needs a whole number of at least 1, got 0"):
        SkippingConfig(rounds=0)
