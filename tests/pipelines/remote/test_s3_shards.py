"""Shards in an S3 bucket, of a server on loopback: pixels, credentials that lack, objects that lack."""

from __future__ import annotations

from pathlib import Path

import pytest
from viewmill import Loader, Remote
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.source import open_source

from .packed import packed
from .s3 import put, s3


def test_a_bucket_gives_the_views_that_the_disk_gives(tmp_path: Path) -> None:
    folder = packed(tmp_path / "packed", 5, 12)
    options = {"shuffle": "lanes", "lanes": 2, "window": 1, "threads": 1, "sidecar": True}
    with s3() as credentials:
        for path in folder.iterdir():
            put(credentials, f"set/{path.name}", path.read_bytes())
        remote = Remote(cache=tmp_path / "cache", cache_bytes=10**8, attempts=3, storage_options=credentials)
        got = []
        for source, how in (("s3://data/set/", remote), (str(folder), None)):
            with Loader(source, "simclr_cifar", 10, remote=how, **options) as loader:  # type: ignore[arg-type]
                got.append([(batch.key, batch.views["global"].numpy().copy()) for batch in loader])
        assert len(got[0]) == 6 and all(a == c and (b == d).all() for (a, b), (c, d) in zip(*got, strict=True))
        part = open_source("s3://data/set/train-{001..002}.tar", remote=remote)
        assert len(part) == 24 and part.key(0) == "00012"
        with pytest.raises(DataError, match=r"s3://data/elsewhere/shards\.catalogue: there is none"):
            open_source("s3://data/elsewhere/", remote=remote)
        with pytest.raises(DataError, match=r"s3://data/set/train-007\.tar: not in the catalogue"):
            open_source("s3://data/set/train-007.tar", remote=remote)
