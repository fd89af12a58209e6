"""Where lines lie, worked by hand."""

from __future__ import annotations

import json
import re

import pytest
from viewmill.evaluation.report.chart import MOST_POINTS, Chart, Level, Series, charts, draw
from viewmill.evaluation.report.curves import learning


def paths(html: str, look: str) -> list[str]:
    return re.findall(rf'<path d="([^"]*)" class="{look}"', html)


def test_a_line_runs_from_the_axis_that_begins_at_epoch_0_to_its_last() -> None:
    made = draw(Chart("Loss", [Series("", [(10, 1.0, 4.0), (20, 2.0, 2.0)])]))
    # Ticks 2, 2.5, ... 4 hold the range: 4 is the top, 2 the bottom; epoch 1 of 2 is half way.
    assert paths(made, "line") == ["M500.0 0.0L1000.0 1000.0"]
    assert paths(made, "dots") == ["M500.0 0.0h0M1000.0 1000.0h0"]
    assert 'class="y" style="bottom:50.00%">3<' in made
    assert 'aria-label="Loss by epoch: from 4 to 2, least 2, most 4"' in made


def test_a_level_lies_across_and_widens_the_axis() -> None:
    made = draw(Chart("kNN", [Series("", [(1, 1.0, 0.5)])], shares=True, levels=[Level("raw pixels", 0.25)]))
    (line,) = paths(made, "level")
    assert line == "M0.0 1000.0H1000" and '<span class="said" style="bottom:0.00%">raw pixels</span>' in made and "50 %" in made


def test_many_points_become_buckets_of_their_mean_between_least_and_most() -> None:
    points = [(step, step / 1000, float(step % 2)) for step in range(1, 4 * MOST_POINTS + 1)]
    made = draw(Chart("Loss", [Series("", points, smooth=True)]))
    data = json.loads(re.findall(r"<script[^>]*>(.*?)</script>", made)[0])["series"][0]
    assert data["value"] == [0.5] * MOST_POINTS and len(data["step"]) == MOST_POINTS
    (band,) = paths(made, "band")
    heights = {float(point.split()[1]) for point in band.strip("MZ").split("L")}
    assert heights == {0.0, 1000.0}


def test_what_was_not_measured_is_not_drawn() -> None:
    assert charts("Nothing", [Chart("Loss", [Series("", [])])]) is None
    assert learning([]) == []


@pytest.mark.parametrize("label", ["</script><script>alert(1)</script>", "<!--"])
def test_a_label_cannot_leave_the_data(label: str) -> None:
    made = draw(Chart("Loss", [Series(label, [(1, 1.0, 2.0)])]))
    assert made.count("</script>") == 1 and "<!--" not in made
