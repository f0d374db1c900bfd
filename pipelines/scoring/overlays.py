"""What the model looked at in the images that it is least certain of: a picture each."""

import logging
from functools import partial

from ats_core.errors import AtsError
from ats_core.models import Model
from pipelines.report.examples import Example
from pipelines.report.figure import attention_figure
from pipelines.report.figures import write_file
from pipelines.report.scored import scored_examples
from pipelines.report.scores import scores_of
from pipelines.scoring.names import safe_name
from pipelines.storage import objects

log = logging.getLogger(__name__)


def write_overlays(out: str, model: Model, k: int, *, catalog: str | None) -> list[str]:
    """Write OUT/overlays/NAME.png of the k images of least margin between their probabilities; the URIs written.

    A picture has the view, the attention over it with the drawn patches as boxes, and the heaviest patches; NAME is the
    `safe_name` of the image. One that cannot be read any more is left out, with a warning.

    Args:
        out: of a scoring that has ended.
        model: that scored.
        k: pictures, at most.
        catalog: of the images, with their views; None where there is none.
    """
    scores, errors = scores_of(out), dict[str, AtsError]()
    chosen = scores.rows(scores.least_certain(k))
    write = partial(_write, objects.join(out, "overlays"), scores.asked["model_digest"])
    written = [write(example) for example in scored_examples(chosen, model, catalog, errors)]
    for image_id, error in errors.items():
        log.warning("there is no overlay of %s: %s", image_id, error)
    return written


def _write(folder: str, model: str, example: Example) -> str:
    uri = objects.join(folder, f"{safe_name(example.image_id)}.png")
    write_file(uri, attention_figure([example], f"{model}: {example.n_patches:,} patches"))
    return uri
