"""An image from anywhere -> a tiled pyramid anywhere else, of which a patch costs the tiles that it touches.

TIFFs and slides pass through by bands: their size is not bounded by memory. Other formats are decoded whole, up to
`images.MAX_PIXELS`. 8-bit colour becomes JPEG unless asked otherwise, whatever it was. Lossless always:

    grey          one value a pixel, 8 or 16 bit, larger is brighter; masks of 1 bit become 0 and 255
    palettes      as RGB
    16-bit RGB    of TIFF without alpha as it is; of PNG, and with alpha, the 8 bit that `images` makes of it. Of
                  JPEG 2000 and PPM it counts as 8-bit colour
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tifffile

from pipelines.catalog.opened import open_image
from pipelines.errors import ImageError
from pipelines.storage import objects
from pipelines.storage.pyramid import QUALITY, SOFTWARE, TILE, Codec, write_pyramid
from pipelines.storage.ranges import DEFAULT, Network, RangeFile, stat
from pipelines.storage.stats import Counters


@contextmanager
def converted(
    uri: str, target: str, counters: Counters, network: Network = DEFAULT, *, codec: Codec = "jpeg"
) -> Iterator[str]:
    """Makes `target` the pyramid of an image; in the body of a `with`, the value is the nearest place to read it from.

    Nothing is done where the target says that it was made of the same bytes in the same way, so that what was
    interrupted goes on where it stood. A target appears when it is complete, or not at all.

    Raises:
        ImageError: the image cannot be read.
        OSError: the target cannot be written.
    """
    etag = stat(uri, network, counters).etag
    told = {"source": uri, "etag": etag, "codec": codec, "quality": QUALITY, "tile": TILE, "software": SOFTWARE}
    if _description(target, counters, network) == told:
        yield target
    elif objects.is_local(target):
        path = objects.absolute(target)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        _write(uri, path, told, counters, network)
        yield path
    else:
        with tempfile.TemporaryDirectory(prefix="convert-") as folder:
            path = str(Path(folder) / "pyramid.tif")
            _write(uri, path, told, counters, network)
            objects.upload(path, target)
            yield path


def _write(uri: str, path: str, told: dict[str, Any], counters: Counters, network: Network) -> None:
    image = open_image(uri, counters, network)
    bands = (band for _, band in image.bands(0, False))
    settings = {name: told[name] for name in ("quality", "tile")} | {"codec": "zstd" if image.exact else told["codec"]}
    write_pyramid(bands, image.sizes[0], path, **settings, description=json.dumps(told))


def _description(target: str, counters: Counters, network: Network) -> Any:
    """What the target says of how it was made; None where there is no such thing."""
    try:
        file = RangeFile(target, stat(target, network, counters), counters, network)
        with tifffile.TiffFile(file) as tiff:
            return json.loads(tiff.pages.first.description)
    except ImageError as error:
        if error.status not in ("missing", "denied"):  # who may not list, is refused what is not there
            raise
        return None
    except Exception:  # another file of this name, to be replaced: damage raises IndexError, TypeError, struct.error...
        return None
