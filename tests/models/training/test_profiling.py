"""Where a step's time goes: the page by hand, and what a profiled run leaves."""

from __future__ import annotations

from viewmill.models.training.profiling import summary

# (name, calls, CPU, CPU of its own, device, device of its own), microseconds over two steps.
EVENTS = [("ProfilerStep*", 2, 20_000.0, 400.0, 0.0, 0.0), ("step: forward", 2, 8_000.0, 100.0, 0.0, 0.0),
          ("step: data", 2, 1_000.0, 1_000.0, 0.0, 0.0), ("step: backward", 2, 10_000.0, 50.0, 0.0, 0.0),
          ("aten::mm", 8, 9_000.0, 9_000.0, 500.0, 500.0), ("aten::add", 4, 600.0, 600.0, 3_000.0, 3_000.0)]


def test_the_page_has_parts_in_order_and_the_costliest_operators_first() -> None:
    page = summary(EVENTS, on_device=False, steps=2)
    assert "Means over 2 steps of 10.0 ms" in page
    rows = [line for line in page.splitlines() if line.startswith("| ") and "ms" not in line]
    assert rows == ["| data | 0.50 | 5.0% |", "| forward | 4.00 | 40.0% |", "| backward | 5.00 | 50.0% |",
                    "| the rest of the loop | 0.50 | 5.0% |", "| `aten::mm` | 4.50 | 45.0% | 4.0 |",
                    "| `aten::add` | 0.30 | 3.0% | 2.0 |"]
    on_device = summary(EVENTS, on_device=True, steps=2).splitlines()
    assert on_device[-2:] == ["| `aten::add` | 1.50 | 15.0% | 2.0 |", "| `aten::mm` | 0.25 | 2.5% | 4.0 |"]
