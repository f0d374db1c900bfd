"""The names of files that ids become."""

import string
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.scoring.names import OUTPUTS, safe_name

ODD = st.text(alphabet=st.sampled_from('./\\%~ "aZé-_:*?2E'), max_size=12)
IDS = st.one_of(
    st.text(), ODD, st.lists(st.sampled_from(["", ".", "..", "a", "a.png", "%", "%2E", "a.png.png"])).map("/".join)
)


@pytest.mark.parametrize(
    "name", ["a.jpg", "site 1/slide-7_é.svs", "2024/05/ñandú (2).tif", "x/y/z", ".hidden", "a..b", "日本/図.png"]
)
def test_an_ordinary_name_stays(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("image_id", "name"),
    [
        ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
        ("/root", "%/root"),
        ("", "%"),
        ("a//b", "a/%/b"),
        ("a/", "a/%"),
        ("s3://x/y", "s3%3A/%/x/y"),
        ("a\\..\\b", "a%5C..%5Cb"),
        ("100 %.jpg", "100 %25.jpg"),
        ("a\nb\0", "a%0Ab%00"),
        ("a.png/b.png", "a%2Epng/b.png"),
    ],
)
def test_an_odd_one_stays_in_its_folder(image_id: str, name: str) -> None:
    assert safe_name(image_id) == name


@settings(deadline=None)
@given(IDS)
def test_none_leaves_its_folder_or_is_too_long_for_it(image_id: str) -> None:
    parts = safe_name(image_id).split("/")
    assert not {"", ".", ".."} & set(parts)
    assert all(len(part.encode()) <= 200 and part.isprintable() for part in parts)
    assert not any(part.endswith(OUTPUTS) for part in parts[:-1])
    assert not set("/".join(parts)) & set('\\:*?"<>|')


@settings(deadline=None)
@given(st.lists(IDS, unique=True, max_size=30))
def test_different_ids_have_different_names(image_ids: list[str]) -> None:
    assert len(set(map(safe_name, image_ids))) == len(image_ids)


@settings(deadline=None)
@given(st.lists(IDS, unique=True, max_size=30))
def test_no_file_is_where_another_needs_a_folder(image_ids: list[str]) -> None:
    files = {PurePosixPath(f"{safe_name(image_id)}.png") for image_id in image_ids}
    assert not files & {folder for file in files for folder in file.parents}


@pytest.mark.parametrize("image_id", ["a" * 1000, "é" * 500, "/".join(["folder"] * 150), "/" * 1000, "\0" * 300])
def test_a_long_id_is_a_file_too(image_id: str, tmp_path: Path) -> None:
    names = {safe_name(image_id + letter) for letter in string.ascii_letters}
    assert len(names) == len(string.ascii_letters)
    for name in names:
        path = tmp_path / f"{name}.geojson"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
