"""The test images that tell most, each as several models see it: wrong, least certain and surely right ones.

Made of views and drawn patches alone, without Ray.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest

import numpy as np
from scipy.special import softmax
from tqdm import tqdm

from ats_core.errors import AtsError
from pipelines.report.estimates import best_first, finished
from pipelines.report.examples import Example, examples
from pipelines.report.results import READERS, Result
from pipelines.report.runs import RunError, attention_epochs, attention_maps, catalog_of
from pipelines.training.run_directory import RunDirectory

EPOCHS = 6

Maps = Mapping[int, Mapping[str, np.ndarray]]
"""Attention [rows, columns] by epoch, ascending, and image."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One image as the model of one row sees it."""

    row: str
    example: Example
    maps: Mapping[int, np.ndarray]
    """Attention [rows, columns] over the example's grid by epoch, ascending; empty where the run kept none."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One test image, by every model that is shown."""

    image_id: str
    label: str
    seen: Sequence[Seen]


@dataclass(frozen=True, slots=True)
class _Said:
    """What a run's evaluation said: of n images the right class, and the probabilities [n, C]."""

    result: Result
    labels: Mapping[str, int]
    p_nC: np.ndarray


def gallery_of(
    results: Sequence[Result], *, images: int = 12, models: int = 6, epochs: int = EPOCHS, seed: int = 0
) -> tuple[list[Picture], dict[str, AtsError]]:
    """Some test images by one run a row, side by side, and by the name of each run that is left out, why.

    There are no pictures where no run has finished. The runs are those of the test split that most rows have in
    common. Images are taken in turn from those whose attention was kept through training, those that a model has
    wrong, those that are least certain, and the rest, surest first. A run is left out whose model, catalog or images
    are not where its settings say, or which says no probabilities.

    Args:
        results: runs of one task.
        images: pictures, at most.
        models: runs side by side, at most; the best row of each model before the second best of any.
        epochs: maps of each image, at most, evenly among those that its run kept.
        seed: of the draws.
    """
    errors: dict[str, AtsError] = {}
    with ThreadPoolExecutor(READERS) as pool:
        of_runs = pool.map(partial(_said, errors), (result for result in finished(results) if result.run))
        of_rows = _of_one_split([said for said in of_runs if said])
    said = _side_by_side(of_rows, results, models)
    if not said:
        return [], dict(sorted(errors.items()))
    maps = [_maps(one.result.run, epochs) for one in said]
    chosen = alternate((_kept(maps), *_telling(said)), images)
    runs = tqdm(zip(said, maps, strict=True), "gallery", total=len(said), unit="model", disable=None)
    columns = [column for one, of_run in runs if (column := _seen(errors, one.result, chosen, of_run, seed))]
    side_by_side = zip(*columns, strict=True)
    pictures = [Picture(seen[0].example.image_id, seen[0].example.label, seen) for seen in side_by_side]
    return pictures, dict(sorted(errors.items()))


def alternate(lists: Iterable[Sequence[str]], n: int) -> list[str]:
    """The first of each list, the second of each, and so on, without repetition, up to n."""
    every = chain.from_iterable(zip_longest(*lists))
    return list(dict.fromkeys(image_id for image_id in every if image_id is not None))[:n]


@contextmanager
def _noting(errors: dict[str, AtsError], result: Result) -> Iterator[None]:
    """An error of a run is its own: the others are shown."""
    try:
        yield
    except AtsError as error:
        errors[result.name] = error


def _said(errors: dict[str, AtsError], result: Result) -> _Said | None:
    """None with an error."""
    with _noting(errors, result):
        predictions = RunDirectory(result.run).read("predictions.json")
        if predictions is None:
            raise RunError(result.run, "there is no predictions.json", "Train it with this version, or leave it out.")
        labels = dict(zip(predictions["image_ids"], predictions["labels"], strict=True))
        p_nC = softmax(np.array(predictions["logits"]), axis=-1)
        _check_finite(result, p_nC)
        return _Said(result, labels, p_nC)
    return None


def _check_finite(result: Result, p: np.ndarray | Sequence[float]) -> None:
    if not np.isfinite(p).all():
        raise RunError(result.run, "its model says no finite probabilities", "Its training diverged: leave it out.")


def _of_one_split(said: Sequence[_Said]) -> dict[str, _Said]:
    """One run a row, all of the test split that most rows share."""
    of_split: dict[frozenset[tuple[str, int]], dict[str, _Said]] = {}
    for one in said:
        of_split.setdefault(frozenset(one.labels.items()), {}).setdefault(one.result.row, one)
    return max(of_split.values(), key=len, default={})


def _side_by_side(said: Mapping[str, _Said], results: Sequence[Result], most: int) -> list[_Said]:
    """Of the best rows, in the order of the results."""
    shown = best_first({row: [result for result in results if result.row == row] for row in said})[:most]
    return [one for row, one in said.items() if row in shown]


def _maps(run: str, most: int) -> Maps:
    """Of epochs evenly among those that a run kept; none of a model that looks everywhere alike, or has no cells."""
    try:
        kept = attention_epochs(run)
    except RunError:  # says that there are none
        return {}
    places = np.linspace(0, len(kept) - 1, min(most, len(kept))).round().astype(int)
    maps = {kept[i]: attention_maps(run, kept[i]) for i in places}
    return maps if any(np.ptp(a) > 0 for of_images in maps.values() for a in of_images.values()) else {}


def _kept(maps: Sequence[Maps]) -> list[str]:
    """Ids of the images of which the first model that kept any attention kept it."""
    return next((list(of_images) for of_run in maps for of_images in of_run.values()), [])


def _telling(said: Sequence[_Said]) -> tuple[list[str], list[str], list[str]]:
    """Ids of the images that any model has wrong, worst first; of all, least certain first; of all, surest first."""
    ids = list(said[0].labels)
    wrong, margin = Counter(dict.fromkeys(ids, 0)), Counter(dict.fromkeys(ids, 0.0))
    for one in said:
        for (image_id, label), p_C in zip(one.labels.items(), one.p_nC, strict=True):
            second, first = np.sort(p_C)[-2:]
            wrong[image_id] += int(p_C.argmax()) != label
            margin[image_id] += first - second
    surest = sorted(ids, key=lambda image_id: -margin[image_id])
    worst = sorted((image_id for image_id in surest if wrong[image_id]), key=lambda image_id: -wrong[image_id])
    return worst, surest[::-1], surest


def _seen(errors: dict[str, AtsError], result: Result, image_ids: Sequence[str], maps: Maps, seed: int) -> list[Seen]:
    """The images in the order given; none with an error."""
    sampling = result.summary.get("eval_sampling", "drawn")
    with _noting(errors, result):
        found = examples(RunDirectory(result.run), catalog_of(result.run), image_ids, sampling=sampling, seed=seed)
        _check_finite(result, [example.probability for example in found])
        return [Seen(result.row, example, _of_image(maps, example.image_id)) for example in found]
    return []


def _of_image(maps: Maps, image_id: str) -> dict[int, np.ndarray]:
    return {epoch: of_images[image_id] for epoch, of_images in maps.items() if image_id in of_images}
