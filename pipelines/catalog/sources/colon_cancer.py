"""CRCHistoPhenotypes 2016_04_28 (Sirinukunwattana et al. 2016): does the tissue hold epithelial nuclei?

Layout: `imgN/imgN.bmp` (or any other image extension) beside `imgN/imgN_epithelial.mat`, anywhere below `images`; in
the original under `Classification/`. An image is positive when the array `detection` of that file is not empty: 51 of
100. Its rows are the centres of the nuclei, (x, y) in pixels counted from 1, as in MATLAB.
"""

import io
import re
from dataclasses import dataclass
from typing import ClassVar

from scipy.io import loadmat

from pipelines.catalog.schema import Box, Entry
from pipelines.catalog.sources.listing import list_source, stratified_folds
from pipelines.errors import CatalogError
from pipelines.storage import images as images_
from pipelines.storage import objects

REACH = 6  # pixels around a nucleus within which the data's authors count a detection as right

_NUCLEI = re.compile(r"(.*/)?(img(\d+))/\2_epithelial\.mat$")


@dataclass(frozen=True)
class ColonCancer:
    """Colon cancer histology, 100 images, split into folds for cross-validation."""

    images: str
    """Directory or URI prefix that holds Classification/."""
    folds: int = 5
    """The splits are fold0, fold1...: each in turn is the test split."""
    seed: int = 0
    """Of the folds, which are stratified by class."""

    classes: ClassVar[tuple[str, ...]] = ("negative", "positive")
    view_size: ClassVar[tuple[int, int]] = (100, 100)

    def entries(self) -> list[Entry]:
        """One entry an image, img1 first. CatalogError when there are no annotations or one cannot be read."""
        uris = list_source(self.images)
        nuclei = sorted((int(m.group(3)), m.group(2), uri) for uri in uris if (m := _NUCLEI.match(uri)))
        if not nuclei:
            reason = "there is no imgN/imgN_epithelial.mat"
            raise CatalogError(self.images, reason, "Name the folder above Classification.")
        pictures = {uri.rsplit(".", 1)[0]: uri for uri in uris if images_.is_image(uri)}
        boxes = [nuclei_of(uri) for _, _, uri in nuclei]
        labels = [int(len(of_image) > 0) for of_image in boxes]
        folds = stratified_folds(labels, self.folds, self.seed)
        stems = [uri.removesuffix("_epithelial.mat") for _, _, uri in nuclei]
        return [
            Entry(
                image_id=name, uri=pictures.get(stem, f"{stem}.bmp"), label=label, split=f"fold{fold}", boxes=of_image
            )
            for (_, name, _), stem, label, fold, of_image in zip(nuclei, stems, labels, folds, boxes, strict=True)
        ]


def nuclei_of(uri: str) -> tuple[Box, ...]:
    """A box of 12 x 12 pixels around each nucleus of an annotation file; CatalogError when it cannot be read."""
    try:
        centres = loadmat(io.BytesIO(objects.read_bytes(uri)))["detection"]
        # Pixel 1 is the first, and its centre lies half a pixel from the edge.
        return tuple((y - REACH, x - REACH, y + REACH, x + REACH) for x, y in (centres - 0.5).tolist())
    except Exception as error:  # scipy raises what it meets in a damaged file
        reason = f"not an annotation ({type(error).__name__}: {error})"
        raise CatalogError(uri, reason, "Restore it from the original.") from error
