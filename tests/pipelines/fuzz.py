"""Mutated shards: a program that damages real shards in every way that a disk, a network or a bad writer does, and reads them.

    python tests/pipelines/fuzz.py FOLDER FIRST COUNT     seeds FIRST .. FIRST + COUNT - 1; prints what came of them, as JSON

It is run as a process of its own, so that a crash or a hang is seen as such; FOLDER/seed has the seed at work. Each mutation is
opened twice: without an index, and with a packer's index and checksums beside it where its length is still the same.
"""

from __future__ import annotations

import json
import os
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

BLOCK = 512
LOADER_EVERY = 20


def write_real_shard(path: Path) -> None:
    """Samples 00000, 00001, ...: every kind of file that data sets have, photographs, labels, JSON; names of all three kinds."""
    from viewmill.pipelines.specimens import encode, field, files, photographs

    images = [*files().items(), ("jpeg-photograph", photographs(1, (60, 80))[0])]
    images += [(f"png-{i}", encode(field(20 + i, 30, salt=i), "PNG")) for i in range(2)]
    images += [(f"jpeg-small-{i}", encode(field(16, 24, salt=i), quality=80)) for i in range(4)]
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as gnu:
        for number, (kind, data) in enumerate(images):
            folder = "a-long-folder/" * 9 if number == 3 else ""
            members = [(kind.partition("-")[0].replace("jpeg", "jpg"), data), ("cls", b"%d" % (number % 5))]
            if number % 3 == 0:
                members.append(("json", json.dumps({"label": number, "caption": "c" * 40}).encode()))
            for extension, content in members:
                info = tarfile.TarInfo(f"{folder}{number:05d}.{extension}")
                info.size, info.mtime = len(content), 1_700_000_000
                layout = tarfile.PAX_FORMAT if number % 4 == 1 else tarfile.GNU_FORMAT
                if layout == tarfile.PAX_FORMAT:
                    info.pax_headers = {"comment": "x" * 20}
                gnu.fileobj.write(info.tobuf(layout))  # type: ignore[union-attr]
                gnu.fileobj.write(content + bytes(-len(content) % BLOCK))  # type: ignore[union-attr]
                gnu.offset += BLOCK + len(content) + -len(content) % BLOCK


def headers(data: bytes) -> list[int]:
    """Where a sound shard's headers begin: the blocks that have ustar's magic at its place."""
    return [at for at in range(0, len(data) - BLOCK, BLOCK) if data[at + 257:at + 262] == b"ustar"]


def _place(data: bytearray, rng: np.random.Generator) -> int:
    """Any byte; in a fifth of all cases one of a header, which are few."""
    found = headers(bytes(data))
    if rng.random() < 0.2 and found:
        return int(rng.choice(found)) + int(rng.integers(BLOCK))
    return int(rng.integers(len(data)))


def flip_bits(data: bytearray, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(1, 9)):
        data[_place(data, rng)] ^= 1 << int(rng.integers(8))


def zero_a_run(data: bytearray, rng: np.random.Generator) -> None:
    at = _place(data, rng) // BLOCK * BLOCK if rng.random() < 0.5 else _place(data, rng)
    end = min(len(data), at + int(rng.choice([1, 16, 512, 1024, 4096])))
    data[at:end] = bytes(end - at)


def randomise_a_run(data: bytearray, rng: np.random.Generator) -> None:
    at = _place(data, rng)
    end = min(len(data), at + int(rng.choice([1, 16, 512, 4096])))
    data[at:end] = rng.bytes(end - at)


def truncate(data: bytearray, rng: np.random.Generator) -> None:
    del data[_place(data, rng):]


def insert(data: bytearray, rng: np.random.Generator) -> None:
    at = _place(data, rng)
    at = at // BLOCK * BLOCK if rng.random() < 0.5 else at
    data[at:at] = rng.bytes(int(rng.choice([1, 7, 512, 1024])))


