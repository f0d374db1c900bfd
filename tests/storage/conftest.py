"""Fixtures for what reads: a web server, an object in S3, a proxy before it."""

import os
import threading
import uuid
from collections.abc import Iterator

import pytest

from pipelines.storage import objects
from tests.s3.proxy import Proxy
from tests.storage.web import DATA, Web


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def bucket(s3_server: str) -> Iterator[str]:
    """A URI of this module's own."""
    import s3fs

    uri = f"{s3_server}/{uuid.uuid4().hex}"
    yield uri
    s3fs.S3FileSystem(skip_instance_cache=True).rm(uri, recursive=True)


@pytest.fixture(scope="module")
def uri(bucket: str) -> str:
    """An object in S3 that stays as it is."""
    objects.write_bytes(uri := f"{bucket}/image.tif", DATA)
    return uri


@pytest.fixture
def proxy(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What S3 clients of this process talk to from now on."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if not endpoint.startswith("http://"):
        pytest.skip("The proxy passes plain HTTP: set AWS_ENDPOINT_URL to an S3 that speaks it.")
    with Proxy(endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy
