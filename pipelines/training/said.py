"""What a training says of itself."""

from collections.abc import Mapping
from typing import Any


def describe(row: Mapping[str, Any], epochs: int) -> str:
    """An epoch in one line, with units."""
    line = (
        f"epoch {row['epoch']}/{epochs}: loss {row['train_loss']:.3f}, {row['images_per_second']:.1f} images/s, "
        f"{row['ms_per_sample']:.0f} ms/image, {row['requests_per_image']:.1f} requests/image, "
        f"{row['mb_per_image']:.2f} MB/image, waited {row['read_wait_s']:.1f} s for patches"
    )
    if "test_error" in row:
        line += f"; test error {row['test_error']:.3f}, test loss {row['test_loss']:.3f}"
    if "patches_on_box" in row:
        line += f", patches on a box {row['patches_on_box']:.3f} (uniform {row['patches_on_box_uniform']:.3f})"
    return line
