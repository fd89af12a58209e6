"""What goes out with a version: its number everywhere, the citation, the container's recipe, packages that run by themselves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
import viewmill as vm
import yaml

ROOT = Path(__file__).resolve().parents[1]
TOP = {"pipelines", "augment", "losses", "models", "evaluation", "tests", "docs", ".ci", ".dev", "train.py", "cli.py",
       "__init__.py", "py.typed", "README.md", "LICENSE", "Makefile", "pyproject.toml", ".gitignore",
       "CITATION.cff",  # looked for in the root alone by what reads it
       "CHANGELOG.md"}  # looked for here by people


def test_nothing_new_at_the_top() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no checkout of git: what is tracked cannot be told")
    assert {line.split("/")[0] for line in listed.stdout.splitlines()} <= TOP


def test_the_citation_is_whole_and_of_this_version() -> None:
    """The keys that Citation File Format 1.2.0 requires, and those that a reader needs."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license", "type", "abstract", "keywords"} == set(cited)
    assert (cited["cff-version"], cited["type"], cited["license"]) == ("1.2.0", "software", "Apache-2.0")
    assert cited["version"] == vm.__version__
    assert all(set(author) == {"name"} and author["name"] for author in cited["authors"])
    assert all(isinstance(cited[key], str) and cited[key].strip() for key in ("message", "title", "abstract"))


def test_the_changes_begin_with_this_version() -> None:
    versions = re.findall(r"^## (\S+?),? .*$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == vm.__version__
    assert versions == sorted(versions, key=lambda v: tuple(map(int, v.split("."))), reverse=True)


def test_the_container_has_all_that_the_wheel_is_made_of() -> None:
    recipe = (ROOT / "docs" / "Containerfile").read_text()
    copied = {word.rstrip("/") for line in recipe.splitlines() if line.startswith("COPY ") for word in line.split()[1:-1]}
    project = (ROOT / "pyproject.toml").read_text()
    wanted = set(re.findall(r'"([^"]+)"', re.findall(r"^only-include = \[(.*?)\]", project, re.MULTILINE)[0]))
    assert wanted | {"pyproject.toml", "README.md", "LICENSE"} == copied
    assert all((ROOT / name).exists() for name in copied)
    lines = [line for line in recipe.splitlines() if line and not line.startswith("#")]
    assert lines[0].startswith("FROM python:") and 'ENTRYPOINT ["viewmill"]' in lines
    assert tuple(map(int, lines[0].split(":")[1].split("-")[0].split("."))) >= (3, 11)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and with the wheel that was built of it and of nothing else."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)], cwd=ROOT, check=True,
                   capture_output=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as sources:
        sources.extractall(folder / "unpacked", filter="data")
    unpacked = next((folder / "unpacked").iterdir())
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=unpacked, check=True,
                   capture_output=True)
    return folder


def test_packages_hold_what_they_need(packages: Path) -> None:
    assert {path.name for path in packages.iterdir()} == {f"viewmill-{vm.__version__}.tar.gz",
                                                          f"viewmill-{vm.__version__}-py3-none-any.whl", "unpacked"}
    wheel = set(zipfile.ZipFile(next(packages.glob("*.whl"))).namelist())
    ours = {path.relative_to(ROOT) for room in ("augment", "losses", "models", "pipelines", "evaluation")
            for path in (ROOT / room).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {f"viewmill/{path}" for path in ours} <= wheel  # every kernel, and what reports are made of
    sources = packages / "unpacked" / f"viewmill-{vm.__version__}"
    for name in ("README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "Makefile", "docs/Containerfile", "docs/views.png",
                 "docs/sheets/dino.jpg", "docs/site/mkdocs.yml", "tests/test_release.py"):
        assert (sources / name).is_file(), name
    assert not (sources / ".dev").exists() and not (sources / "build").exists()


@pytest.mark.slow
def test_the_wheel_runs_the_beginning_of_the_demo_by_itself(packages: Path, tmp_path: Path) -> None:
    """Installed by pip, without an index, into a new environment that borrows the dependencies; away from the sources. Kernels
    compile where no earlier process with the same sources has left any."""
    pytest.importorskip("skimage", reason="the demo's photographs: pip install 'viewmill[demo]'")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "clean")], check=True)
    python = tmp_path / "clean" / "bin" / "python"
    clean = next((tmp_path / "clean").glob("lib/python*/site-packages"))
    # A .pth line adds the folder but runs no .pth inside it, so the development install stays out of sight.
    (clean / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"])
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"

    def ran(*command: str) -> str:
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
        assert ended.returncode == 0, ended.stderr + ended.stdout
        return ended.stdout

    wheel = str(next(packages.glob("*.whl")))
    ran(str(python), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--force-reinstall", wheel)
    viewmill = str(python.parent / "viewmill")
    assert ran(str(python), "-c", "import viewmill; print(viewmill.__file__)").strip().startswith(str(clean))
    assert ran(viewmill, "--version").strip() == vm.__version__
    assert "train" in ran(viewmill, "--help")
    assert "simclr_cifar" in ran(viewmill, "list", "recipes") and "dinov2" in ran(viewmill, "list", "methods")
    said = ran(viewmill, "demo", "out=demo", "steps=3", "batch_size=32", "knn.every=0")
    assert "3 steps" in said and (tmp_path / "demo" / "views.png").stat().st_size > 10_000
    assert {"config.json", "metrics.jsonl", "report.html"} <= {path.name for path in (tmp_path / "demo").iterdir()}
