"""Weights from files of other programs: what is read, what stays unread, and that nothing in them is run."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from viewmill.models.weight_files import groups, read_weights

from .clip import clip_weights, save_archive

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")


def test_a_state_dict_and_a_safetensors_file_come_as_they_are(tmp_path: Path) -> None:
    weights = {"a.weight": torch.randn(2, 3), "n": torch.arange(4)}
    torch.save({"epoch": 3, "model": weights}, tmp_path / "w.pt")
    save_file(weights, tmp_path / "w.safetensors")
    found = read_weights(tmp_path / "w.pt")
    assert found["epoch"] == 3 and all(torch.equal(found["model"][name], value) for name, value in weights.items())
    assert all(torch.equal(read_weights(tmp_path / "w.safetensors")[name], value) for name, value in weights.items())


def test_an_archives_tensors_come_by_their_dotted_names(tmp_path: Path) -> None:
    weights = {name: value.half() if value.is_floating_point() else value for name, value in clip_weights().items()}
    save_archive(weights, tmp_path / "clip.pt")
    found, torchs = read_weights(tmp_path / "clip.pt"), torch.jit.load(str(tmp_path / "clip.pt")).state_dict()
    assert found.keys() == torchs.keys() == weights.keys()
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in weights.items())


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        whole = torch.arange(24.0).reshape(4, 6)
        self.turned = nn.Parameter(whole.T)
        self.part = nn.Parameter(whole[1:3, 2:5])
        self.register_buffer("empty", torch.zeros(0, 3))
        self.register_buffer("flag", torch.tensor(True))
        self.sizes, self.scale, self.word = [1, 2], 0.5, "word"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + float(len(self.sizes))


def test_views_of_one_storage_empty_ones_and_plain_attributes(tmp_path: Path) -> None:
    torch.jit.script(Odd()).save(str(tmp_path / "odd.pt"))
    found, expected = read_weights(tmp_path / "odd.pt"), Odd().state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def archive(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", data)
        file.writestr("x/constants.pkl", pickle.dumps((), 2))


def test_nothing_that_a_file_names_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    archive(tmp_path / "evil.pt", pickle.dumps({"a": Evil(mark)}, 2))
    read_weights(tmp_path / "evil.pt")
    torch.save({"a": Evil(mark)}, tmp_path / "pickled.pt")
    with pytest.raises(ValueError, match=r"pickled.pt cannot be read as weights .*; give a file that holds tensors"):
        read_weights(tmp_path / "pickled.pt")
    assert not mark.exists()
    pickle.loads(pickle.dumps(Evil(mark), 2))  # what the file would have done
    assert mark.exists()


def test_what_points_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    weights = {"a": torch.arange(4.0)}
    save_archive(weights, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as file:
        parts = {name: file.read(name) for name in file.namelist()}
    key = next(name for name in parts if "/data/" in name)
    with zipfile.ZipFile(tmp_path / "short.pt", "w") as file:
        for name, data in parts.items():
            file.writestr(name, data[:8] if name == key else data)
    with pytest.raises(ValueError, match=r"cannot be read as weights .*is cut off"):
        read_weights(tmp_path / "short.pt")


def test_modules_without_end_are_refused(tmp_path: Path) -> None:
    # A module that is its own child: class, new object, remembered, {"a": the same}.
    data = b"\x80\x02c__main__\nM\n)\x81q\x00}X\x01\x00\x00\x00ah\x00sb."
    archive(tmp_path / "round.pt", data)
    with pytest.raises(ValueError, match="nested more than 32 deep"):
        read_weights(tmp_path / "round.pt")


@pytest.mark.parametrize("content", [b"", b"--2022-01-01-- https://example.org", b"PK\x03\x04 cut off"])
def test_what_is_no_file_of_weights_is_said_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"w.pt cannot be read as weights") as caught:
        read_weights(tmp_path / "w.pt")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_other_contents_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        read_weights(tmp_path / "none.pt")
    buffer = io.BytesIO()
    torch.save([torch.zeros(2)], buffer)
    (tmp_path / "list.pt").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="holds a list, no state dict"):
        read_weights(tmp_path / "list.pt")


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
    found = read_weights(tmp_path / "w.pth")
    assert torch.equal(found["model"]["a"], weights["a"]) and found["epoch"] == 3
    assert not isinstance(found["args"], argparse.Namespace)
    torch.save({"model": weights, "trap": Trap(os.mkdir, str(tmp_path / "made"))}, tmp_path / "v.pth")
    with pytest.raises(ValueError, match=r"v\.pth cannot be read as weights \(UnpicklingError: Trying to load unsupported"):
        read_weights(tmp_path / "v.pth")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.pth", "w.pth"]


def test_files_of_before_torch_1_6(tmp_path: Path) -> None:
    state = {"model": {"a": torch.arange(6.0)}, "args": argparse.Namespace(lr=0.1)}
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_weights(tmp_path / "w.pth")["model"]["a"], torch.arange(6.0))


def test_what_holds_no_state_dict_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:50])
    with pytest.raises(ValueError, match=r"cut\.safetensors cannot be read as weights"):
        read_weights(tmp_path / "cut.safetensors")
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pth")
    with pytest.raises(ValueError, match=r"whole\.pth holds a whole object, no state dict"):
        read_weights(tmp_path / "whole.pth")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth holds a list, no state dict"):
        read_weights(tmp_path / "list.pth")
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"page\.pth cannot be read as weights") as raised:
        read_weights(tmp_path / "page.pth")
    assert "\n" not in str(raised.value)


def test_groups_of_tensors_the_preferred_first() -> None:
    one = torch.zeros(1)
    inside = {"teacher": {"b": one, "name": "x"}, "deep": {"deeper": {"c": one}}}
    state = {"student": {"a": one}, "epoch": 3, "inside": inside, "d": one}
    found = groups(state)
    assert list(found) == ["inside.teacher", "student", ""]
    assert [list(group) for group in found.values()] == [["b"], ["a"], ["d"]]
