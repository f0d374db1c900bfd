"""What the sources share: listing a data set, and dealing its images out to splits."""

import random
from collections.abc import Sequence

from pipelines.errors import CatalogError
from pipelines.storage import objects
from pipelines.storage.objects import ObjectStat

TEST_SHARE = 5  # one image in five tests, where the data set does not say


def list_source(where: str) -> list[str]:
    """All files below a folder or prefix, or that match a glob; CatalogError when there are none."""
    return list(list_stats(where))


def list_stats(where: str) -> dict[str, ObjectStat]:
    """The same, with sizes and etags as far as the listing has them.

    A local name that is no text (Linux takes any bytes) is there with these escaped: as that it will be missing, where
    otherwise no row could be written.
    """
    try:
        found = objects.list_stats(where)
    except FileNotFoundError as error:
        raise CatalogError(where, "there are no files", "Check --images: a folder, a prefix or a glob.") from error
    return {uri.encode(errors="backslashreplace").decode(): stat for uri, stat in found.items()}


def stratified_folds(labels: Sequence[int], folds: int, seed: int, groups: Sequence[str] = ()) -> list[int]:
    """The fold of each image: every class spread evenly, no group (where it is not "") in two folds.

    Images of a class are shuffled by the seed and dealt out like cards, each class going on where the last one stopped;
    a group is dealt as one card, with its first image's class. CatalogError for fewer folds than two.
    """
    if folds < 2:
        raise CatalogError(f"{folds} folds", "one of several is tested on", "Check --folds.")
    cards = [group or index for index, group in enumerate(groups or [""] * len(labels))]
    label_of: dict[str | int, int] = {}
    for card, label in zip(cards, labels, strict=True):
        label_of.setdefault(card, label)
    deck, rng = sorted(label_of, key=label_of.__getitem__), random.Random(seed)
    rng.shuffle(deck)
    deck.sort(key=label_of.__getitem__)  # stable: shuffled within a class
    fold_of = {card: i % folds for i, card in enumerate(deck)}
    return [fold_of[card] for card in cards]


def stratified_split(labels: Sequence[int], seed: int, groups: Sequence[str] = ()) -> list[str]:
    """ "train" or "test" for each image, one in five to test, stratified; "" for the unlabelled (-1)."""
    labelled = [i for i, label in enumerate(labels) if label >= 0]
    of_labelled = [groups[i] for i in labelled] if groups else ()
    folds = stratified_folds([labels[i] for i in labelled], TEST_SHARE, seed, of_labelled)
    splits = [""] * len(labels)
    for i, fold in zip(labelled, folds, strict=True):
        splits[i] = "train" if fold else "test"
    return splits
