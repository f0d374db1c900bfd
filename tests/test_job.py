"""How a job ends that cannot do what it is asked to."""

import sys
from dataclasses import dataclass

import pytest

from pipelines.errors import CatalogError, StorageError
from pipelines.job import run
from pipelines.storage import objects
from tests.s3.server import S3Account


@dataclass(frozen=True, kw_only=True)
class Options:
    """Of a job that lists."""

    images: str


def listed(options: Options) -> None:
    print(objects.list_uris(options.images))


def refused(options: Options) -> None:
    raise CatalogError(options.images, "there are no images", "Check --images.")


def ended(main, images: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What it said in the end."""
    monkeypatch.setattr(sys, "argv", ["job", "--images", images])
    with pytest.raises(SystemExit) as end:
        run(main, Options, "A job.")
    assert end.value.code == 2
    return capsys.readouterr().err


def test_bad_input_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(refused, "x", monkeypatch, capsys) == "CatalogError: x: there are no images. Check --images.\n"


def test_a_storage_that_does_not_answer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in S3Account.new().environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")  # where nobody listens
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    said = ended(listed, "s3://bucket/images", monkeypatch, capsys)
    assert said.count("\n") == 1
    assert "http://127.0.0.1:1" in said
    assert said.endswith("Check the URI, the endpoint and the credentials, and run this again.\n")


def test_a_protocol_that_nobody_speaks_is_named() -> None:
    with pytest.raises(StorageError, match=r"htps://: nothing here speaks it .* Check the URI"):
        objects.absolute("htps://bucket/images")
