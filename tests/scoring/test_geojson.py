"""GeoJSON as its readers see it: GEOS, and QuPath by the rules that it reads by."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.scoring.geojson import feature_collection, write_geojson
from pipelines.scoring.names import safe_name
from pipelines.storage import objects
from tests.scoring.rows import failed, scored, table

ROW = table([scored("folder/one", patches=((24, 30, 0.1, 0.2), (5, 60, 0.3, 0.7), (40, 2, 0.05, 0.1)))]).to_pylist()[0]
BOXES = [(20, 14, 40, 34), (50, 0, 64, 15), (0, 30, 12, 48)]  # (x0, y0, x1, y1), in an image of 48 x 64


def properties(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [feature["properties"] for feature in feature_collection(row, 20)["features"]]


def test_a_reader_finds_the_patches_where_they_are_in_the_image() -> None:
    (*polygons,) = shapely.from_geojson(json.dumps(feature_collection(ROW, 20))).geoms
    assert [polygon.bounds for polygon in polygons] == BOXES
    assert [polygon.area for polygon in polygons] == [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in BOXES]


@settings(deadline=None)
@given(
    st.integers(1, 300), st.integers(1, 300), st.integers(1, 301), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)))
)
def test_it_keeps_the_rules_of_polygons(height: int, width: int, side: int, places: list[tuple[float, float]]) -> None:
    patches = [(int(y * (height - 1)), int(x * (width - 1)), 0.5, 0.5) for y, x in places]
    collection = feature_collection(scored("a", patches=patches, height=height, width=width), side)
    assert set(collection) == {"type", "features"}
    for feature, (y, x, _, _) in zip(collection["features"], patches, strict=True):
        assert set(feature) == {"type", "geometry", "properties"}
        (ring,) = feature["geometry"]["coordinates"]
        assert len(ring) == 5
        assert ring[0] == ring[-1]
        polygon = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert polygon.is_valid
        assert polygon.exterior.is_ccw  # RFC 7946, 3.1.6
        start_y, start_x = y - side // 2, x - side // 2
        whole = shapely.box(start_x, start_y, start_x + side, start_y + side)
        assert polygon.equals(whole & shapely.box(0, 0, width, height))


def test_a_feature_has_what_a_gis_and_qupath_show() -> None:
    _, heaviest, _ = properties(ROW)
    numbers = {"rank": 1, "attention": 0.3, "weight": 0.7, "probability": 0.75, "standard_error": 0.5}
    assert heaviest == numbers | {
        "objectType": "detection",
        "classification": {"name": "yes", "color": [213, 94, 0]},
        "measurements": numbers,
        "image_id": "folder/one",
        "prediction": "yes",
        "probabilities": [0.25, 0.75],
    }
    assert [patch["rank"] for patch in properties(ROW)] == [2, 1, 3]


def test_a_class_has_one_colour_in_every_image() -> None:
    said = [(0.9, 0.1), (0.6, 0.4), (0.2, 0.8), (0.4, 0.6)]
    colours = [tuple(properties(scored("a", p))[0]["classification"]["color"]) for p in said]
    assert colours[0] == colours[1] != colours[2] == colours[3]


@pytest.mark.parametrize("error", [np.inf, np.nan])
def test_what_is_no_number_in_json_is_left_out(error: float) -> None:
    (patch, _) = properties(scored("a", standard_error=error))
    assert "standard_error" not in patch
    assert set(patch["measurements"]) == {"rank", "attention", "weight", "probability"}


def test_one_that_read_no_patches_is_empty(tmp_path: Path) -> None:
    assert feature_collection(scored("a", patches=()), 1) == {"type": "FeatureCollection", "features": []}


def check_written(out: str) -> None:
    """One file for each image that was scored, however it is called."""
    ids = ["one", "../two", "folder/a b é%.png", "s3://x/y"]
    write_geojson(table([*map(scored, ids), failed("bad", "missing", "gone")]), out, 20)
    expected = {objects.join(out, "geojson", f"{safe_name(image_id)}.geojson"): image_id for image_id in ids}
    assert objects.list_uris(out) == sorted(expected)
    for uri, image_id in expected.items():
        read = json.loads(objects.read_bytes(uri))
        assert read == feature_collection(table([scored(image_id)]).to_pylist()[0], 20)
        assert read["features"][0]["properties"]["image_id"] == image_id


def test_every_scored_image_has_its_file(tmp_path: Path) -> None:
    check_written(str(tmp_path))


def test_in_a_bucket_too(s3: str) -> None:
    check_written(s3)
