"""What the label of an image is, by its five digits: the tasks of Katharopoulos & Fleuret 2019 and Bergner et al. 2023.

majority   the digit that occurs three times
max        the largest digit
top        the digit that lies topmost; of two in one row of pixels the one placed first
multi      which digits occur: ten labels, each yes or no

Shape suffixes: N images; 5 digits, y the row of a digit's upper left corner.
"""

from typing import Literal

import numpy as np

from pipelines.catalog.sources.digits.pictures import CLASSES

Labels = Literal["majority", "max", "top", "multi"]


def labels_of(rule: Labels, digits_N5: np.ndarray, y_N5: np.ndarray) -> np.ndarray:
    """int64 [N], a digit for each image; of "multi" bool [N, 10]."""
    counts_N10 = (digits_N5[:, :, None] == np.arange(len(CLASSES))).sum(axis=1)
    if rule == "multi":
        return counts_N10 > 0
    if rule == "majority":
        return counts_N10.argmax(axis=1)
    if rule == "max":
        return digits_N5.max(axis=1).astype(np.int64)
    return digits_N5[np.arange(len(digits_N5)), y_N5.argmin(axis=1)].astype(np.int64)


def deciding(rule: Labels, digits_N5: np.ndarray, y_N5: np.ndarray) -> np.ndarray:
    """bool [N, 5]: the digits to look at: the three, those that are largest, the topmost one; of "multi" all."""
    if rule == "multi":
        return np.ones(digits_N5.shape, bool)
    if rule == "top":
        return y_N5.argmin(axis=1)[:, None] == np.arange(digits_N5.shape[1])
    return digits_N5 == labels_of(rule, digits_N5, y_N5)[:, None]
