"""Stores of several kinds behind one face: sizes, versions, bytes from anywhere to anywhere, and plain words for what fails."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewmill.pipelines.counters import Counters
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.remote import store as store_module
from viewmill.pipelines.remote.fetch import Wanted, fetch
from viewmill.pipelines.remote.patience import Patience, Tries
from viewmill.pipelines.remote.store import Store, scheme_of
from viewmill.pipelines.remote.trouble import Changed, Final, Passing, of_error, of_status

from .s3 import put, s3
from .server import Fault, Server, serving

BODY = np.random.default_rng(0).bytes(1_000_000)
SOON = Patience(attempts=3, first_s=0.01, most_s=0.02, connect_s=1, timeout_s=2)


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, Any]]:
    with s3() as options:
        put(options, "a/x.tar", BODY)
        yield options


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        made.objects["x.tar"] = BODY
        yield made


@pytest.fixture(params=["http", "s3", "memory", "file"])
def there(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, str]:
    """A store of each kind, and the URL of an object in it."""
    kind = request.param
    if kind == "http":
        made = request.getfixturevalue("server")
        return Store("http", patience=SOON), f"{made.url}/x.tar"
    if kind == "s3":
        return Store("s3", request.getfixturevalue("bucket"), SOON), "s3://data/a/x.tar"
    if kind == "file":
        (tmp_path / "x.tar").write_bytes(BODY)
        return Store("file"), f"file://{tmp_path}/x.tar"
    store = Store("memory")
    store.system.pipe_file("/a/x.tar", BODY)
    return store, "memory://a/x.tar"


def test_size_version_and_any_range(there: tuple[Store, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PART_BYTES", 300_000)
    store, url = there
    about = store.about(url)
    assert about.size == 1_000_000 and about.version != "" and store.about(url) == about
    assert store.read(url, 0, 1_000_000) == BODY
    assert store.read(url, 123_456, 123_460) == BODY[123_456:123_460]
    assert store.read(url, 250_000, 950_000) == BODY[250_000:950_000]
    assert store.read(url, 5, 5) == b""
    got = bytearray()
    store.stream(url, 999_000, None, got.extend)
    assert got == BODY[999_000:]


def test_from_many_threads(there: tuple[Store, str]) -> None:
    store, url = there

    def right(begin: int) -> bool:
        return store.read(url, begin, min(begin + 999, 1_000_000)) == BODY[begin:begin + 999]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(right, range(0, 1_000_000, 20_000)))


def test_a_copy_in_another_process_opens_its_own(there: tuple[Store, str]) -> None:
    store, url = there
    store.read(url, 0, 10)
    if store.scheme != "memory":  # which is of one process alone
        assert pickle.loads(pickle.dumps(store)).read(url, 0, 10) == BODY[:10]
    before = store.system
    child = os.fork()
    if child == 0:
        os._exit(0 if store.system is not before else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_what_is_not_there(there: tuple[Store, str]) -> None:
    store, url = there
    for ask in (lambda: store.about(f"{url}.none"), lambda: store.read(f"{url}.none", 0, 10)):
        with pytest.raises(Final, match="no such object"):
            ask()


def test_more_than_there_is(there: tuple[Store, str]) -> None:
    store, url = there
    with pytest.raises((Passing, Changed)):
        store.read(url, 999_990, 1_000_010)


def test_a_whole_file_from_s3(bucket: dict[str, Any], tmp_path: Path) -> None:
    counters = Counters()
    wanted = Wanted("s3://data/a/x.tar", len(BODY), hashlib.sha256(BODY).hexdigest())
    assert fetch(Store("s3", bucket, SOON), wanted, tmp_path / "x.tar", counters)
    # A server that is slow to answer, on a busy machine, is asked once more: nothing is fetched twice for that.
    assert (tmp_path / "x.tar").read_bytes() == BODY and counters.snapshot()["fetched_bytes"] == len(BODY)


def test_an_object_in_s3_that_changes_under_way(bucket: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PART_BYTES", 300_000)
    other = BODY[::-1]
    put(bucket, "changing.tar", BODY)
    store, asked = Store("s3", bucket, SOON), []
    plain = store._ask

    def ask(system: Any, name: str, *args: Any, **options: Any) -> Any:
        asked.append(name)
        if len(asked) == 3:
            put(bucket, "changing.tar", other)
        return plain(system, name, *args, **options)

    monkeypatch.setattr(store, "_ask", ask)
    assert fetch(store, Wanted("s3://data/changing.tar"), tmp_path / "x.tar", Counters())
    assert (tmp_path / "x.tar").read_bytes() == other


def test_no_s3_server(tmp_path: Path) -> None:
    options = {"key": "a", "secret": "b", "client_kwargs": {"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1"}}
    with pytest.raises(DataError, match=r"^s3://data/x\.tar: .*the last of 3 tries in \d+ s: check the network"):
        fetch(Store("s3", options, SOON), Wanted("s3://data/x.tar"), tmp_path / "x.tar", Counters())


def test_no_bucket_and_no_right(bucket: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^s3://none/x\.tar: .*: check the address"):
        fetch(Store("s3", bucket, SOON), Wanted("s3://none/x.tar"), tmp_path / "x.tar", Counters())


def test_the_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.registry import known_implementations

    monkeypatch.setitem(known_implementations, "nowhere", {"class": "no_such_package.X", "err": "Install x"})
    with pytest.raises(DataError, match=r"^nowhere://: a package is missing \(Install x\): pip install 'viewmill\[remote\]'$"):
        _ = Store("nowhere").system


def test_a_scheme_that_nobody_knows_and_an_option_that_does_not_exist() -> None:
    with pytest.raises(DataError, match=r"^s5://: no kind of store that fsspec knows: check the address"):
        _ = Store("s5").system
    with pytest.raises(DataError, match=r"^s3://: .*Supply either key or username.*: check storage_options"):
        _ = Store("s3", {"key": "a", "username": "b"}).system


def test_schemes() -> None:
    assert [scheme_of(x) for x in ("s3://a/b", "HTTPS://a", "a/b.tar", "/a", "C:/x", "hf://datasets/a")] == [
        "s3", "https", "", "", "", "hf"]
    with pytest.raises(DataError, match=r"^pipe:cat x: a command, which is not run .*viewmill pack --allow-pipe"):
        scheme_of("pipe:cat x")


def test_a_range_from_a_server_without_ranges(server: Server) -> None:
    server.always["x.tar"] = Fault(ranges=False)
    store = Store("http", patience=SOON)
    assert store.read(f"{server.url}/x.tar", 0, 1_000_000) == BODY and not store.whole_only
    assert store.read(f"{server.url}/x.tar", 500_000, 500_100) == BODY[500_000:500_100] and store.whole_only


@pytest.mark.parametrize(("status", "kind"), [(500, Passing), (503, Passing), (429, Passing), (408, Passing), (404, Final),
                                              (403, Final), (401, Final), (400, Final), (412, Changed), (416, Changed)])
def test_what_a_status_means(status: int, kind: type) -> None:
    assert type(of_status(status)) is kind


def test_what_an_exception_means() -> None:
    assert isinstance(of_error(ConnectionResetError()), Passing) and isinstance(of_error(TimeoutError()), Passing)
    assert isinstance(of_error(FileNotFoundError("x")), Final) and isinstance(of_error(PermissionError("x")), Final)
    assert isinstance(of_error(ValueError("bad url")), Final)
    answered = OSError("busy")
    answered.__cause__ = type("ClientError", (Exception,), {"response": {"ResponseMetadata": {
        "HTTPStatusCode": 503, "HTTPHeaders": {"retry-after": "7"}}}})()
    trouble = of_error(answered)
    assert isinstance(trouble, Passing) and trouble.after_s == 7


def test_waits_double_with_full_jitter_up_to_a_bound() -> None:
    patience = Patience(first_s=0.2, most_s=30)
    assert [patience.wait_s(n, 1.0) for n in (1, 2, 3, 8, 999)] == [0.4, 0.8, 1.6, 30, 30]
    assert patience.wait_s(5, 0.0) == 0 and patience.wait_s(2, 0.5) == 0.4
    assert patience.wait_s(1, 0.5, after_s=5) == 5 and patience.wait_s(1, 0.5, after_s=9999) == 120
    with pytest.raises(ValueError, match=r"^attempts needs a number above 0, got 0$"):
        Patience(attempts=0)


def test_tries_are_given_up_after_so_many_in_a_row() -> None:
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        raise Passing("busy")

    counters = Counters()
    with pytest.raises(DataError, match=r"^u: busy, the last of 3 tries in 0 s: check the network and the store, or allow more"):
        Tries("u", SOON, counters).run(ask)
    assert len(asked) == 3 and counters.snapshot() == {"retries": 2}
