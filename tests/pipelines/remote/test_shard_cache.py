"""A bounded folder of whole objects that processes share."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from viewmill.pipelines.counters import Counters
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.remote.cache import ShardCache
from viewmill.pipelines.remote.fetch import Wanted
from viewmill.pipelines.remote.patience import Patience
from viewmill.pipelines.remote.store import Store
from viewmill.pipelines.remote.trouble import Closed

from .server import Fault, Server, serving

SOON = Patience(attempts=4, first_s=0.01, most_s=0.05, connect_s=2, timeout_s=5, slowest_bytes_per_s=1)
KILO = 1000


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        for number in range(10):
            made.objects[f"{number}.tar"] = np.random.default_rng(number).bytes(100 * KILO)
        yield made


class Kit:
    """A cache of some bytes and what is asked of it."""

    def __init__(self, server: Server, folder: Path, most: int) -> None:
        self.server, self.cache, self.counters = server, ShardCache(folder, most), Counters()
        self.store = Store("http", patience=SOON)

    def wanted(self, number: int) -> Wanted:
        body = self.server.objects[f"{number}.tar"]
        return Wanted(f"{self.server.url}/{number}.tar", len(body), sha256(body).hexdigest())

    def get(self, number: int, stop: Event | None = None) -> bytes:
        path, _ = self.cache.get(self.store, self.wanted(number), self.counters, stop or Event())
        return path.read_bytes()

    def there(self) -> list[int]:
        return [number for number in range(10) if self.cache.path_of(self.wanted(number)).exists()]


def test_an_object_is_fetched_once_and_found_again_by_others(server: Server, tmp_path: Path) -> None:
    kit, other = Kit(server, tmp_path / "c", 10**6), Kit(server, tmp_path / "c", 10**6)
    assert kit.cache.find(kit.wanted(3)) is None
    assert kit.get(3) == other.get(3) == server.objects["3.tar"] and len(server.requests) == 1
    assert other.cache.find(other.wanted(3)) == kit.cache.path_of(kit.wanted(3))
    assert kit.cache.held_bytes() == 100 * KILO


def test_the_least_recently_used_goes_first(server: Server, tmp_path: Path) -> None:
    kit = Kit(server, tmp_path / "c", 350 * KILO)
    for number in (0, 1, 2):
        kit.get(number)
        time.sleep(0.01)
    kit.get(0)  # used again, so that 1 is the oldest
    time.sleep(0.01)
    kit.get(3)
    assert kit.there() == [0, 2, 3] and kit.counters.get("evicted") == 1
    kit.get(4)
    assert kit.there() == [0, 3, 4] and kit.cache.held_bytes() == 300 * KILO


def test_what_a_stream_is_through_with_goes_before_that(server: Server, tmp_path: Path) -> None:
    kit = Kit(server, tmp_path / "c", 350 * KILO)
    for number in (0, 1, 2):
        kit.get(number)
        time.sleep(0.01)
    kit.cache.leave(kit.cache.path_of(kit.wanted(2)))
    kit.get(3)
    assert kit.there() == [0, 1, 3]
    kit.cache.leave(kit.cache.path_of(kit.wanted(0)))
    kit.get(0)  # somebody else needs it
    time.sleep(0.01)
    kit.get(4)
    assert kit.there() == [0, 3, 4]


def test_the_bound_holds_at_every_moment_with_many_threads_and_two_caches(server: Server, tmp_path: Path) -> None:
    for number in range(10):
        server.always[f"{number}.tar"] = Fault(chunk=20 * KILO, slow_s=0.002)
    kits = [Kit(server, tmp_path / "c", 400 * KILO) for _ in range(2)]
    wrong: list[int] = []

    def use(kit: Kit, seed: int) -> None:
        for number in np.random.default_rng(seed).integers(0, 10, 12).tolist():
            path, _ = kit.cache.get(kit.store, kit.wanted(number), kit.counters, Event())
            with suppress(FileNotFoundError):  # another one's need was newer: whoever finds that asks again
                wrong.extend([number] * (path.read_bytes() != server.objects[f"{number}.tar"]))

    threads = [threading.Thread(target=use, args=(kit, seed)) for seed, kit in enumerate(kits * 3)]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, kits[0].cache.held_bytes())
    assert not wrong and 300 * KILO <= most <= 400 * KILO


def test_files_of_others_are_neither_counted_nor_removed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.tar").write_bytes(bytes(10**6))
    kit = Kit(server, tmp_path / "c", 150 * KILO)
    kit.get(0)
    kit.get(1)
    assert kit.there() == [1] and (tmp_path / "c" / "thesis.tar").stat().st_size == 10**6


def test_another_content_takes_another_place(server: Server, tmp_path: Path) -> None:
    kit = Kit(server, tmp_path / "c", 10**6)
    kit.get(0)
    server.objects["0.tar"] = b"new" * 1000
    assert kit.cache.find(kit.wanted(0)) is None and kit.get(0) == b"new" * 1000


def test_what_is_larger_than_the_cache_is_refused(server: Server, tmp_path: Path) -> None:
    kit = Kit(server, tmp_path / "c", 99_999)
    with pytest.raises(DataError, match=r"0\.tar: has 100000 bytes, and the cache .* may hold 99999 in all: allow more"):
        kit.get(0)


def test_the_way_out_where_the_folder_cannot_be_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot hold remote shards .*: give another cache folder"):
        ShardCache(tmp_path / "file" / "c")
    kit = Kit(server, tmp_path / "c", 10**6)
    os.rmdir(tmp_path / "c")
    (tmp_path / "c").write_bytes(b"")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'c'}: cannot be written (Not a directory): make room")):
        kit.get(0)


def test_what_a_killed_process_left_is_room_for_others(server: Server, tmp_path: Path) -> None:
    server.objects["0.tar"] = bytes(3000 * KILO)
    server.faults["0.tar"] = [Fault(after=2000 * KILO, then="stall")]
    code = ("import sys\nfrom pathlib import Path\nfrom threading import Event\n"
            "from viewmill.pipelines.remote.cache import ShardCache\nfrom viewmill.pipelines.remote.fetch import Wanted\n"
            "from viewmill.pipelines.remote.store import Store\nfrom viewmill.pipelines.counters import Counters\n"
            "ShardCache(sys.argv[1], 3350000).get(Store('http'), Wanted(sys.argv[2], 3000000), Counters(), Event())\n")
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "c"), f"{server.url}/0.tar"])
    kit = Kit(server, tmp_path / "c", 3350 * KILO)
    begun = time.monotonic()
    while not any(path.stat().st_size for path in (tmp_path / "c").glob("*.partial")):
        assert time.monotonic() - begun < 60 and child.poll() is None
        time.sleep(0.02)
    assert kit.cache.held_bytes() == 3000 * KILO, "the room that the transfer will take is taken"
    child.kill()
    child.wait()
    for number in (1, 2, 3, 4):
        kit.get(number)
    assert kit.there() == [1, 2, 3, 4] and kit.cache.held_bytes() == 400 * KILO
    assert not list((tmp_path / "c").glob("*.partial"))


def test_a_transfer_under_way_keeps_its_room_and_others_wait_for_it(server: Server, tmp_path: Path) -> None:
    server.always["0.tar"] = Fault(chunk=20 * KILO, slow_s=0.1)
    kit = Kit(server, tmp_path / "c", 150 * KILO)
    first = threading.Thread(target=kit.get, args=(0,))
    first.start()
    while not server.sent["0.tar"]:
        time.sleep(0.01)
    stop = Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Closed):
        kit.get(1, stop)
    assert kit.get(1) == server.objects["1.tar"] and kit.there() == [1]
    first.join()


def test_a_cache_pickles_as_its_folder_and_bound(tmp_path: Path) -> None:
    again = pickle.loads(pickle.dumps(ShardCache(tmp_path, 5000)))
    assert (again.folder, again.most_bytes) == (tmp_path, 5000)
