"""Shards behind addresses, from the address to the batch: the same samples and pixels as of the same shards on the disk."""

from __future__ import annotations

import gc
import pickle
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewmill import Loader, Remote
from viewmill.pipelines.catalogue import CATALOGUE
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.patterns import is_remote
from viewmill.pipelines.remote.cache import LEFT_S
from viewmill.pipelines.source import RemoteSource, TarSource, open_source
from viewmill.pipelines.sources import remote as module

from .packed import packed, put_on
from .server import Fault, Server, serving

SHARDS, EACH = 12, 20
LANES = {"shuffle": "lanes", "lanes": 4, "window": 2, "threads": 1, "sidecar": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("packed"), SHARDS, EACH)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


def remote(tmp_path: Path, **options: Any) -> Remote:
    return Remote(**{"cache": tmp_path / "cache", "cache_bytes": 10**8, "attempts": 3, "timeout_s": 5.0, **options})


def batches(source: Any, **options: Any) -> list[tuple[list[str], np.ndarray]]:
    with Loader(source, "simclr_cifar", 16, **{**LANES, **options}) as loader:
        return [(batch.key, batch.views["global"].numpy().copy()) for batch in loader]


def same(one: list[tuple[list[str], np.ndarray]], other: list[tuple[list[str], np.ndarray]]) -> bool:
    pairs = zip(one, other, strict=True)
    return len(one) == len(other) > 0 and all(keys == others and (x == y).all() for (keys, x), (others, y) in pairs)


def test_an_address_is_told_from_a_path(tmp_path: Path) -> None:
    assert is_remote("s3://b/x.tar") and is_remote("https://h/{0..3}.tar") and is_remote("hf://datasets/a/b")
    assert not is_remote("/a/b.tar") and not is_remote("file:///a/b.tar") and not is_remote("pipe:cat x") and not is_remote("a:b")


def test_what_the_source_says_is_what_the_local_one_says(server: Server, folder: Path, tmp_path: Path) -> None:
    here, there = TarSource(sorted(folder.glob("*.tar"))), open_source(put_on(server, folder), remote=remote(tmp_path))
    assert isinstance(there, RemoteSource) and not there.local and there.labelled
    assert there.fingerprint == here.fingerprint and there.shard_sizes.tolist() == here.shard_sizes.tolist()
    some = np.array([0, 19, 20, 133, 239])
    assert there.size_hw(some).tolist() == here.size_hw(some).tolist()
    for i in some.tolist():
        assert (there.read(i), there.key(i), there.label(i), there.where(i)) == (
            here.read(i), here.key(i), here.label(i), here.where(i))
        assert there.find(here.key(i)) == i and there.place(i)[1:] == here.extent(i)[1:]
    assert there.place(20)[0] == f"{server.url}/data/train-001.tar"


@pytest.mark.parametrize("sidecar", [False, True])
def test_views_of_remote_shards_are_those_of_local_ones(server: Server, folder: Path, tmp_path: Path, sidecar: bool) -> None:
    url = put_on(server, folder)
    assert same(batches(str(folder), epochs=2), batches(url, epochs=2, sidecar=sidecar, remote=remote(tmp_path)))


def test_the_second_run_fetches_no_shard(server: Server, folder: Path, tmp_path: Path) -> None:
    url = put_on(server, folder)
    first = batches(url, remote=remote(tmp_path))  # of which the last shards may have been under way when it ended
    batches(url, remote=remote(tmp_path))
    server.requests.clear()
    assert same(first, batches(url, remote=remote(tmp_path)))
    assert {request.path for request in server.requests} == {f"data/{CATALOGUE}"}


def test_a_source_that_fails_in_all_ways_gives_the_same_views(server: Server, folder: Path, tmp_path: Path) -> None:
    url = put_on(server, folder)
    rng = np.random.default_rng(7)
    kinds = [Fault(status=500), Fault(after=3000, then="reset"), Fault(after=100, then="close"), Fault(status=429)]
    for path in server.objects:
        server.faults[path] = [kinds[i] for i in rng.integers(0, 4, 2).tolist()]
    with Loader(url, "simclr_cifar", 16, remote=remote(tmp_path, attempts=6), **LANES) as loader:  # type: ignore[arg-type]
        got = [(batch.key, batch.views["global"].numpy().copy()) for batch in loader]
        stats = loader.stats()
    assert same(got, batches(str(folder))) and stats["retries"] >= 12 and stats["substituted"] == {}


