"""What a report computes from its rounds, its table, and its way through JSON, with numbers made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from viewmill.pipelines.bench.chart import draw_chart
from viewmill.pipelines.bench.report import ArmReport, BenchReport, LeftOut, RecipeReport, crowded, loaded, restless
from viewmill.pipelines.bench.rounds import Round


def arm(name: str, kind: str, alone: list[float], decode: list[float], busy: float | None = 2.0, cpu: float | None = 1.5,
        others: float = 0.0, notes: list[str] | None = None) -> ArmReport:
    rounds = [Round(d, a, 0.1, cpu, None if busy is None else a * busy, others) for d, a in zip(decode, alone, strict=True)]
    return ArmReport(name, f"{name}, in full", kind, 100, rounds, 600_000_000, notes or [])


DECODE = arm("bare decode", "decode", [0.1, 0.2, 0.1], [0.1, 0.2, 0.1])
OURS = arm("viewmill cpu", "viewmill", [0.2, 0.5, 0.3], [0.1, 0.2, 0.1])
THEIRS = arm("torchvision", "peer", [0.8, 1.0, 0.9], [0.1, 0.2, 0.1], notes=["a note"])


def report() -> BenchReport:
    recipe = RecipeReport("simclr", "ab", "2 x 224 px", "8 images", 2, 10, 10, [DECODE, OURS, THEIRS],
                          [LeftOut("dali", "not installed: pip install it")],
                          {"viewmill cpu": {"plan": 0.05, "decode": 0.8}}, ["a warning"])
    return BenchReport({"cpu": "a chip", "cores": 2}, {"viewmill": "1"}, {"rounds": 3}, [recipe])


def test_an_arm_is_judged_by_its_rounds() -> None:
    assert OURS.ms.median == pytest.approx(3.0) and OURS.rate == pytest.approx(1000 / 3)
    assert (OURS.ratio.median, OURS.ratio.low, OURS.ratio.high) == pytest.approx((2.5, 2.0, 3.0))  # of 2, 2.5 and 3
    assert OURS.beside_busy is not None and OURS.beside_busy.median == 0.5
    assert OURS.cpu_ms is not None and OURS.cpu_ms.median == 15.0 and OURS.trainer_ms.median == pytest.approx(1.0)


def test_what_was_not_measured_is_not_made_up() -> None:
    bare = arm("x", "peer", [0.2], [0.1], busy=None, cpu=None)
    assert bare.beside_busy is None and bare.cpu_ms is None


def test_the_table_has_a_line_an_arm_sorted_by_rate_and_all_that_must_be_said() -> None:
    lines = report().recipes[0].table().splitlines()
    names = [line.split("  ")[1] for line in lines[4:7]]
    assert names == ["bare decode", "viewmill cpu", "torchvision"]
    assert "2.50 (2.00 to 3.00)" in lines[5] and "600" in lines[5]
    assert lines[6].endswith("3.00")  # of 4, 2 and 3 times viewmill's time
    text = "\n".join(lines)
    for said in ("torchvision: a note", "left out: dali: not installed: pip install it", "plan 0.050, decode 0.800",
                 "warning: a warning", "3 paired rounds of 10 batches of 10"):
        assert said in text


def test_json_keeps_every_round_and_reads_back_as_the_same_report(tmp_path: Path) -> None:
    report().save(tmp_path / "a.json")
    assert loaded(tmp_path / "a.json") == report()
    kept = report().as_dict()
    assert kept["format"] == 1 and len(kept["recipes"][0]["arms"][1]["rounds"]) == 3
    assert kept["recipes"][0]["arms"][1]["ratio"]["median"] == pytest.approx(2.5)


@pytest.mark.parametrize(("text", "says"), [("{}", "not a report"), ("not json", "not a report"),
                                            ('{"format": 99}', "a report of format 99")])
def test_another_file_is_refused_in_one_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=says):
        loaded(tmp_path / "a.json")
    with pytest.raises(ValueError, match="cannot be read"):
        loaded(tmp_path / "b.json")


def test_rounds_that_disagree_and_arms_that_do_not_rest_are_told() -> None:
    assert restless([DECODE, arm("a", "peer", [0.2, 0.2], [0.1, 0.1])]) == []
    wild = arm("a", "peer", [0.2, 0.2, 0.4], [0.1, 0.1, 0.1])
    assert "from 2.00 to 4.00" in restless([wild])[0]
    assert "idle arms used up to 0.30 of a core" in restless([arm("a", "peer", [1.0], [0.5], others=0.3)])[0]


def test_arms_that_hold_more_than_there_was_are_told() -> None:
    assert crowded([3_000_000_000, None, 1_000_000_000], 4_000_000_000) == []
    assert "held 4.0 GB, of 3.5 GB" in crowded([3_000_000_000, None, 1_000_000_000], 3_500_000_000)[0]


def test_the_chart_is_drawn_from_the_report(tmp_path: Path) -> None:
    draw_chart(report(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with pytest.raises(ValueError, match="has none"):
        draw_chart(BenchReport({}, {}, {}), tmp_path / "b.png")
