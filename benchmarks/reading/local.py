"""CPU of reading patches from local files, beside pyvips."""

import os
import time

import numpy as np

from benchmarks.reading.data import Data, Sample, reference
from benchmarks.reading.measure import Read
from benchmarks.reading.readers import Unfit, ours


def patch_reader(data: Data) -> Read:
    """PatchReader on the local files, with one thread that decodes."""
    return ours([reference(path, str(path)) for path in data.paths], data.patch, threads=1)


def pyvips(data: Data) -> Read:
    """Libvips with one thread, which opens an image every time as PatchReader does; Unfit where it is not installed."""
    os.environ["VIPS_CONCURRENCY"] = "1"
    try:
        import pyvips as vips
    except (ImportError, OSError) as error:  # OSError: the package without the library
        raise Unfit(f"{error}: pip install '.[bench]'") from error
    vips.cache_set_max(0)
    sides = (data.patch, data.patch)

    def read(numbers: list[int], starts_BN2: np.ndarray) -> np.ndarray:
        region = vips.Region.new(vips.Image.new_from_file(str(data.paths[numbers[0]]), access="random"))
        buffers = [region.fetch(x, y, *sides) for y, x in starts_BN2[0].tolist()]
        return np.stack([np.frombuffer(buffer, np.uint8).reshape(*sides, -1) for buffer in buffers])[None]

    return read


def cpu_ms(read: Read, sample: Sample) -> float:
    """CPU of one call."""
    began = time.process_time()
    read(*sample)
    return 1000 * (time.process_time() - began)
