"""A URI -> the obstore store that reaches its object, where obstore can be configured as fsspec would be.

By the URI and environment variables alone: for S3 as botocore reads them (profiles and roles too), for Google and Azure
as obstore does. A store belongs to one process.
"""

import functools
import os
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import fsspec
from fsspec.core import split_protocol
from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

CONNECT_S = 5.0
CREDENTIALS_S = 300.0  # until botocore is asked again, which renews them earlier than this before their end
NO_CREDENTIALS_S = 10.0  # until they are looked for again where there were none: that may take seconds, for each object
KINDS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}

_ONLY_FSSPEC = {"gs": "STORAGE_EMULATOR_HOST", "az": "AZURE_STORAGE_CONNECTION_STRING"}  # variables obstore cannot read
_SAY = ("AWS_", "AZURE_", "GOOGLE_", "HTTP", "http", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy")

Environment = frozenset[tuple[str, str]]


class Place(NamedTuple):
    """Where an object lies."""

    kind: str
    where: str
    """Bucket or container; of http a server, or the whole URL where it says more than a path."""
    path: str


def environment() -> Environment:
    """The variables that say how to reach a storage, as they are now: a store is kept as long as they stay."""
    return frozenset(item for item in os.environ.items() if item[0].startswith(_SAY))


def place(uri: str) -> Place | None:
    """Where obstore finds the object; None where it would not, or not what fsspec finds."""
    protocol, rest = split_protocol(uri)
    if protocol is None or fsspec.config.conf.get(protocol):  # options of fsspec's own that only it understands
        return None
    if protocol in ("http", "https"):
        return _http_place(uri)
    where, _, path = rest.partition("/")
    kind = KINDS.get(protocol)
    if kind is None or not _is_plain(path) or _ONLY_FSSPEC.get(kind, "") in os.environ:
        return None
    return Place(kind, where, path)


def _http_place(uri: str) -> Place:
    """A URL goes out as it is: one that says more than a plain path gets a store of its own, which recodes nothing."""
    protocol, _, rest = uri.partition("://")
    host, _, path = rest.partition("/")
    if re.search(r"[%?#\\]", path) or not _is_plain(path):
        return Place("http", uri, "")
    return Place("http", f"{protocol}://{host}", path)


def _is_plain(path: str) -> bool:
    """Whether obstore takes a path as it is: no empty part, no dots, nothing unprintable."""
    return path.isprintable() and not {"", ".", ".."} & set(path.split("/"))


def store(kind: str, where: str, variables: Environment, timeout_s: float) -> Any:
    """A store that sends each request once; RuntimeError in a process that was forked from one that had stores."""
    _refuse_fork()
    return _store(kind, where, variables, timeout_s)


@functools.lru_cache(maxsize=64)
def _store(kind: str, where: str, variables: Environment, timeout_s: float) -> Any:
    patience = timedelta(seconds=timeout_s)
    options: dict[str, Any] = {
        "retry_config": {"max_retries": 0, "retry_timeout": patience},
        "client_options": {
            "allow_http": True,
            "connect_timeout": min(patience, timedelta(seconds=CONNECT_S)),
            "read_timeout": patience,
            "timeout": timedelta(days=1),  # of a whole body: whoever knows its size sets the limit
        },
    }
    match kind:
        case "http":
            return HTTPStore.from_url(where, **options)
        case "gs":
            return GCSStore(where, **options)
        case "az":
            container, _, host = where.partition("@")
            account = {"account_name": host.partition(".")[0]} if host else {}
            return AzureStore(container, **account, **options)
    if (settings := _aws(variables, int(time.monotonic() / NO_CREDENTIALS_S))) is None:
        raise PermissionError("there are no AWS credentials in the environment, the profile or the instance")
    return S3Store(where, **settings, virtual_hosted_style_request=False, **options)


@functools.lru_cache(maxsize=8)
def _aws(variables: Environment, moment: int) -> dict[str, Any] | None:
    """Endpoint, region and credentials as botocore finds them, and s3fs with it; None without credentials."""
    import botocore.session  # takes a while, and only S3 needs it

    del variables, moment  # botocore reads the variables itself
    session = botocore.session.Session()
    region = session.get_config_variable("region") or os.environ.get("AWS_REGION", "us-east-1")
    credentials = session.get_credentials()
    if credentials is None:
        return None

    def provide() -> dict[str, Any]:
        frozen, until = credentials.get_frozen_credentials(), datetime.now(UTC) + timedelta(seconds=CREDENTIALS_S)
        keys = {"access_key_id": frozen.access_key, "secret_access_key": frozen.secret_key, "token": frozen.token}
        return {**keys, "expires_at": until}

    endpoint = session.create_client("s3", region_name=region).meta.endpoint_url
    return {"endpoint": endpoint, "region": region, "credential_provider": provide}


_started_in = 0


def _refuse_fork() -> None:
    """obstore's threads do not cross a fork: whoever waited for them in the child would wait for ever."""
    global _started_in  # noqa: PLW0603
    if _started_in not in (0, os.getpid()):
        reason = "this process was forked from one that had already read from a storage"
        raise RuntimeError(f"{reason}: start processes by spawn")
    _started_in = os.getpid()
