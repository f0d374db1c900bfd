"""What a scoring gave as a page: what became of the images, figures, those that the model is least certain of."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from ats_core.errors import AtsError
from pipelines.report.gallery import Picture, Seen, alternate
from pipelines.report.page.parts import html, shown
from pipelines.report.score_columns import Columns, measures_of
from pipelines.report.scored import scored_examples
from pipelines.report.scores import NO_CLASS, Scores
from pipelines.scoring.model import load
from pipelines.training.run_directory import RunDirectory, RunError

COLUMNS = {
    "status": "status",
    "images": "images",
    "share": "share",
    "n_patches": "patches an image",
    "requests": "requests an image",
    "megabytes": "MB an image",
    "image_id": "for example",
    "error": "and why",
}
FORMS = {"images": ",", "share": ".2%", "n_patches": ",.1f", "requests": ",.1f", "megabytes": ",.3f"}
LEAST = "those that it is least certain of"


def render_scores(
    scores: Scores,
    columns: Columns,
    figures: Mapping[str, Figure],
    pictures: Sequence[Picture],
    notes: Sequence[str] = (),
    made: str = "",
) -> str:
    """The page as HTML; see `render.Page`."""
    of_page = shown(figures, {scores.asked["task"]: pictures})
    rows = [_row(status, columns.images) for status in columns.by_status]
    sections = {"results": "Images", "figures": "Figures", "gallery": "Gallery", "runs": "Runs"}
    empty = {"figures": not figures, "gallery": not pictures}
    some_wrong = any(seen.example.right is False for picture in pictures for seen in picture.seen)
    which = f"{LEAST}, and those that it has wrong, the surest first" if some_wrong else LEAST
    context = of_page | {
        "title": scores.model,
        "kind": "scores",
        "facts": [{"of": ""} | fact for fact in _facts(scores, columns)],
        "sections": {id_: name for id_, name in sections.items() if not empty.get(id_)},
        "dashboard": "",
        "notes": notes,
        "table": {"columns": _titles(rows), "rows": rows},
        "looked": {
            "title": "What the model looked at",
            "lead": f"Images as the model sees them: {which}.",
            "error": "its",
        },
        "runs": [_origin(scores)],
        "made": made,
    }
    return html("scores.html.j2", context)


def pictures_of(scores: Scores, images: int) -> tuple[list[Picture], list[str]]:
    """The least certain images of a scoring and those that are wrong, in turn; and why others are missing."""
    chosen = alternate((scores.surest_wrong(images), scores.least_certain(images)), images)
    errors: dict[str, AtsError] = {}
    try:
        model, recipe = load(scores.asked["model"], own_networks=True)
        _check_same(scores, recipe.classes, model.view_size)
        found = list(scored_examples(scores.rows(chosen), model, scores.asked["catalog"], errors))
    except (AtsError, OSError) as error:  # the model may lie where the reader has no access
        return [], [f"There is no gallery. {error}"]
    notes = [f"The gallery is without {image_id}. {error}" for image_id, error in errors.items()]
    return [Picture(seen.image_id, seen.label, [Seen(scores.model, seen, {})]) for seen in found], notes


def strange_labels(columns: Columns) -> list[str]:
    """What to say of labels that the model knows no class of."""
    n = int((columns.label_n == NO_CLASS).sum())
    return [f"The labels of {n:,} images are no classes of the model: these count as wrong."] if n else []


def _check_same(scores: Scores, classes: Sequence[str], view_size: tuple[int, int]) -> None:
    if (tuple(classes), list(view_size)) != (scores.classes, scores.asked["view_size"]):
        raise RunError(scores.asked["model"], "it is another model than the one that scored", "Restore that one.")


def _facts(scores: Scores, columns: Columns) -> list[dict[str, str]]:
    """What is said first of all."""
    images, scored = columns.images, len(columns.said_n)
    facts = [
        {"name": "task", "value": scores.asked["task"].replace("_", " ")},
        {"name": "images", "value": f"{images:,}"},
        {"name": "scored", "value": f"{scored:,}", "of": "" if scored == images else f"{images - scored:,} failed"},
    ]
    labelled, found = int(columns.known_n.sum()), measures_of(columns)
    if "error" in found:
        of = "" if labelled == scored else f"of {labelled:,} with a label"
        facts.append({"name": "error", "value": found["error"].text(), "of": of})
    if "auroc" in found:
        facts.append({"name": "AUROC", "value": found["auroc"].text()})
    for name, form, among in (
        ("n_patches", ",.1f", scored),
        ("requests", ",.1f", images),
        ("megabytes", ",.2f", images),
    ):
        total = sum(status[name] for status in columns.by_status)
        facts.append({"name": COLUMNS[name], "value": format(total / max(among, 1), form)})
    return facts


def _row(status: Mapping[str, Any], images: int) -> dict[str, Any]:
    """A status as the table has it: numbers to sort by, and what is shown of them."""
    n, ok = status["images"], status["status"] == "ok"
    numbers = {"images": n, "share": n / images, "n_patches": status["n_patches"] / n if ok else None}
    numbers |= {name: status[name] / n for name in ("requests", "megabytes")}
    texts = {f"{name}_text": "" if x is None else format(x, FORMS[name]) for name, x in numbers.items()}
    example = {name: "" if ok else status[name] for name in ("image_id", "error")}
    return {"status": status["status"], "model": "", "best": ()} | numbers | texts | example


def _titles(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Examples where anything failed."""
    failed = any(row["image_id"] for row in rows)
    return {name: title for name, title in COLUMNS.items() if failed or name not in ("image_id", "error")}


def _origin(scores: Scores) -> dict[str, Any]:
    asked, summary = scores.asked, RunDirectory(scores.uri).read("summary.json") or {}
    took = f"{summary['wall_s']:,.1f} s, {summary['images_per_second']:,.1f} images/s" if summary else ""
    until = f", until {asked['until']:g}, at most {asked['max_patches']}" if asked["until"] is not None else ""
    facts = {
        "model": asked["model"],
        "images": asked["images"],
        "catalog": asked["catalog"],
        "patches": f"{asked['n_patches']}{until}",
        "seed": asked["seed"],
        "the last run of it took": took,
        "directory": scores.uri,
        "commit": summary.get("commit"),
    }
    said = {name: value for name, value in facts.items() if value not in (None, "")}
    return {"name": asked["model_digest"], "error": "" if summary else "not finished", "facts": said}
