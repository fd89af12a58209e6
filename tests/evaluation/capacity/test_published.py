"""docs/scale.md says what the command says of published runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from viewmill.evaluation.capacity.needs import SPREAD
from viewmill.evaluation.capacity.published import ROWS, table
from viewmill.train import read

DOCS = Path(__file__).parents[3] / "docs" / "scale.md"


def shown() -> list[str]:
    lines = DOCS.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| run | figure |"))
    return lines[first : first + 2 + len(ROWS)]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_all_rows_are_there_in_order() -> None:
    found = [cells(line) for line in shown()[2:]]
    assert [(run, figure) for run, figure, *_ in found] == [(row.run, row.what) for row in ROWS]
    for (*_, published, _ratio, role), row in zip(found, ROWS, strict=True):
        assert float(published.replace(",", "")) == pytest.approx(row.published, rel=0.01)
        assert role.startswith("sets the share" if row.sets else "checks")


def test_ratios_are_predicted_over_published() -> None:
    for line in shown()[2:]:
        _, _, predicted, published, ratio, _ = cells(line)
        assert float(ratio) == pytest.approx(float(predicted.replace(",", "")) / float(published.replace(",", "")), abs=0.011)


def test_the_spread_that_plans_tell_is_the_tables() -> None:
    ratios = [float(cells(line)[4]) for line, row in zip(shown()[2:], ROWS, strict=True)
              if not row.sets and row.what != "GB a GPU"]
    assert f"took {1 / max(ratios):.1f} to {1 / min(ratios):.1f} times" in SPREAD


def test_a_row_is_what_the_command_says() -> None:
    assert list(table(read, ROWS[:1])) == shown()[:3]


@pytest.mark.slow
def test_the_table_is_what_the_command_says() -> None:
    assert list(table(read)) == shown()
