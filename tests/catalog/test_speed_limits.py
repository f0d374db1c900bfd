"""The rules of the Swedish traffic signs, line by line, and the layouts that they come in."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.catalog.sources.speed_limits import SpeedLimits, choose_label, parse_annotations, parse_sign, parse_signs
from pipelines.errors import CatalogError
from pipelines.storage import objects


def sign(name: str, visibility: str = "VISIBLE", side: float = 10) -> str:
    return f"{visibility}, {100 + side}, {50 + side}, 100.0, 50.0, PROHIBITORY, {name}"


def test_a_sign() -> None:
    parsed = parse_sign(sign("50_SIGN"))
    assert (parsed.visibility, parsed.name, parsed.box) == ("VISIBLE", "50_SIGN", (50, 100, 60, 110))
    assert parsed.area == 100


@pytest.mark.parametrize("junk", ["110.0", "110.0'", "110.0 px", "110", "110."])
def test_numbers_may_have_trailing_junk(junk: str) -> None:
    assert parse_sign(f"VISIBLE, {junk}, 60, 100, 50, PROHIBITORY, 50_SIGN").box[3] == 110


@pytest.mark.parametrize("text", ["VISIBLE, 1, 2, 3, 4, PROHIBITORY", "VISIBLE, x, 2, 3, 4, PROHIBITORY, 50_SIGN"])
def test_what_is_no_sign(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_sign(text)


def test_a_line_skips_misc_signs_and_empty_parts() -> None:
    assert [s.name for s in parse_signs(f"MISC_SIGNS;{sign('50_SIGN')};MISC_SIGNS;")] == ["50_SIGN"]
    assert parse_signs("") == parse_signs("MISC_SIGNS;") == []


def test_annotations_keep_the_order_and_name_a_broken_line() -> None:
    text = f"b.jpg:\n\na.jpg:{sign('50_SIGN')};\n"
    assert list(parse_annotations(text)) == ["b.jpg", "a.jpg"]
    with pytest.raises(CatalogError, match="line 4"):
        parse_annotations(text + "c.jpg:VISIBLE, 1\n")
    with pytest.raises(CatalogError, match="no colon"):
        parse_annotations("c.jpg\n")


@pytest.mark.parametrize(
    ("signs", "label"),
    [
        ([], 0),
        (["MISC_SIGNS"], 0),
        ([sign("PEDESTRIAN_CROSSING")], None),
        ([sign("30_SIGN"), sign("50_SIGN")], 1),
        ([sign("70_SIGN")], 2),
        ([sign("80_SIGN")], 3),
        ([sign("50_SIGN", side=5), sign("80_SIGN", side=6), sign("70_SIGN", side=4)], 3),  # the largest
        ([sign("50_SIGN", "BLURRED", 90), sign("70_SIGN", side=2)], 2),  # visibility before size
        ([sign("50_SIGN", "BLURRED")], None),
        ([sign("50_SIGN", "SIDE_ROAD")], None),
        ([sign("50_SIGN", "OCCLUDED"), sign("STOP")], None),
        ([sign("50_SIGN", "UNHEARD_OF", 90), sign("70_SIGN")], 2),
    ],
)
def test_the_class_of_an_image(signs: list[str], label: int | None) -> None:
    assert choose_label(parse_signs(";".join(signs))) == label


LINES = {
    "Set1": [
        "empty.jpg:",
        f"fifty.jpg:{sign('50_SIGN')};{sign('50_SIGN', 'OCCLUDED', 4)};{sign('70_SIGN', side=3)};",
        f"other.jpg:{sign('STOP')};",
        f"gone.jpg:{sign('80_SIGN')};",
    ],
    "Set2": [f"seventy.jpg:{sign('70_SIGN')};MISC_SIGNS;"],
}


@pytest.mark.parametrize("layout", ["{}", "{}Part0", "{0}/{0}Part0"])
@pytest.mark.parametrize("text_outside", [False, True])
def test_layouts(tmp_path: Path, write_images: Callable[..., None], layout: str, text_outside: bool) -> None:
    for part, lines in LINES.items():
        folder = tmp_path / layout.format(part)
        write_images(folder, *(line.split(":")[0] for line in lines if not line.startswith("gone")))
        text = folder.parent if text_outside and folder.parent != tmp_path else folder
        (text / "annotations.txt").write_text("\n".join(lines))
    source = SpeedLimits(str(tmp_path))
    entries = {entry.image_id: entry for entry in source.entries()}
    assert list(entries) == ["Set1/empty.jpg", "Set1/fifty.jpg", "Set1/gone.jpg", "Set2/seventy.jpg"]
    assert [(e.label, e.split) for e in entries.values()] == [(0, "train"), (1, "train"), (3, "train"), (2, "test")]
    assert {name: objects.exists(e.uri) for name, e in entries.items()} == {
        name: "gone" not in name for name in entries
    }
    assert entries["Set1/fifty.jpg"].boxes == ((50, 100, 60, 110), (50, 100, 54, 104))
    assert entries["Set1/empty.jpg"].boxes == ()
    assert source.classes == ("EMPTY", "50_SIGN", "70_SIGN", "80_SIGN")


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no files"):
        SpeedLimits(str(tmp_path / "nowhere")).entries()
    objects.write_bytes(f"{tmp_path}/Set1/annotations.txt", b"")
    with pytest.raises(CatalogError, match="below Set2"):
        SpeedLimits(str(tmp_path)).entries()
