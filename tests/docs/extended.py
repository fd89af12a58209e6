"""The sources as a page of docs/ changes them: each ```python block with a title is a new file, each ```diff block changes the
file of its title."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .pages import ROOT, snippets

ROOMS = ("augment", "losses", "models", "pipelines", "evaluation", "tests")
FILES = ("__init__.py", "py.typed", "train.py", "cli.py", "pyproject.toml")


def extended(page: Path, folder: Path) -> list[str]:
    """Copy the sources to `folder`, apply the page, and return the paths of its test files."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dev").mkdir()
    (folder / ".dev" / "viewmill").symlink_to("..")
    tests = []
    for snippet in snippets(page):
        if not snippet.title:
            continue
        file = folder / snippet.title
        if snippet.language == "diff":
            file.write_text(changed(file.read_text(), snippet.text, snippet.title))
        else:
            assert not file.exists(), f"{snippet.title} is there already"
            file.write_text(snippet.text)
            tests += [snippet.title] if file.name.startswith("test_") else []
    return tests


def changed(text: str, diff: str, name: str) -> str:
    """text with each hunk applied, at the one place where its old lines stand. Hunks are parted by lines that begin with @@."""
    for hunk in diff.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        assert all(line[0] in " +-\n" for line in lines), f"{name}: {hunk}"
        old = "".join(line[1:] or line for line in lines if line[0] != "+")
        new = "".join(line[1:] or line for line in lines if line[0] != "-")
        assert old and text.count(old) == 1, f"{name} has {text.count(old)} times:\n{old}"
        text = text.replace(old, new)
    return text


def run_tests(folder: Path, tests: list[str], *more: str) -> subprocess.CompletedProcess[str]:
    """pytest on these files of the changed sources, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(folder / ".dev")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, *more]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
