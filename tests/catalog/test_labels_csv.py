"""The user's own images and labels, and everything that can be wrong with them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.catalog.made import catalog_uri, tiled_uri
from pipelines.catalog.schema import Entry
from pipelines.catalog.sources.labels_csv import LabelsCsv
from pipelines.errors import CatalogError

NAMES = ("a b.jpg", "100%.png", "sub/ü.jpg", "sub/c.PNG")


@pytest.fixture
def images(tmp_path: Path, write_images: Callable[..., None]) -> str:
    write_images(tmp_path / "images", *NAMES)
    (tmp_path / "images/notes.txt").write_text("no image")
    return str(tmp_path / "images")


def entries(images: str, tmp_path: Path, text: str | bytes, **options: int) -> dict[str, Entry]:
    labels = tmp_path / "labels.csv"
    labels.write_bytes(text.encode() if isinstance(text, str) else text)
    return {e.image_id: e for e in LabelsCsv(images, str(labels), **options).entries()}


def test_without_a_csv_images_are_unlabelled(images: str) -> None:
    source = LabelsCsv(images)
    found = source.entries()
    assert source.classes == ()
    assert {e.image_id for e in found} == set(NAMES)
    assert [e.uri for e in found] == sorted(e.uri for e in found)
    assert {(e.label, e.split, e.group) for e in found} == {(-1, "", "")}


def test_a_glob_takes_some(images: str) -> None:
    assert [e.image_id for e in LabelsCsv(f"{images}/sub/*").entries()] == ["c.PNG", "ü.jpg"]
    assert [e.image_id for e in LabelsCsv(f"{images}/*/*.jpg").entries()] == ["sub/ü.jpg"]


def test_paths_uris_and_file_names_all_name_an_image(images: str, tmp_path: Path) -> None:
    text = f"image,label\na b.jpg,cat\n./100%.png,dog\n{images}/sub/ü.jpg,cat\nc.PNG,dog\n"
    found = entries(images, tmp_path, text)
    assert {name: e.label for name, e in found.items()} == {"a b.jpg": 0, "100%.png": 1, "sub/ü.jpg": 0, "sub/c.PNG": 1}
    assert LabelsCsv(images, str(tmp_path / "labels.csv")).classes == ("cat", "dog")


def test_whole_numbers_are_sorted_as_numbers(images: str, tmp_path: Path) -> None:
    found = entries(images, tmp_path, "image,label\na b.jpg,10\n100%.png,2\nc.PNG,0\n")
    assert [found[name].label for name in ("c.PNG", "100%.png", "a b.jpg") if name in found] == [1, 2]
    assert found["sub/c.PNG"].label == 0


def test_what_does_not_match_is_a_row(images: str, tmp_path: Path) -> None:
    found = entries(images, tmp_path, "image,label\na b.jpg,cat\nsub/none.jpg,dog\n100%.png,\n")
    assert (found["sub/none.jpg"].label, found["sub/none.jpg"].uri) == (1, f"{images}/sub/none.jpg")
    assert (found["sub/ü.jpg"].label, found["sub/ü.jpg"].split) == (-1, "")
    assert (found["100%.png"].label, found["100%.png"].split) == (-1, "")
    assert list(found)[-1] == "sub/none.jpg"


def test_an_image_elsewhere_keeps_its_uri(images: str, tmp_path: Path) -> None:
    found = entries(images, tmp_path, "image,label\ns3://other/x.jpg,cat\n")
    assert found["s3://other/x.jpg"].uri == "s3://other/x.jpg"


def test_split_and_group_are_taken_as_they_are(images: str, tmp_path: Path) -> None:
    text = "image, label, group, split\na b.jpg,cat,p1,train\nc.PNG,dog,p1,test\nü.jpg,dog,,val\n"
    found = entries(images, tmp_path, text)
    assert [(e.split, e.group) for e in found.values()] == [("", ""), ("train", "p1"), ("test", "p1"), ("val", "")]


def test_a_generated_split_is_stratified_and_keeps_groups(tmp_path: Path, write_images: Callable[..., None]) -> None:
    folder = str(tmp_path / "many")
    write_images(folder, *(f"{i:03d}.png" for i in range(40)))
    plain = "image,label\n" + "".join(f"{i:03d}.png,{'ab'[i % 2]}\n" for i in range(40))
    splits = [(e.split, e.label) for e in entries(folder, tmp_path, plain).values()]
    assert (splits.count(("test", 0)), splits.count(("test", 1))) == (4, 4)
    assert splits != [(e.split, e.label) for e in entries(folder, tmp_path, plain, seed=1).values()]
    grouped = "image,label,group\n" + "".join(f"{i:03d}.png,{'ab'[i % 2]},p{i // 4}\n" for i in range(40))
    found = list(entries(folder, tmp_path, grouped).values())
    assert {e.split for e in found} == {"train", "test"}
    assert all(len({e.split for e in found if e.group == f"p{p}"}) == 1 for p in range(10))


def test_a_spreadsheet_s_byte_order_mark_is_no_part_of_the_header(images: str, tmp_path: Path) -> None:
    assert entries(images, tmp_path, "\ufeffimage,label\r\na b.jpg,cat\r\n")["a b.jpg"].label == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "columns"),
        ("image;label\na b.jpg;cat\n", "columns"),
        ("name,label\na b.jpg,cat\n", "columns"),
        ("image,label\na b.jpg\n", "line 2: another number of fields"),
        ("image,label\na b.jpg,cat,dog\n", "line 2: another number of fields"),
        ("image,label\n,cat\n", "line 2: no image"),
        ("image,label,split\na b.jpg,cat,train\nc.PNG,cat,\n", "line 3: it has a label but no split"),
        ("image,label\na b.jpg,cat\na b.jpg,dog\n", "line 3: 'a b.jpg' is there twice"),
        ("image,label\nsub/c.PNG,cat\nc.PNG,cat\n", "line 3: 'c.PNG' is there twice"),
        ('image,label\n"a b.jpg,cat\n', "not a CSV"),
        (b"image,label\n\xff\xfe,cat\n", "not a CSV"),
    ],
)
def test_a_csv_that_cannot_be_used(images: str, tmp_path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(CatalogError, match=reason):
        entries(images, tmp_path, text)


def test_corrected_labels_are_another_catalog_and_a_copy_of_the_csv_is_not(images: str, tmp_path: Path) -> None:
    def name(csv: str, text: str) -> str:
        (tmp_path / csv).write_text(text)
        return catalog_uri(LabelsCsv(images, str(tmp_path / csv)), "/runs")

    tiled = {tiled_uri(LabelsCsv(images, labels, seed), "/runs") for labels, seed in ((None, 0), ("labels.csv", 1))}
    assert len(tiled) == 1, "nothing is converted again"
    first = name("labels.csv", "image,label\nc.PNG,1\n")
    assert name("copy.csv", "image,label\nc.PNG,1\n") == first
    assert name("labels.csv", "image,label\nc.PNG,0\n") != first


def test_a_file_name_of_two_images_is_ambiguous(images: str, tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images(Path(images) / "other", "c.PNG")
    with pytest.raises(CatalogError, match="may be"):
        entries(images, tmp_path, "image,label\nc.PNG,cat\n")


def test_no_images_and_no_csv(images: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no files"):
        LabelsCsv(f"{tmp_path}/nowhere").entries()
    with pytest.raises(CatalogError, match="no images"):
        LabelsCsv(f"{images}/*.txt").entries()
    with pytest.raises(CatalogError, match="cannot be read"):
        LabelsCsv(images, f"{tmp_path}/none.csv").entries()
