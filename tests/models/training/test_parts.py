"""A folder of parts comes back to the bit, on other numbers of ranks too; what is damaged, missing or hostile is refused."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import BytesStorageMetadata
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from viewmill.models.distributed import rank, world_size
from viewmill.models.training import checkpoint, parts
from viewmill.models.training.staging import copied

from ...world import World

WEIGHT = torch.arange(35.0).reshape(7, 5)  # 7 rows: no number of ranks divides them, and some ranks of 4 have 1, some 2
ROWS = torch.arange(22.0).reshape(11, 2)


def state(step: int = 3) -> dict[str, Any]:
    """Of a rank: a tensor in pieces, one that all hold, numbers and words, and every so-manieth row."""
    mesh = init_device_mesh("cpu", (world_size(),)) if dist.is_initialized() else None
    weight = WEIGHT.clone() if mesh is None else distribute_tensor(WEIGHT.clone(), mesh, [Shard(0)])
    thin = torch.tensor([[2.5]])  # most ranks have nothing of it
    thin = thin if mesh is None else distribute_tensor(thin, mesh, [Shard(0)])
    of = {"model": {"a.weight": weight, "thin": thin, "count": torch.tensor(rank())},
          "optimizer": {"state": {0: {"exp_avg": weight * 2, "step": torch.tensor(4.0)}},
                        "param_groups": [{"lr": 0.1, "params": [0]}]},
          "random": [torch.arange(3)], "method": "simclr", "step": step}
    return copied(of, whole=rank() == 0) | {"rows": {"bank": ROWS[rank() :: world_size()].clone()}, "parameters": ["a.weight"]}


def write(folder: str, step: int = 3, keep: int = 2) -> str:
    return str(checkpoint.save_parts(Path(folder), state(step), keep, dist.group.WORLD if dist.is_initialized() else None))


def read_as_pieces(path: str) -> list[Any]:
    """What a rank of another number holds afterwards: the weight's and the moment's rows."""
    mesh = init_device_mesh("cpu", (world_size(),))
    shared = distribute_tensor(torch.zeros(7, 5), mesh, [Shard(0)])

    def like(name: str, size: torch.Size) -> torch.Tensor | None:
        return torch.empty_like(shared) if size == shared.shape else None

    read = checkpoint.load(Path(path), like)
    weight, moment = read["model"]["a.weight"], read["optimizer"]["state"][0]["exp_avg"]
    assert isinstance(weight, DTensor) and isinstance(moment, DTensor) and read["model"]["thin"].tolist() == [[2.5]]
    return [weight.to_local(), moment.to_local()]


def assert_whole(read: dict[str, Any]) -> None:
    assert torch.equal(read["model"]["a.weight"], WEIGHT) and read["model"]["thin"].tolist() == [[2.5]]
    assert torch.equal(read["optimizer"]["state"][0]["exp_avg"], WEIGHT * 2)
    assert read["optimizer"]["state"][0]["step"] == 4 and read["optimizer"]["param_groups"] == [{"lr": 0.1, "params": [0]}]
    assert read["model"]["count"] == 0  # of what all have, rank 0's
    assert torch.equal(read["rows"]["bank"], ROWS) and read["method"] == "simclr" and read["random"][0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_what_ranks_wrote_one_process_and_other_numbers_of_ranks_read(world: World, tmp_path: Path, ranks: int) -> None:
    paths = world(ranks, write, str(tmp_path))
    path = tmp_path / "step-00000003.parts"
    assert paths == [str(path)] * ranks
    files = {each.name for each in path.iterdir()}
    own = {f"__{number}_0.distcp" for number in range(ranks)}
    assert files == own | {".metadata", "facts.pt", "manifest.json"}
    assert json.loads((path / "manifest.json").read_text())["ranks"] == ranks
    assert_whole(checkpoint.load(path))
    for others in {1, 2, 3} - {ranks}:
        pieces = world(others, read_as_pieces, str(path))
        assert torch.equal(torch.cat([weight for weight, _ in pieces]), WEIGHT)
        assert torch.equal(torch.cat([moment for _, moment in pieces]), WEIGHT * 2)


def test_one_process_writes_parts_too_and_both_forms_are_told_apart_and_kept_alike(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for step in (1, 2):
        write(str(folder), step)
    checkpoint.save(folder, {"method": "simclr", "step": 3, "model": {"a.weight": WEIGHT}}, keep=2)
    assert [path.name for path in checkpoint.written(folder)] == ["step-00000002.parts", "step-00000003.pt"]
    write(str(folder), 3)
    assert sorted(path.name for path in folder.iterdir()) == ["last", "step-00000002.parts", "step-00000003.parts"]
    for place in (tmp_path, folder, folder / "step-00000003.parts"):
        found = checkpoint.at(place)
        assert found is not None and found[0].name == "step-00000003.parts"
        assert_whole(found[1])


def broken(path: Path, name: str, how: Callable[[bytes], bytes | None]) -> None:
    content = how((path / name).read_bytes())
    (path / name).unlink()
    if content is not None:
        (path / name).write_bytes(content)


@pytest.mark.parametrize(("name", "how", "reason"), [
    ("manifest.json", lambda old: None, "manifest.json is missing: it was not written to its end"),
    ("manifest.json", lambda old: old[:-30], "manifest.json is not readable"),
    ("manifest.json", lambda old: old.replace(b"facts.pt", b"../facts"), "manifest.json names other files"),
    ("__0_0.distcp", lambda old: None, "__0_0.distcp is missing"),
    ("__0_0.distcp", lambda old: old[:-1], "__0_0.distcp is cut off"),
    ("__0_0.distcp", lambda old: old[:300] + bytes([old[300] ^ 1]) + old[301:], "the checksum of __0_0.distcp does not match"),
    ("facts.pt", lambda old: old[:300] + bytes([old[300] ^ 1]) + old[301:], "the checksum of facts.pt does not match"),
    (".metadata", lambda old: b"of another program", ".metadata is cut off"),
])
def test_a_damaged_newest_is_passed_over_with_its_reason(
        tmp_path: Path, name: str, how: Callable[[bytes], bytes | None], reason: str) -> None:
    for step in (1, 2):
        write(str(tmp_path / "checkpoints"), step)
    broken(tmp_path / "checkpoints" / "step-00000002.parts", name, how)
    said: list[str] = []
    found = checkpoint.find(tmp_path, "auto", said.append)
    assert found is not None and found[1]["step"] == 1
    (line,) = said
    assert f"step-00000002.parts is not a whole checkpoint of viewmill ({reason}" in line
    assert line.endswith("the last good one, step-00000001.parts, is used")


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def resealed(path: Path, name: str, content: bytes) -> None:
    """Another file, with a manifest that agrees."""
    (path / name).write_bytes(content)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][name] = parts._sum(path / name)
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", [".metadata", "facts.pt"])
def test_a_file_that_would_run_code_is_refused_even_with_its_checksum(tmp_path: Path, name: str) -> None:
    path, mark = Path(write(str(tmp_path))), tmp_path / "it ran"
    hostile = pickle.dumps(Hostile(mark))
    pickle.loads(hostile)  # it would
    mark.rmdir()
    resealed(path, name, hostile)
    with pytest.raises(ValueError, match="is not a whole checkpoint of viewmill") as caught:
        checkpoint.load(path)
    assert not mark.exists() and "\n" not in str(caught.value)
    if name == ".metadata":
        assert ".metadata asks for posix.mkdir, which is none of its business" in str(caught.value)


@pytest.mark.parametrize(("change", "reason"), [
    (lambda about: about.state_dict_metadata.update(code=BytesStorageMetadata()), "asks for .*BytesStorageMetadata"),
    (lambda about: [setattr(info, "relative_path", "../elsewhere") for info in about.storage_data.values()],
     "points at ../elsewhere, which manifest.json does not know"),
])
def test_metadata_that_would_unpickle_more_or_read_elsewhere_are_refused(
        tmp_path: Path, change: Callable[[Any], Any], reason: str) -> None:
    path = Path(write(str(tmp_path)))
    about = FileSystemReader(path).read_metadata()
    change(about)
    resealed(path, ".metadata", pickle.dumps(about))
    with pytest.raises(ValueError, match=reason):
        checkpoint.load(path)


def full_on_the_last(folder: str) -> str:
    from torch.distributed.checkpoint.filesystem import FileSystemWriter

    def full(*args: Any) -> None:
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected pos") from None  # as torch has it

    write(folder, 1)
    held = FileSystemWriter.write_data
    if rank() == world_size() - 1:
        FileSystemWriter.write_data = full  # type: ignore[method-assign,assignment]
    try:
        write(folder, 2)
    except OSError as error:
        return f"{error.strerror}: {sorted(path.name for path in Path(folder).iterdir())}" if rank() == 0 else str(error.strerror)
    finally:
        FileSystemWriter.write_data = held  # type: ignore[method-assign]
    return "written"


def test_a_disk_that_is_full_for_one_rank_is_told_on_all_and_leaves_nothing_half_written(world: World, tmp_path: Path) -> None:
    assert world(2, full_on_the_last, str(tmp_path)) == [
        "No space left on device: ['last', 'step-00000001.parts']", "No space left on device"]
