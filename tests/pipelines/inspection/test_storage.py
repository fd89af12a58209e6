"""A check reads through its storage alone, so that shards may lie elsewhere."""

from __future__ import annotations

import pickle
from pathlib import Path

from viewmill.pipelines.faults import DataError
from viewmill.pipelines.inspection.settings import Settings
from viewmill.pipelines.inspection.shard import Shard
from viewmill.pipelines.inspection.storage import Disk
from viewmill.pipelines.inspection.work import decode_some, examine
from viewmill.pipelines.tar import Member

HOST = "https://host/shards"


class Elsewhere(Disk):
    """A folder under another name; a broken place of it cannot be read."""

    def __init__(self, folder: Path, broken: range = range(0)) -> None:
        super().__init__()
        self.folder, self.broken = folder, broken

    def _here(self, name: str) -> str:
        return name.replace(HOST, str(self.folder))

    def length(self, name: str) -> int:
        return super().length(self._here(name))

    def read(self, name: str, offset: int, size: int) -> bytes:
        if offset in self.broken:
            raise OSError(5, "Input/output error")
        return super().read(self._here(name), offset, size)

    def sha256(self, name: str) -> str:
        return super().sha256(self._here(name))

    def members(self, name: str) -> tuple[list[Member], DataError | None]:
        return super().members(self._here(name))


def test_shards_of_another_place(packed: Path) -> None:
    found, _ = examine(Elsewhere(packed), Shard(f"{HOST}/s-0.tar"), Settings(decode=-1), {})
    assert (found.images, found.checked, found.decoded, found.findings) == (5, 5, 5, [])


def test_what_cannot_be_read_is_told_of_each_image(packed: Path) -> None:
    storage = Elsewhere(packed, range(512, 513))  # where the first image begins
    found, _ = examine(storage, Shard(f"{HOST}/s-0.tar"), Settings(), {})
    (finding,) = found.findings
    assert (finding.kind, finding.shard, finding.where, finding.reason, finding.offset) == (
        "image", f"{HOST}/s-0.tar", "s-0.tar: 00000.jpg", "cannot be read (Input/output error)", 512)
    assert [row for row, bad in decode_some(storage, Shard(f"{HOST}/s-0.tar"), [0, 3]) if bad] == [0]


def test_the_disk_goes_to_workers(packed: Path) -> None:
    disk = pickle.loads(pickle.dumps(Disk()))
    assert disk.length(str(packed / "no.tar")) == -1 == disk.length(f"{packed}/s-0.tar/no")
    assert disk.read(str(packed / "s-0.tar"), 0, 9) == b"00000.jpg"
