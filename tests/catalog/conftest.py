"""Small images on the fly."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.storage import objects


def picture(suffix: str, height: int = 12, width: int = 16, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer := io.BytesIO(), {"jpg": "jpeg"}.get(suffix, suffix))
    return buffer.getvalue()


@pytest.fixture
def write_images() -> Callable[..., None]:
    """Writes an image for each name, in the format of its suffix, below a folder or prefix."""

    def write(folder: str | Path, *names: str, height: int = 12, width: int = 16) -> None:
        for seed, name in enumerate(names):
            data = picture(name.rsplit(".", 1)[1].lower(), height, width, seed)
            objects.write_bytes(objects.join(str(folder), name), data)

    return write
