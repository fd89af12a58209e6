"""The package as its users meet it: imports, rooms, the wheel, the README."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import viewmill as vm

ROOT = Path(vm.__file__).resolve().parent
ROOMS = ("augment", "losses", "pipelines", "models", "evaluation")
ABOVE = {"augment": 0, "losses": 0, "pipelines": 1, "models": 1, "evaluation": 2, "train": 3, "cli": 4}
"""Who may import whom: a room imports those below it, and itself."""

ONLY_IN = {
    "nvidia": ("pipelines/engines/dali/library.py",),
    "kornia": ("pipelines/bench/peers/kornia.py",),
    "albumentations": ("pipelines/bench/peers/albumentations.py",),
    "cv2": ("pipelines/bench/peers/albumentations.py",),
    "lightly": ("pipelines/bench/peers/lightly.py", "pipelines/bench/plug_in/trainers/lightly.py"),
    "webdataset": ("pipelines/pack/sources/remote.py", "pipelines/bench/peers/webdataset.py"),
    "datasets": ("pipelines/sources/datasets/huggingface.py", "pipelines/bench/plug_in/trainers/transformers.py"),
    "streaming": ("pipelines/sources/datasets/mosaic.py",),
    "fsspec": ("pipelines/remote/store.py", "pipelines/remote/http.py"),
    "aiohttp": ("pipelines/remote/http.py",),
    "ray": ("pipelines/workers.py",),
    "pycocotools": ("evaluation/dense/masks.py", "evaluation/dense/coco_ap.py"),
    "pyarrow": ("pipelines/pack/sources/parquet.py", "evaluation/ablate/writing.py"),
    # In evaluation: a network's layers by depth, and mixup.
    "timm": ("models/backbone.py", "models/vit.py", "models/swin.py", "models/rank_norm.py", "models/masked_transformer.py",
             "models/relative_vit.py",
             "models/pixel_transformer.py", "models/training/optimizer.py", "evaluation/finetune/pieces.py",
             "models/exports/timm_layout.py", "models/official/networks.py", "pipelines/bench/plug_in/trainers/timm.py"),
    "transformers": ("models/exports/transformers_layout.py", "pipelines/adapters/transformers.py",
                     "pipelines/bench/plug_in/trainers/transformers.py"),
}


def files() -> list[Path]:
    found = [p for room in ROOMS for p in (ROOT / room).rglob("*.py")]
    return [*found, ROOT / "train.py", ROOT / "cli.py"]


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, as dotted names from the top: viewmill.augment.recipe, torch.nn."""
    package = ["viewmill", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*base, *([node.module] if node.module else [])])


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "viewmill" and len(parts) > 1 and parts[1] in ABOVE else None


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_what_lies_below_it(path: Path) -> None:
    here = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module in imports(path):
        there = room_of(module)
        if there is not None and there != here:
            assert ABOVE[there] < ABOVE[here], f"{here} imports {module}"
        top = module.split(".")[0]
        assert top not in ROOMS, f"import {module} would make a second copy of the room"
        if top in ONLY_IN:
            assert str(path.relative_to(ROOT)) in ONLY_IN[top], f"{top} belongs in {ONLY_IN[top]}"


def test_engines_losses_and_methods_import_no_sibling() -> None:
    for folder, shared in (("losses", {"__init__"}), ("pipelines/engines", {"__init__"})):
        siblings = {p.stem for p in (ROOT / folder).glob("*.py")} | {p.name for p in (ROOT / folder).iterdir() if p.is_dir()}
        for path in (ROOT / folder).rglob("*.py"):
            own = path.relative_to(ROOT / folder).parts[0].removesuffix(".py")
            if own in shared:
                continue
            for module in imports(path):
                if module.startswith(f"viewmill.{folder.replace('/', '.')}."):
                    sibling = module.split(".")[1 + len(folder.split("/"))]
                    assert sibling == own or sibling not in siblings, f"{path} imports {module}"


def test_the_public_face_is_there_and_light() -> None:
    assert all(hasattr(vm, name) for name in vm.__all__) and set(vm.__all__) <= set(dir(vm))
    with pytest.raises(AttributeError, match="no attribute 'loader'"):
        _ = vm.loader
    code = "import sys, viewmill; sys.exit(any(m in sys.modules for m in ('torch', 'numba', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT.parent)}).returncode == 0


def test_no_file_outgrows_one_sitting() -> None:
    assert [p for p in files() if len(p.read_text().splitlines()) > 400] == []


def test_the_wheel_imports_every_room_in_a_clean_environment(tmp_path: Path) -> None:
    """Built, installed without its dependencies into a new environment that borrows them, and imported away from here."""
    repository = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=repository, check=True,
                   capture_output=True)
    wheel = next(tmp_path.glob("viewmill-*.whl"))
    inside = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[1] for name in inside if name.startswith("viewmill/") and name.count("/") > 1} == set(ROOMS)
    assert {"viewmill/evaluation/report/page.css", "viewmill/evaluation/report/page.js"} <= set(inside)
    assert "viewmill/py.typed" in inside and not any("test" in name for name in inside)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "clean")], check=True)
    clean = next((tmp_path / "clean").glob("lib/python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(clean)
    # A .pth line adds the folder but runs no .pth inside it, so the development install stays out of sight.
    (clean / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"])
    paths = [name.removesuffix(".py").removesuffix("/__init__") for name in inside if name.endswith(".py")]
    # A peer's file needs that peer, which need not be installed; the registry around them does not.
    modules = sorted(path.replace("/", ".") for path in paths if "/bench/peers/" not in path and "/trainers/" not in path)
    code = f"import importlib, viewmill; [importlib.import_module(m) for m in {modules}]; print(viewmill.__file__)"
    ran = subprocess.run([tmp_path / "clean" / "bin" / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True,
                         env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
    assert ran.returncode == 0, ran.stderr
    assert str(clean) in ran.stdout
