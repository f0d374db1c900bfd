"""Fixtures that more than one folder of tests needs: real data, a Ray, an S3."""

import faulthandler
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3.server import BUCKET, S3Account, weed

ROOT = Path(__file__).parents[1]
LOGICAL_CPUS = 6  # seats, not cores: see deploy/local_head.py
EXIT_S = 60.0

# Ray reads these when it is first imported, which any test module may do.
RAY_ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",  # else the first `ray.init` leaves a token in the home directory
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback alone: without a token no other machine may reach it
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # reports are fetched this often: every step of a test would wait 2 s
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
os.environ.update(RAY_ENVIRONMENT)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What uses a server says so, without having to: `-m "not (ray or s3)"` starts none."""
    for item in items:
        for fixture, marker in (("ray_local", "ray"), ("s3", "s3"), ("s3_server", "s3")):
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)


def pytest_unconfigure() -> None:
    """A thread that keeps the interpreter from ending is a failure too, with its stack."""
    faulthandler.dump_traceback_later(EXIT_S, exit=True, file=sys.__stderr__)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets: `$ATS_DATA`, else `../shared/data` beside the repository."""
    folder = Path(os.environ.get("ATS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{folder}: no data sets there. Set ATS_DATA to the folder that has them.")
    return folder


@pytest.fixture(scope="session")
def s3_account() -> Iterator[S3Account | None]:
    """The AWS variables of the session; None where the caller brings an S3 and its variables.

    Apart from the server, so that a Ray that starts before it hands them to its workers all the same.
    """
    if "ATS_TEST_S3_URI" in os.environ:
        yield None
        return
    account = S3Account.new()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name, value in account.environment().items():
            patch.setenv(name, value)
        yield account


@pytest.fixture(scope="session")
def s3_server(s3_account: S3Account | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI below which tests may write."""
    if s3_account is None:
        yield os.environ["ATS_TEST_S3_URI"].rstrip("/")
        return
    with weed(s3_account, tmp_path_factory.mktemp("weed")):
        yield f"s3://{BUCKET}"


@pytest.fixture
def s3(s3_server: str) -> Iterator[str]:
    """A URI of this test's own, empty before and removed after."""
    import s3fs

    uri = f"{s3_server}/{uuid.uuid4().hex}"
    yield uri
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    if files.exists(uri):
        files.rm(uri, recursive=True)


@pytest.fixture(scope="session")
def ray_local(s3_account: S3Account | None) -> Iterator[None]:
    """A Ray in this process, with more seats than cores and without a dashboard."""
    import ray

    directory = tempfile.mkdtemp(prefix="ats-", dir="/tmp")  # short: a Unix socket's path has 107 characters
    ray.init(num_cpus=LOGICAL_CPUS, include_dashboard=False, _temp_dir=directory, configure_logging=False)
    yield
    ray.shutdown()
    shutil.rmtree(directory, ignore_errors=True)