def test_a_shard_that_cannot_be_had_ends_the_run_with_its_address(server: Server, folder: Path, tmp_path: Path) -> None:
    url = put_on(server, folder)
    server.always["data/train-005.tar"] = Fault(status=503)
    with pytest.raises(Exception, match=re.escape(f"{url}/train-005.tar: the server answers with status 503, the last of")):
        batches(url, remote=remote(tmp_path))


def test_single_samples_cost_their_own_bytes(server: Server, folder: Path, tmp_path: Path) -> None:
    there = open_source(put_on(server, folder), remote=remote(tmp_path))
    there.size_hw(np.arange(SHARDS * EACH))
    server.sent.clear()
    total = sum(len(there.read(i)) for i in range(0, SHARDS * EACH, 7))
    assert sum(server.sent.values()) == total and not list((tmp_path / "cache").glob("*.tar"))


def test_a_server_without_ranges_is_read_whole(server: Server, folder: Path, tmp_path: Path) -> None:
    url = put_on(server, folder)
    for number in range(SHARDS):
        server.always[f"data/train-{number:03d}.tar"] = Fault(ranges=False)
    there = open_source(url, remote=remote(tmp_path))
    here = TarSource(sorted(folder.glob("*.tar")))
    assert [there.read(i) for i in range(0, 240, 7)] == [here.read(i) for i in range(0, 240, 7)]
    assert all(len(server.asked(f"data/train-{n:03d}.tar")) <= 2 for n in range(SHARDS))


