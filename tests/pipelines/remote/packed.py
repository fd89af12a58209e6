"""Small packed shards, and where they lie on a server."""

from __future__ import annotations

from pathlib import Path

from viewmill.pipelines.catalogue import seal_shard, write_catalogue

from ..shards import shard
from .server import Server


def packed(folder: Path, shards: int, samples: int) -> Path:
    """`shards` tars of `samples` labelled JPEGs each, named train-000.tar on, with indexes and catalogue."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [shard(folder / f"train-{number:03d}.tar", samples, number * samples) for number in range(shards)]
    write_catalogue(folder, [seal_shard(path) for path in paths])
    return folder


def put_on(server: Server, folder: Path, where: str = "data") -> str:
    """Serve a folder's files; the address of that folder."""
    for path in folder.iterdir():
        server.objects[f"{where}/{path.name}"] = path.read_bytes()
    return f"{server.url}/{where}"
