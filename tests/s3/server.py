"""A real S3 server for tests: SeaweedFS on loopback, or whatever S3 the environment names.

With `ATS_TEST_S3_URI=s3://bucket/prefix` and the usual AWS variables the same tests run against that bucket instead.
"""

import contextlib
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import botocore.config
import botocore.exceptions
import botocore.session

from deploy.local_head import free_ports

BUCKET = "ats-test"
START_S = 60.0
PORTS = (
    "s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
    "filer.port", "filer.port.grpc", "admin.port", "admin.port.grpc",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class S3Account:
    """A server that may not run yet: its address and its one user."""

    ports: tuple[int, ...]  # in the order of PORTS
    access_key: str
    secret_key: str

    @staticmethod
    def new() -> "S3Account":
        return S3Account(tuple(free_ports(len(PORTS))), secrets.token_hex(8), secrets.token_hex(16))

    def environment(self) -> dict[str, str]:
        """The variables that s3fs, pyarrow and Ray read."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports[0]}",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


class Weed:
    """The server of an account, its objects below the directory: what was written is there again after a kill.

    The account's variables must be set.
    """

    def __init__(self, account: S3Account, directory: Path) -> None:
        self._directory = directory
        self._command = [
            str(Path(sys.executable).parent / "weed"), "mini", f"-dir={directory}", f"-bucket={BUCKET}",
            "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false",
            "-s3.port.iceberg=0", "-s3.port.lance=0",
            *(f"-{name}={port}" for name, port in zip(PORTS, account.ports, strict=True)),
        ]  # fmt: skip

    def start(self) -> None:
        """Returns when it knows its bucket."""
        log = self._directory / "weed.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, cwd=self._directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            _wait_for_bucket(self._process, log)
        except BaseException:
            self.stop()
            raise

    def signal(self, number: int) -> None:
        """SIGKILL, SIGSTOP and the like; killed, it is gone when this returns."""
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()

    def stop(self) -> None:
        """End it, at leisure if it likes."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)


@contextlib.contextmanager
def weed(account: S3Account, directory: Path) -> Iterator[Weed]:
    """The server for the body of a `with`."""
    server = Weed(account, directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _wait_for_bucket(process: subprocess.Popen[bytes], log: Path) -> None:
    # An open port is not yet a server that knows its bucket.
    once = botocore.config.Config(retries={"max_attempts": 0}, connect_timeout=1, read_timeout=5)
    client = botocore.session.get_session().create_client("s3", config=once)
    deadline = time.monotonic() + START_S
    with contextlib.closing(client):
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                client.head_bucket(Bucket=BUCKET)
                return
            time.sleep(0.1)
    raise RuntimeError(f"weed: no bucket after {START_S:.0f} s. Its log says why:\n{log.read_text()}")
