"""Images that others wrote: from the catalog's way of opening them to patches, against a plain decode."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.catalog.opened import dump_index, open_image
from pipelines.storage.patches import ImageRef, PatchReader
from pipelines.storage.stats import Counters

NAMES = ("CMU-1-Small-Region.svs", "small_HE_levels.tiff", "cog_rgb.tif")
PATCH = 64


def reference(uri: str) -> ImageRef:
    """As a catalog has it."""
    image, counters = open_image(uri, Counters()), Counters()
    (height, width), index = image.sizes[0], dump_index(image, counters, checksums=True)
    return ImageRef(uri, height, width, 3, image.stat.etag, image.stat.size, index)


@pytest.fixture(scope="module")
def slides(shared_data: Path) -> dict[str, tuple[ImageRef, np.ndarray]]:
    """References, and the decoded images with a border of PATCH zeros."""
    border = ((PATCH, PATCH), (PATCH, PATCH), (0, 0))
    paths = [shared_data / "slides" / name for name in NAMES]
    return {path.name: (reference(str(path)), np.pad(tifffile.imread(path), border)) for path in paths}


@settings(max_examples=40, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_patches_are_those_of_a_plain_decode(slides, name: str, data: st.DataObject) -> None:
    image, padded = slides[name]
    near = [st.integers(-PATCH // 2, side + PATCH // 2 - 1) for side in (image.height, image.width)]
    centres = np.array([data.draw(st.lists(st.tuples(*near), min_size=1, max_size=4))])
    patches, inside = PatchReader(PATCH).read([image], centres)
    for patch, within, (y, x) in zip(patches[0].numpy(), inside[0].numpy(), centres[0].tolist(), strict=True):
        top, left = y - PATCH // 2 + PATCH, x - PATCH // 2 + PATCH
        np.testing.assert_array_equal(patch, padded[top : top + PATCH, left : left + PATCH])
        assert within.sum() == np.prod(
            [min(at + PATCH, PATCH + side) - max(at, PATCH) for at, side in ((top, image.height), (left, image.width))]
        )


def test_a_map_of_648_megapixels_in_little_memory(shared_data: Path) -> None:
    """Decoded it takes 1.9 GB; opening it, its view and 200 patches may take a twentieth."""
    code = f"""
import resource
import numpy as np
from pipelines.catalog.opened import dump_index, open_image
from pipelines.storage.patches import ImageRef, PatchReader
from pipelines.storage.stats import Counters
uri = {str(shared_data / "slides" / "cog_world.tif")!r}
PatchReader(100).read([ImageRef({str(shared_data / "slides" / "cog_rgb.tif")!r}, 232, 383)], np.full((1, 1, 2), 99))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image = open_image(uri, Counters())
assert image.sizes[0] == (18_000, 36_000)
assert 0 < image.view((500, 1000)).mean() < 1  # of zeros and ones
reference = ImageRef(uri, *image.sizes[0], 3, image.stat.etag, image.stat.size, dump_index(image, Counters()))
centres = np.random.default_rng(0).integers(0, (18_000, 36_000), (20, 1, 10, 2))
reader = PatchReader(100)
assert any(reader.read([reference], some)[0].any() for some in centres)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
assert grown < 96, f"{{grown:.0f}} MiB"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
