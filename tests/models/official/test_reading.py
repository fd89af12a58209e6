"""Files with more in them than weights: the weights are read, of the rest nothing is made."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from viewmill.models.official import read_published


class Trap:
    """Leaves a folder behind when it is made."""

    def __init__(self, make: Callable[..., object], *given: str) -> None:
        self.made = make, given

    def __reduce__(self) -> tuple[object, ...]:
        return self.made


def test_weights_beside_objects_of_classes(tmp_path: Path) -> None:
    weights = {"a": torch.arange(6.0).reshape(2, 3)}
    state = {"model": weights, "args": argparse.Namespace(lr=0.1, names=["x"]), "best": np.float64(0.5), "epoch": 3,
             "out": tmp_path, "trap": Trap(tempfile.mkdtemp, "", "made", str(tmp_path))}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(Exception, match=r"argparse\.Namespace"):  # what the file asks torch for
        torch.load(tmp_path / "w.pth", weights_only=True)
    found = read_published(tmp_path / "w.pth")
    assert torch.equal(found["model"]["a"], weights["a"]) and found["epoch"] == 3
    assert not isinstance(found["args"], argparse.Namespace)
    torch.save({"model": weights, "trap": Trap(os.mkdir, str(tmp_path / "made"))}, tmp_path / "v.pth")
    with pytest.raises(ValueError, match=r"v\.pth cannot be read as weights \(UnpicklingError: Trying to load unsupported"):
        read_published(tmp_path / "v.pth")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.pth", "w.pth"]


def test_files_of_before_torch_1_6(tmp_path: Path) -> None:
    state = {"model": {"a": torch.arange(6.0)}, "args": argparse.Namespace(lr=0.1)}
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_published(tmp_path / "w.pth")["model"]["a"], torch.arange(6.0))


def test_what_holds_no_state_dict_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    assert set(read_published(tmp_path / "w.safetensors")) == {"a"}
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pth")
    with pytest.raises(ValueError, match=r"whole\.pth holds a whole object, no state dict"):
        read_published(tmp_path / "whole.pth")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth holds a list, no state dict"):
        read_published(tmp_path / "list.pth")
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"page\.pth cannot be read as weights") as raised:
        read_published(tmp_path / "page.pth")
    assert "\n" not in str(raised.value)
