"""What the sources that make their images share: a folder that knows its settings, and a word on how far it is."""

import io
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from PIL import Image

from pipelines.errors import CatalogError
from pipelines.storage import objects

T = TypeVar("T")
_JPEG_QUALITY = 90
_THREADS = 4  # Pillow resizes and encodes without the GIL but draws with it: more would only wait for it


@dataclass(frozen=True, slots=True)
class GeneratedFolder:
    """A folder or prefix of generated images: a marker of the settings is written first, another file last.

    So no half of a data set passes for the whole, and none for one of other settings.
    """

    folder: str
    marker: str
    """Name of the JSON file of the settings."""
    settings: Mapping[str, Any]
    """All that the images depend on."""
    last: str
    """Name of the file that is written once all images are there."""

    def is_complete(self) -> bool:
        """Whether all images are there; an interrupted generation is none, it is begun again.

        CatalogError when the folder holds anything else, images of other settings included.
        """
        marker = objects.join(self.folder, self.marker)
        if not objects.exists(marker):
            if _holds_files(self.folder):
                raise CatalogError(self.folder, f"holds files, but no {self.marker}", "Name an empty folder")
            return False
        found, wanted = json.loads(objects.read_bytes(marker)), json.loads(self._text())  # tuples become lists
        other = [f"{key} {found.get(key)}, not {wanted[key]}" for key in wanted if found.get(key) != wanted[key]]
        if other:
            reason = f"holds images of other settings ({', '.join(other)})"
            raise CatalogError(self.folder, reason, "Name another folder, or delete this one")
        return objects.exists(objects.join(self.folder, self.last))

    def begin(self) -> None:
        """Writes the marker."""
        objects.write_bytes(objects.join(self.folder, self.marker), self._text().encode())

    def fill(self, parts: Mapping[str, int], write: Callable[[int, int], str], what: str) -> None:
        """Writes the images of each part, on a few threads, and then its listing, as `last` is of the last part.

        Args:
            parts: sub-folders, and how many images each has.
            write: writes an image, by the numbers of its part and of itself; gives its lines of the listing.
            what: to call the images in the progress report.
        """
        self.begin()
        listing = self.last.rsplit("/", 1)[-1]
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="generate") as pool:
            for part, (name, n) in enumerate(parts.items()):
                lines = pool.map(partial(write, part), range(n))
                text = "".join(with_progress(lines, n, f"{what}, {name}"))
                objects.write_bytes(objects.join(self.folder, name, listing), text.encode())

    def _text(self) -> str:
        return json.dumps(self.settings, indent=2)


def _holds_files(where: str) -> bool:
    try:
        return bool(objects.list_uris(where))
    except FileNotFoundError:
        return False


def with_progress(items: Iterable[T], n: int, what: str, seconds: float = 5.0) -> Iterator[T]:
    """Passes on what comes of n images, with a report on stderr every few seconds and at the end."""
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last > seconds or done == n:
            last = now
            rate = done / max(now - start, 1e-9)
            print(f"{what}: {done}/{n} images, {rate:.1f} images/s", file=sys.stderr, flush=True)


def write_jpeg(uri: str, image: Image.Image) -> None:
    """As a camera would."""
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    objects.write_bytes(uri, jpeg.getvalue())
