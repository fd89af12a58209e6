"""The site: its navigation, and that it builds without a warning where what builds it is installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import viewmill as vm
import yaml

from .pages import ROOT

SITE = ROOT / "docs" / "site"


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hook", SITE / "hook.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nav() -> list[Any]:
    found: list[Any] = yaml.safe_load((SITE / "mkdocs.yml").read_text())["nav"]
    return found


def test_an_announced_page_waits_and_one_without_a_place_comes_last(hook: ModuleType) -> None:
    given = [{"Home": "index.md"}, {"Uses": [{"In short": "uses.md"}, {"Ablations": "ablations.md"}]}]
    there = {"index.md", "uses.md"}
    assert hook.placed(given, there) == [{"Home": "index.md"}, {"Uses": [{"In short": "uses.md"}]}]
    assert hook.placed(given, {*there, "ablations.md"}) == given
    assert hook.placed(given, {*there, "new.md", "also.md"})[-1] == {"More": ["also.md", "new.md"]}


def test_only_announced_pages_may_be_absent(hook: ModuleType) -> None:
    absent = [page for page in hook.pages(nav()) if not (ROOT / "docs" / page).exists()]
    assert set(absent) <= set(hook.ANNOUNCED)
    assert len(set(hook.pages(nav()))) == len(list(hook.pages(nav())))


def test_the_api_page_has_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    homes = [f"::: viewmill{vm._HOME[name]}.{name}" for name in vm.__all__ if name != "__version__"]
    assert [home for home in homes if home not in page] == []


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the site is built by mkdocs: make docs")
    pytest.importorskip("material", reason="the site's theme: make docs")
    pytest.importorskip("mkdocstrings", reason="makes the API of docstrings: make docs")
    built = build(ROOT, tmp_path / "site")
    assert built.returncode == 0, built.stderr
    text = (tmp_path / "site" / "api.html").read_text()
    assert "One loader is one stream" in text and "0.1.0" in (tmp_path / "site" / "releases.html").read_text()
    assert "https://fonts" not in text


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="the site's theme: make docs")
    pytest.importorskip("mkdocstrings", reason="makes the API of docstrings: make docs")
    shutil.copytree(ROOT / "docs" / "site", tmp_path / "docs" / "site")
    configuration = (SITE / "mkdocs.yml").read_text().split("nav:")[0] + "nav: [{Home: index.md}]\nplugins: []\n"
    (tmp_path / "docs" / "site" / "mkdocs.yml").write_text(configuration)
    (tmp_path / "docs" / "index.md").write_text("[gone](absent.md)\n")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode != 0 and "absent.md" in built.stderr + built.stdout


def build(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(root / "docs/site/mkdocs.yml"), "-d", str(out)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, timeout=280)
