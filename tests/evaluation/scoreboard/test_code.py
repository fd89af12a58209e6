"""The hash of the code behind a figure: it follows what is used, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from viewmill.evaluation.scoreboard import code
from viewmill.evaluation.scoreboard.code import code_of, reached

FILES = {
    "models/__init__.py": "",
    "models/net.py": '''
"""A network."""
import torch
from ..losses import loss as measured
from . import parts
from .heads import mlp

WIDTH = 3

class Net:
    """Its docstring."""
    def step(self, x: "Unused") -> int:
        from .late import late
        return measured(mlp(WIDTH)) + parts.gain(x) + late() + self.other()

def nobody():
    return elsewhere()
''',
    "models/heads.py": "def mlp(n):\n    return _inner(n)\n\ndef _inner(n):\n    return n\n\ndef projector(n):\n    return 9\n",
    "models/parts.py": "def gain(x):\n    return FACTOR * x\n\nFACTOR = 2\nSPARE = 1\n\nclass Unused:\n    pass\n",
    "models/late.py": "def late():\n    return 1\n\ntable = {}\ntable['late'] = late\n",
    "losses/__init__.py": "from .real import loss\n",
    "losses/real.py": "def loss(x):\n    return x\n",
    "pipelines/__init__.py": "",
}
ROOTS = [("models.net", "Net")]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes the package, with some text replaced in one file, and gives the hash of Net."""
    monkeypatch.setattr(code, "ROOT", tmp_path)

    def written(path: str = "", old: str = "", new: str = "") -> str:
        for name, text in FILES.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            assert name != path or old in text
            (tmp_path / name).write_text(text.replace(old, new) if name == path else text)
        code._read.cache_clear()
        return code_of(ROOTS)

    yield written
    code._read.cache_clear()


def test_what_is_used_however_far_is_reached(package: Callable[..., str]) -> None:
    package()
    assert reached(ROOTS) == {
        ("models.net", "Net"), ("models.net", "WIDTH"), ("models.heads", "mlp"), ("models.heads", "_inner"),
        ("models.parts", "gain"), ("models.parts", "FACTOR"), ("models.late", "late"), ("models.late", ""),
        ("models.late", "table"), ("losses.real", "loss")}


@pytest.mark.parametrize(("path", "old", "new"), [
    ("models/net.py", "WIDTH = 3", "WIDTH = 4"),
    ("models/net.py", "late() + self", "late() - self"),
    ("models/heads.py", "return n\n\ndef projector", "return n + 1\n\ndef projector"),
    ("models/parts.py", "FACTOR = 2", "FACTOR = 2.5"),
    ("models/late.py", "return 1", "return 2"),
    ("models/late.py", "table['late']", "table['early']"),
    ("losses/real.py", "return x", "return -x"),
])
def test_a_change_of_what_is_used_changes_it(package: Callable[..., str], path: str, old: str, new: str) -> None:
    assert package(path, old, new) != package()


@pytest.mark.parametrize(("path", "old", "new"), [
    ("models/net.py", '"""Its docstring."""', '"""Another."""'),
    ("models/net.py", "WIDTH = 3", "# why\nWIDTH = (3)"),
    ("models/net.py", 'x: "Unused"', "x"),
    ("models/net.py", "return elsewhere()", "return 0"),
    ("models/heads.py", "return 9", "return 10"),
    ("models/parts.py", "SPARE = 1", "SPARE = 2"),
])
def test_a_change_of_anything_else_does_not(package: Callable[..., str], path: str, old: str, new: str) -> None:
    assert package(path, old, new) == package()


def test_what_is_not_there_is_refused(package: Callable[..., str]) -> None:
    package()
    with pytest.raises(ValueError, match=r"there is no Nett in models\.net"):
        code_of([("models.net", "Nett")])


def test_of_this_package_a_method_reaches_its_loss_and_no_other_method() -> None:
    found = {f"{module}.{name}" for module, name in reached([("models.simclr", "SimCLR"), ("models.training.step", "learn")])}
    assert {"losses.info_nce.nt_xent", "models.heads.simclr_projector", "models.distributed.gather",
            "models.training.optimizer.clip"} <= found
    assert not any(name.startswith(("models.mae", "losses.mae", "pipelines", "augment.presets")) for name in found)
