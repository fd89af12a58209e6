"""One object to one file, over a server that fails in every way that servers do."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from viewmill.pipelines.counters import Counters
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.remote.fetch import Wanted, fetch
from viewmill.pipelines.remote.patience import Patience
from viewmill.pipelines.remote.store import Store
from viewmill.pipelines.remote.trouble import Closed, Local

from .server import Fault, Server, serving

SOON = Patience(attempts=4, first_s=0.01, most_s=0.05, connect_s=2, timeout_s=0.5, slowest_bytes_per_s=1)
BODY = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(3_000_000)
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        made.objects["x.tar"] = BODY
        yield made


class Got:
    """What a fetch left behind."""

    def __init__(self, server: Server, folder: Path, size: int = len(BODY), sha256: str = SHA, patience: Patience = SOON) -> None:
        self.path, self.counters = folder / "x.tar", Counters()
        self.made = fetch(Store("http", patience=patience), Wanted(f"{server.url}/x.tar", size, sha256), self.path, self.counters)
        self.count = self.counters.snapshot()

    @property
    def bytes(self) -> bytes:
        assert [p.name for p in self.path.parent.iterdir()] == ["x.tar"], "nothing but the file itself is left"
        return self.path.read_bytes()


def test_a_whole_object_in_one_request(server: Server, tmp_path: Path) -> None:
    got = Got(server, tmp_path)
    assert got.made and got.bytes == BODY and server.asked("x.tar") == [(0, 3_000_000)]
    assert got.count == {"fetched_bytes": 3_000_000}
    assert not Got(server, tmp_path).made and len(server.requests) == 1


@pytest.mark.parametrize("then", ["reset", "close", "stall"])
def test_a_transfer_that_breaks_goes_on_from_its_last_byte(server: Server, tmp_path: Path, then: str) -> None:
    server.faults["x.tar"] = [Fault(after=1_000_000, then=then), Fault(after=500_000, then=then)]
    got = Got(server, tmp_path)
    assert got.bytes == BODY and got.count["retries"] == 2
    (first, second, third) = server.asked("x.tar")
    assert first == (0, 3_000_000) and 0 < second[0] <= 1_000_000 and second[0] < third[0] <= 1_500_000
    assert got.count["fetched_bytes"] == 3_000_000, "no byte twice"


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_a_server_in_trouble_is_asked_again(server: Server, tmp_path: Path, status: int) -> None:
    server.faults["x.tar"] = [Fault(status=status)] * 3
    got = Got(server, tmp_path)
    assert got.bytes == BODY and got.count["retries"] == 3


def test_a_server_that_asks_for_time_gets_it(server: Server, tmp_path: Path) -> None:
    patience = Patience(attempts=2, first_s=0.01, most_s=0.1, timeout_s=5)
    server.faults["x.tar"] = [Fault(status=503, headers={"Retry-After": "9999"})]
    waited: list[float] = []
    begun = time.monotonic()
    got = Got(server, tmp_path, patience=patience)
    waited.append(time.monotonic() - begun)
    assert got.bytes == BODY and waited[0] >= 0.4  # what was asked for, but not above four times most_s


@pytest.mark.parametrize(("status", "said"), [(404, "no such object"), (403, "access is refused"), (400, "status 400")])
def test_what_cannot_get_better_is_told_at_once(server: Server, tmp_path: Path, status: int, said: str) -> None:
    server.always["x.tar"] = Fault(status=status)
    with pytest.raises(DataError, match=rf"^http://.*/x\.tar: .*{said}.*: check the address, the permissions") as error:
        Got(server, tmp_path)
    assert len(server.requests) == 1 and "\n" not in str(error.value) and list(tmp_path.iterdir()) == []


def test_the_last_error_says_what_where_and_how_often(server: Server, tmp_path: Path) -> None:
    server.always["x.tar"] = Fault(status=500)
    with pytest.raises(DataError, match=r"/x\.tar: the server answers with status 500, the last of 4 tries in \d+ s: check"):
        Got(server, tmp_path)
    assert len(server.requests) == 4


def test_nobody_there(tmp_path: Path) -> None:
    with serving() as server:
        pass
    with pytest.raises(DataError, match=r"/x\.tar: .*onnect.*, the last of 4 tries in \d+ s"):
        Got(server, tmp_path)


def test_progress_pays_for_failures(server: Server, tmp_path: Path) -> None:
    """Twelve failures, but never four in a row without a mebibyte gained: a long transfer may break often."""
    server.objects["x.tar"] = body = BODY * 5
    server.always["x.tar"] = Fault(after=1_200_000)
    got = Got(server, tmp_path, len(body), hashlib.sha256(body).hexdigest())
    assert got.path.read_bytes() == body and got.count["retries"] == 12


def test_slow_bytes_are_asked_for_again(server: Server, tmp_path: Path) -> None:
    patience = Patience(attempts=3, first_s=0.01, most_s=0.05, timeout_s=0.3, slowest_bytes_per_s=1_000_000)
    server.faults["x.tar"] = [Fault(slow_s=0.05, chunk=1000)]
    got = Got(server, tmp_path, patience=patience)
    assert got.bytes == BODY and got.count["retries"] == 1 and server.asked("x.tar")[1][0] > 0


def test_a_server_without_ranges_sends_the_whole_again(server: Server, tmp_path: Path) -> None:
    server.always["x.tar"] = Fault(ranges=False)
    server.faults["x.tar"] = [Fault(ranges=False, after=2_000_000)]
    got = Got(server, tmp_path)
    assert got.bytes == BODY and got.count["retries"] == 1


@pytest.mark.parametrize("fault", [Fault(extra=b"more"), Fault(size=4_000_000)], ids=["longer body", "another size"])
def test_an_answer_of_the_wrong_length_is_not_taken(server: Server, tmp_path: Path, fault: Fault) -> None:
    server.faults["x.tar"] = [fault]
    got = Got(server, tmp_path)
    assert got.bytes == BODY and got.count["retries"] == 1


def test_a_range_that_begins_elsewhere_is_not_taken(server: Server, tmp_path: Path) -> None:
    server.faults["x.tar"] = [Fault(after=1_000_000), Fault(shift=7)]
    got = Got(server, tmp_path)
    assert got.bytes == BODY and got.count["retries"] == 2


def test_an_object_of_another_size_than_the_catalogue_says(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"/x\.tar: it has 3000000 bytes, the catalogue says 2999999, also when read anew: "):
        Got(server, tmp_path, size=2_999_999)
    assert len(server.requests) == 2 and list(tmp_path.iterdir()) == []


def test_an_object_that_changes_on_the_way_is_begun_anew(server: Server, tmp_path: Path) -> None:
    """Half of the one and half of the other must never be taken for a file; even where no checksum is known."""
    server.faults["x.tar"] = [Fault(after=1_000_000)]
    server.fault_of = lambda path: server.objects.update({"x.tar": OTHER}) if len(server.requests) == 1 else None
    got = Got(server, tmp_path, sha256="")
    assert got.bytes == OTHER and got.count["retries"] == 2


def test_without_a_version_and_a_checksum_nothing_is_pieced_together(server: Server, tmp_path: Path) -> None:
    server.faults["x.tar"] = [Fault(after=1_000_000, tags=False)]
    server.always["x.tar"] = Fault(tags=False)
    got = Got(server, tmp_path, sha256="")
    assert got.bytes == BODY and server.asked("x.tar") == [(0, 3_000_000)] * 2
    server.requests.clear()
    got.path.unlink()
    server.faults["x.tar"] = [Fault(after=1_000_000, tags=False)]
    assert Got(server, tmp_path).bytes == BODY and server.asked("x.tar")[1][0] > 0, "a checksum would tell"


def test_other_bytes_than_the_catalogue_knows(server: Server, tmp_path: Path) -> None:
    server.objects["x.tar"] = OTHER
    found = hashlib.sha256(OTHER).hexdigest()
    with pytest.raises(DataError, match=rf"its sha256 is {found}, the catalogue says {SHA}, also when read anew"):
        Got(server, tmp_path)
    assert len(server.requests) == 2 and list(tmp_path.iterdir()) == []


def test_an_empty_object(server: Server, tmp_path: Path) -> None:
    server.objects["x.tar"] = b""
    assert Got(server, tmp_path, 0, hashlib.sha256(b"").hexdigest()).bytes == b""


def test_an_unknown_size(server: Server, tmp_path: Path) -> None:
    assert Got(server, tmp_path, -1, "").bytes == BODY


def half(server: Server, folder: Path, version: str, url: str = "", data: bytes = BODY[:1_000_000]) -> None:
    """What a process that was killed left."""
    (folder / "x.tar.partial").write_bytes(data)
    note = {"url": url or f"{server.url}/x.tar", "version": version, "size": 3_000_000}
    (folder / "x.tar.note").write_text(json.dumps(note))


def tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:16]}"'


def test_what_a_killed_process_left_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    half(server, tmp_path, tag(BODY))
    got = Got(server, tmp_path)
    assert got.bytes == BODY and server.asked("x.tar") == [(1_000_000, 3_000_000)]
    assert got.count == {"fetched_bytes": 2_000_000}


def test_a_killed_process_may_have_had_all_of_it(server: Server, tmp_path: Path) -> None:
    half(server, tmp_path, tag(BODY), data=BODY)
    assert Got(server, tmp_path).bytes == BODY and server.asked("x.tar") == [(0, 1)]


@pytest.mark.parametrize(("version", "url", "data"), [
    ("", "", BODY[:1000]), ('"another"', "", BODY[:1000]), (tag(BODY), "http://elsewhere/x.tar", BODY[:1000]),
    (tag(BODY), "", b"zeros after a power cut" + bytes(1000)), (tag(BODY), "", BODY + b"longer"),
], ids=["no version", "another version", "another address", "other bytes", "too long"])
def test_what_may_be_of_another_object_is_not(server: Server, tmp_path: Path, version: str, url: str, data: bytes) -> None:
    half(server, tmp_path, version, url, data)
    assert Got(server, tmp_path).bytes == BODY and (0, 3_000_000) in server.asked("x.tar")


FETCHER = """
import sys
from pathlib import Path
from viewmill.pipelines.counters import Counters
from viewmill.pipelines.remote.fetch import Wanted, fetch
from viewmill.pipelines.remote.patience import Patience
from viewmill.pipelines.remote.store import Store
url, path, size, sha256 = sys.argv[1:]
fetch(Store("http", patience=Patience()), Wanted(url, int(size), sha256), Path(path), Counters())
"""


def test_a_process_killed_on_the_way_loses_nothing_that_had_come(server: Server, tmp_path: Path) -> None:
    server.faults["x.tar"] = [Fault(after=2_500_000, then="stall")]
    words = [sys.executable, "-c", FETCHER, f"{server.url}/x.tar", str(tmp_path / "x.tar"), str(len(BODY)), SHA]
    worker = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    partial = tmp_path / "x.tar.partial"
    while not (partial.exists() and partial.stat().st_size >= 1 << 20):
        assert worker.poll() is None
        time.sleep(0.01)
    worker.kill()
    worker.wait()
    had = partial.stat().st_size
    got = Got(server, tmp_path)
    assert got.bytes == BODY and server.asked("x.tar")[1] == (had, 3_000_000)


def test_one_fetches_while_the_others_wait(server: Server, tmp_path: Path) -> None:
    server.always["x.tar"] = Fault(slow_s=0.01)
    made: list[bool] = []
    threads = [threading.Thread(target=lambda: made.append(Got(server, tmp_path).made)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, False, False, True] and len(server.requests) == 1


def test_closing_ends_a_transfer_and_a_wait(server: Server, tmp_path: Path) -> None:
    server.always["x.tar"] = Fault(slow_s=0.02, chunk=10_000)
    stop, raised = threading.Event(), []
    wanted = Wanted(f"{server.url}/x.tar", len(BODY), SHA)

    def run() -> None:
        try:
            fetch(Store("http", patience=SOON), wanted, tmp_path / "x.tar", Counters(), stop)
        except Closed as error:
            raised.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    while not server.requests:
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join(10)
    assert len(raised) == 2 and not any(thread.is_alive() for thread in threads)


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Local, match="No such file or directory"):
        Got(server, tmp_path / "none")
