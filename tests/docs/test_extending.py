"""The worked examples of docs/add-*.md: applied to a copy of the sources, where their own tests run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .extended import changed, extended, run_tests
from .pages import ROOT

PAGES = sorted((ROOT / "docs").glob("add-*.md"))


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_example_works(page: Path, tmp_path: Path) -> None:
    tests = extended(page, tmp_path)
    assert len(tests) == 1
    ran = run_tests(tmp_path, tests)
    assert ran.returncode == 0 and re.search(r"[3-9] passed", ran.stdout), ran.stdout + ran.stderr
    clean = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "--config", "pyproject.toml", *tests, "augment",
                            "losses", "models", "pipelines"], cwd=tmp_path, capture_output=True, text=True)
    assert clean.returncode == 0, clean.stdout


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_rooms_stay_in_order(page: Path, tmp_path: Path) -> None:
    """Who may import whom, files that stay short, methods that are whole, and types."""
    extended(page, tmp_path)
    ran = run_tests(tmp_path, ["tests/test_front_door.py", "tests/models/test_methods.py"], "-k",
                    "room or sibling or outgrows or small or published")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    typed = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "types")], cwd=tmp_path,
                           capture_output=True, text=True)
    assert typed.returncode == 0, typed.stdout


@pytest.mark.slow
def test_the_kernel_of_the_new_op_agrees(tmp_path: Path) -> None:
    tests = extended(ROOT / "docs" / "add-op.md", tmp_path)
    ran = run_tests(tmp_path, tests, "-m", "slow")
    assert ran.returncode == 0 and "1 passed" in ran.stdout, ran.stdout + ran.stderr


def test_a_diff_that_does_not_fit_is_refused() -> None:
    assert changed("a\nb\nc\n", " a\n-b\n+B\n@@\n+d\n c\n", "x.py") == "a\nB\nd\nc\n"
    with pytest.raises(AssertionError, match=r"x.py has 0 times"):
        changed("a\nb\n", " a\n-c\n", "x.py")
    with pytest.raises(AssertionError, match=r"x.py has 2 times"):
        changed("a\na\n", "-a\n+b\n", "x.py")