@pytest.mark.parametrize("most", [3000, 1 << 30])
def test_early_samples_are_read_by_range_only_as_far_as_is_cheap(server: Server, folder: Path, tmp_path: Path,
                                                                 most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EARLY_BYTES", most)
    url = put_on(server, folder)
    server.fault_of = lambda path: Fault(chunk=2000, slow_s=0.01)  # a tenth of a second each shard
    with Loader(url, "simclr_cifar", 16, remote=remote(tmp_path), **LANES) as loader:  # type: ignore[arg-type]
        for _ in loader:
            pass
        stats = loader.stats()
    share = sum(path.stat().st_size for path in folder.glob("*.tar"))  # one rank's share is all
    whole = stats["fetched_bytes"] - stats["ranged_bytes"]
    assert 0 < stats["ranged_bytes"] <= min(most, 0.03 * share) + 0.03 * (whole + 5000), "5000: between two counts"
    assert stats["cache_misses"] <= SHARDS


def test_what_was_damaged_in_the_cache_is_fetched_again(server: Server, folder: Path, tmp_path: Path) -> None:
    url = put_on(server, folder)
    batches(url, remote=remote(tmp_path))
    there = open_source(url, remote=remote(tmp_path))
    assert isinstance(there, RemoteSource)
    wanted = there.read(25)
    path = there.cache.path_of(there._wanted(1))
    if not path.exists():
        there._bring(1)
    data = bytearray(path.read_bytes())
    _, offset, _ = there.place(25)
    data[offset + 9] ^= 1
    path.write_bytes(bytes(data))
    server.requests.clear()
    assert there.read(25) == wanted and len(server.asked("data/train-001.tar")) == 1
    assert there.read(26) and len(server.asked("data/train-001.tar")) == 1


def test_what_was_packed_damaged_is_a_bad_sample(server: Server, folder: Path, tmp_path: Path) -> None:
    url = put_on(server, folder)
    there = open_source(url, remote=remote(tmp_path))
    _, offset, _ = there.place(25)
    data = bytearray(server.objects["data/train-001.tar"])
    data[offset + 9] ^= 1
    server.objects["data/train-001.tar"] = bytes(data)
    with pytest.raises(DataError, match=r"train-001\.tar: its sha256 is .*, the catalogue says .*, also when read anew"):
        there.read(25)
    loose = open_source(url, verify=False, remote=remote(tmp_path))
    assert loose.read(25) == bytes(data[offset:offset + len(loose.read(25))])  # type: ignore[arg-type]


def test_what_is_left_is_not_at_hand_and_the_first_to_go(server: Server, folder: Path, tmp_path: Path) -> None:
    there = open_source(put_on(server, folder), remote=remote(tmp_path))
    assert isinstance(there, RemoteSource) and not there.at_hand(3 * EACH)
    there._bring(3)
    assert there.at_hand(3 * EACH) and not there.at_hand(4 * EACH)
    there._leave(3)
    assert not there.at_hand(3 * EACH) and there._path(3).stat().st_mtime == LEFT_S


def test_patterns_lists_and_parts_of_a_catalogue(server: Server, folder: Path, tmp_path: Path) -> None:
    url = put_on(server, folder)

    def shards_of(source: Any) -> list[str]:
        opened = open_source(source, remote=remote(tmp_path))
        return [opened.place(i)[0].rpartition("/")[2] for i in range(0, len(opened), EACH)]  # type: ignore[attr-defined]

    assert shards_of(f"{url}/train-{{003..005}}.tar") == ["train-003.tar", "train-004.tar", "train-005.tar"]
    assert shards_of(f"{url}/*-01*.tar") == ["train-010.tar", "train-011.tar"]
    assert shards_of([f"{url}/train-002.tar", f"{url}/train-000.tar"]) == ["train-002.tar", "train-000.tar"]
    assert len(shards_of(f"{url}/")) == SHARDS
    here = TarSource([folder / "train-002.tar", folder / "train-000.tar"])
    there = open_source([f"{url}/train-002.tar", f"{url}/train-000.tar"], remote=remote(tmp_path))
    assert there.fingerprint == here.fingerprint


def test_the_catalogue_and_indexes_may_lie_in_a_local_folder(server: Server, folder: Path, tmp_path: Path) -> None:
    url = put_on(server, folder)
    for name in [name for name in server.objects if not name.endswith(".tar")]:
        del server.objects[name]
    assert same(batches(str(folder)), batches(url, remote=remote(tmp_path, catalogue=folder)))
    assert {request.path.rpartition(".")[2] for request in server.requests} == {"tar"}


@pytest.mark.parametrize(("source", "message"), [
    ("{url}/none/", r"none/shards.catalogue: there is none, .*: make it once with viewmill pack '.*/none/\*.tar' --index-only"),
    ("{url}/data/train-099.tar", r"train-099.tar: not in the catalogue, which has 12 shards, from train-000.tar to train"),
    ("{url}/data/{{train-000,train-000}}.tar", "train-000.tar: given twice"),
    (["{url}/data/train-000.tar", "{url}/other/train-001.tar"], "/other: another folder than .*/data"),
    ("{url}/data/train-000.tar?key=7", "an address with a query"),
    (["{url}/data/train-000.tar", "here.tar"], "a http:// address where local files are needed"),
    ("pipe:cat x.tar", "a command, which is not run for reading"),
    ("nonsense://a/b", "nonsense://: no kind of store that fsspec knows"),
])
def test_what_cannot_be_read_is_told_in_one_line(server: Server, folder: Path, tmp_path: Path, source: Any, message: str) -> None:
    put_on(server, folder)
    url = server.url
    given = [each.format(url=url) for each in source] if isinstance(source, list) else source.format(url=url)
    with pytest.raises(DataError, match=message) as caught:
        open_source(given, remote=remote(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_damaged_catalogue_or_index_is_named(server: Server, folder: Path, tmp_path: Path) -> None:
    url = put_on(server, folder)
    server.objects["data/train-004.tar.index"] = server.objects["data/train-003.tar.index"]
    there = open_source(url, remote=remote(tmp_path))
    with pytest.raises(DataError, match=r"train-004\.tar\.index: .*: (write it again|let nothing write)"):
        there.key(4 * EACH)
    server.objects[f"data/{CATALOGUE}"] = server.objects[f"data/{CATALOGUE}"][:-1]
    with pytest.raises(DataError, match=rf"{CATALOGUE}: cannot be used \(cut short or overlong"):
        open_source(url, remote=remote(tmp_path))


def test_a_cache_too_small_for_the_order_is_refused_at_the_start(server: Server, folder: Path, tmp_path: Path) -> None:
    url = put_on(server, folder)
    with Loader(url, "simclr_cifar", 16, remote=remote(tmp_path, connections=3), shuffle="lanes", lanes=2, window=1) as loader:
        least = loader.cache_bytes
        mean = sum(path.stat().st_size for path in folder.glob("*.tar*")) / SHARDS
        assert least == round((2 * (1 + 1) + 3) * mean)
    options = {"shuffle": "lanes", "lanes": 2, "window": 1}
    Loader(url, "simclr_cifar", 16, remote=remote(tmp_path, cache_bytes=least, connections=3), **options).close()  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"may hold .*, and this order \(shuffle='lanes', 2 lanes, window 1\) needs .* for 1 of 1"
                                         r" ranks, .*: allow more \(remote.cache_bytes\), or use a smaller window"):
        Loader(url, "simclr_cifar", 16, remote=remote(tmp_path, cache_bytes=least - 1, connections=3), **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="or use shuffle='lanes'"):
        Loader(url, "simclr_cifar", 16, remote=remote(tmp_path, cache_bytes=least), shuffle="full")
    with Loader(str(folder), "simclr_cifar", 16) as local:
        assert local.cache_bytes == 0


def test_ranks_that_do_not_divide_the_lanes_are_told(server: Server, folder: Path, tmp_path: Path,
                                                    caplog: pytest.LogCaptureFixture) -> None:
    url = put_on(server, folder)
    for world, lanes in ((2, 4), (4, 4), (8, 4)):
        Loader(url, "simclr_cifar", 4, remote=remote(tmp_path), rank=0, world_size=world, shuffle="lanes", lanes=lanes).close()
    assert caplog.text == ""
    Loader(url, "simclr_cifar", 4, remote=remote(tmp_path), rank=1, world_size=3, shuffle="lanes", lanes=8).close()
    assert "3 ranks do not divide 8 lanes" in caplog.text and "begin a new run with lanes=9" in caplog.text


def test_a_bounded_cache_serves_an_epoch_and_fetches_little_twice(server: Server, folder: Path, tmp_path: Path) -> None:
    url = put_on(server, folder)
    options = {**LANES, "lanes": 2, "window": 1, "read_ahead_bytes": 1 << 12}
    with Loader(url, "simclr_cifar", 16, remote=remote(tmp_path, connections=1), **options) as loader:  # type: ignore[arg-type]
        least = loader.cache_bytes
    small = remote(tmp_path, cache=tmp_path / "small", cache_bytes=least, connections=1)
    assert same(batches(str(folder), **options), batches(url, remote=small, **options))
    held = sum(path.stat().st_size for path in (tmp_path / "small").iterdir())
    assert held <= least < sum(map(len, server.objects.values())) / 2


def test_a_state_of_local_shards_goes_on_with_remote_ones_and_another_world(server: Server, folder: Path, tmp_path: Path) -> None:
    url, options = put_on(server, folder), {**LANES, "batch_size": 8, "epochs": 1}
    with Loader(str(folder), "simclr_cifar", **options) as loader:  # type: ignore[arg-type]
        stream = iter(loader)
        done = [key for _ in range(5) for key in next(stream).key]
        state = loader.state_dict()
    rest: list[str] = []
    for rank in range(2):
        with Loader(url, "simclr_cifar", rank=rank, world_size=2, remote=remote(tmp_path), **options) as loader:  # type: ignore[arg-type]
            loader.load_state_dict(state)
            rest += [key for batch in loader for key in np.array(batch.key)[~batch.padding.numpy()].tolist()]
    assert sorted(done + rest) == sorted(f"{i:05d}" for i in range(SHARDS * EACH))


def test_leaving_early_ends_all_threads_and_closes_all_files(server: Server, folder: Path, tmp_path: Path) -> None:
    url = put_on(server, folder)
    for path in [name for name in server.objects if name.endswith(".tar")]:
        server.always[path] = Fault(chunk=1000, slow_s=0.005)

    def use() -> None:
        with Loader(url, "simclr_cifar", 16, remote=remote(tmp_path), **LANES) as loader:  # type: ignore[arg-type]
            next(iter(loader))

    for _ in range(2):
        use()
    before = settled(tmp_path)
    for _ in range(6):
        use()
    assert settled(tmp_path) == before == ([], [])


def settled(folder: Path) -> tuple[list[str], list[str]]:
    """Our threads, and the open files of a folder, once the transfers have noticed that nobody wants them any more."""
    begun = time.monotonic()
    while True:
        threads = [thread.name for thread in threading.enumerate() if "viewmill-" in thread.name]
        files = [str(link) for link in map(_link, Path("/proc/self/fd").iterdir()) if str(link).startswith(str(folder))]
        if not threads + files or time.monotonic() - begun > 20:
            return threads, files
        if not threads:  # an error that was under way may hold an index until the garbage collector comes by
            gc.collect()
        time.sleep(0.02)


def _link(path: Path) -> Path:
    with suppress(FileNotFoundError):
        return path.readlink()
    return Path()


def test_a_source_pickles_without_what_it_holds(server: Server, folder: Path, tmp_path: Path) -> None:
    there = open_source(put_on(server, folder), remote=remote(tmp_path))
    data = there.read(77)
    again = pickle.loads(pickle.dumps(there))
    assert again.read(77) == data and again.fingerprint == there.fingerprint


@pytest.mark.parametrize(("options", "message"), [
    ({"cache_bytes": 0}, "remote.cache_bytes needs a whole number >= 1, got 0"),
    ({"connections": True}, "remote.connections needs a whole number >= 1, got True"),
    ({"attempts": 0}, "remote.attempts needs a whole number >= 1, got 0"),
    ({"timeout_s": 0.0}, "remote.timeout_s needs a number above 0, got 0.0"),
    ({"storage_options": "x"}, "remote.storage_options needs names and values, got 'x'"),
])
def test_settings_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Remote(**options)