def duplicate_blocks(data: bytearray, rng: np.random.Generator) -> None:
    count, blocks = int(rng.integers(1, 9)), len(data) // BLOCK
    at, to = (int(rng.integers(blocks - count)) * BLOCK for _ in range(2))
    data[to:to + count * BLOCK] = data[at:at + count * BLOCK]


def swap_blocks(data: bytearray, rng: np.random.Generator) -> None:
    one, other = (int(rng.integers(len(data) // BLOCK)) * BLOCK for _ in range(2))
    data[one:one + BLOCK], data[other:other + BLOCK] = data[other:other + BLOCK], data[one:one + BLOCK]


def _repair(data: bytearray, at: int) -> None:
    """The checksum of a header: the sum of its bytes, its own eight taken for blanks."""
    data[at + 148:at + 156] = b" " * 8
    data[at + 148:at + 156] = b"%06o\0 " % sum(data[at:at + BLOCK])


def edit_a_header(data: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.choice(headers(bytes(data))))
    for _ in range(rng.integers(1, 5)):
        byte = int(rng.choice([0, 0x20, 0x30, 0x37, 0x2F, 0x2D, 0x80, 0xFF, int(rng.integers(256))]))
        data[at + int(rng.integers(BLOCK))] = byte
    if rng.random() < 0.4:
        data[at + 156] = rng.choice(list(b"01234567LKxgSDVXNM\0"))
    _repair(data, at)


def edit_a_size(data: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.choice(headers(bytes(data))))
    size = int(data[at + 124:at + 135], 8)
    near = max(0, size + int(rng.choice([-1024, -512, -1, 1, 512, 1024])))
    choices = [b"%011o\0" % near, b"%011o\0" % (near % 512), b"-%010o\0" % int(rng.choice([1, 512, 513, 1536])), b"7" * 12,
               b"\xff" * 12, b"\x80" + rng.bytes(11), b"\x80" + bytes(3) + rng.bytes(8), bytes(12), b" " * 12, b"+0000000001\0"]
    data[at + 124:at + 136] = choices[int(rng.integers(len(choices)))]
    _repair(data, at)


MUTATIONS: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    flip_bits, zero_a_run, randomise_a_run, truncate, insert, duplicate_blocks, swap_blocks, edit_a_header, edit_a_size)


def mutated(whole: bytes, seed: int) -> tuple[str, bytes]:
    """One mutation of the seed's kind, and in a tenth of all cases a second one of any kind."""
    rng = np.random.default_rng(seed)
    data = bytearray(whole)
    mutate = MUTATIONS[seed % len(MUTATIONS)]
    mutate(data, rng)
    if rng.random() < 0.1 and len(headers(bytes(data))) > 0 and len(data) > 20 * BLOCK:
        flip_bits(data, rng)
    return mutate.__name__, bytes(data)


def belongs(data: bytes, name: str, offset: int, size: int) -> bool:
    """Whether a member of that name and size begins there: by the header right before it, read anew."""
    at = offset - BLOCK
    header = data[at:offset]
    if len(header) < BLOCK or sum(header) - sum(header[148:156]) + 256 != int(header[148:156].strip(b" \0"), 8):
        return False
    before = data[max(0, at - 8 * BLOCK):at]  # a long name, or records, and their own headers
    own = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and header[345]:
        own = header[345:500].partition(b"\0")[0] + b"/" + own
    return offset + size <= len(data) and (
        name == own.decode("utf-8", "backslashreplace") or name in before.decode("utf-8", "backslashreplace"))


def try_one(folder: Path, seed: int, whole: bytes, counts: dict[str, Counter[str]]) -> None:
    """Raises AssertionError for what must never be."""
    from viewmill.pipelines.faults import DataError
    from viewmill.pipelines.index_file import INDEX_SUFFIX
    from viewmill.pipelines.source import open_source

    kind, data = mutated(whole, seed)
    count = counts.setdefault(kind, Counter())
    count["mutations"] += 1
    plain, packed = folder / "plain.tar", folder / "packed.tar"
    for path in (plain, packed):
        path.write_bytes(data)
        os.utime(path, ns=(10**18 + seed, 10**18 + seed))  # two within one tick of the clock are two
    try:
        source = open_source(str(plain))
    except DataError as error:
        assert "\n" not in str(error) and str(plain) in str(error)
        count["refused"] += 1
    else:
        for index in range(len(source)):
            offset, size = source.extent(index)[1:]  # type: ignore[attr-defined]
            if (got := _read(source, index)) is None:
                count["bad"] += 1
                continue
            count["read"] += 1
            name = source.where(index).removeprefix("plain.tar: ")
            assert got == data[offset:offset + size] and belongs(data, name, offset, size), f"{name} is not its own"
        if seed % LOADER_EVERY == 0:
            _through_a_loader(str(plain), count)
    if len(data) != len(whole):
        return
    assert Path(f"{packed}{INDEX_SUFFIX}").exists()
    source = open_source(str(packed))
    for index in range(len(source)):
        offset, size = source.extent(index)[1:]  # type: ignore[attr-defined]
        changed = data[offset:offset + size] != whole[offset:offset + size]
        got = _read(source, index)
        count["changed"] += changed
        if got is None:
            assert changed, f"{source.where(index)} is whole and was refused"
            count["found"] += 1
        else:
            assert got == whole[offset:offset + size], f"{source.where(index)} has other bytes than were packed"
            count["exact"] += 1


def _read(source: object, index: int) -> bytes | None:
    """A sample's bytes if they make an image, which is decoded."""
    from viewmill.pipelines.decode import decode
    from viewmill.pipelines.faults import BadSample

    try:
        data = source.read(index)  # type: ignore[attr-defined]
        decode(data)
        source.label(index), source.key(index), source.size_hw(np.array([index]))  # type: ignore[attr-defined]
    except BadSample as reason:
        assert str(reason) and "\n" not in str(reason)
        return None
    return data


def _through_a_loader(path: str, count: Counter[str]) -> None:
    """A whole epoch; where all is damaged, the run stops in one line."""
    from viewmill import Loader, Recipe, View
    from viewmill.augment.ops import Crop

    recipe = Recipe(name="small", views=(View(group="global", count=1, size_px=8, ops=(Crop(size_px=8, scale=(0.3, 1.0)),)),))
    with Loader(path, recipe, 4, threads=1, sidecar=False, last="short", max_bad=1.0) as loader:
        try:
            batches = list(loader)
        except RuntimeError as error:
            assert "could not be used" in str(error) or "none of its stand-ins can be used" in str(error)
            return
        assert sum(len(batch) for batch in batches) == len(loader.source)
        assert sum(loader.stats()["substituted"].values()) == sum(int(batch.substitute.sum()) for batch in batches)
    count["epochs"] += 1


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(folder: Path, first: int, count: int) -> dict[str, object]:
    """counts by kind of mutation; resident: bytes after a fifth of them, and at the end."""
    from viewmill.pipelines.catalogue import seal_shard
    from viewmill.pipelines.engines.cpu.cache import kernels_folder

    kernels_folder()  # is kept from here on: kernels of the user's cache serve; indexes go to one of their own
    os.environ["VIEWMILL_CACHE_DIR"] = str(folder / "cache")

    original = folder / "packed.tar"
    write_real_shard(original)
    whole = original.read_bytes()
    seal_shard(original)
    counts: dict[str, Counter[str]] = {}
    resident = 0
    for seed in range(first, first + count):
        (folder / "seed").write_text(str(seed))
        try_one(folder, seed, whole, counts)
        if seed == first + count // 5:
            resident = resident_bytes()
    return {"counts": counts, "resident": [resident, resident_bytes()]}


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")  # Pillow's, of damaged files
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
