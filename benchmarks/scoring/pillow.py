"""What the workers of Ray Data's `read_images` are told; it imports nothing else, since all of them do so first."""

from PIL import Image

UNLIMITED = f"{__name__}.unlimited"


def unlimited() -> None:
    """Pillow refuses images of more than 179 megapixels unless each process is told otherwise."""
    Image.MAX_IMAGE_PIXELS = None
