"""An S3 server on loopback, and what s3fs needs to find it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moto.server import ThreadedMotoServer


@contextmanager
def s3() -> Iterator[dict[str, Any]]:
    """storage_options of a server that has the empty bucket "data"."""
    import s3fs

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
    options = {"key": "test", "secret": "test", "client_kwargs": client}
    try:
        s3fs.S3FileSystem(skip_instance_cache=True, **options).call_s3("create_bucket", Bucket="data")
        yield options
    finally:
        server.stop()


def put(options: dict[str, Any], name: str, body: bytes) -> None:
    import s3fs

    s3fs.S3FileSystem(skip_instance_cache=True, **options).pipe_file(f"data/{name}", body)
