#!/usr/bin/env python3
"""Make one HTML page of what runs gave: table, figures, what the models looked at, what it cost.

Of a run, of a sweep, of a folder with several of either, or of the scores of a bucket; finished or not; locally or in
a bucket:

    jobs/make_report.py --results runs --out report
    jobs/make_report.py --results runs/sweeps/NAME --out s3://bucket/report --n-images 24
    jobs/make_report.py --results runs/colon_cancer-ats-10-seed0-1b063d51 --out report
    jobs/make_report.py --results s3://bucket/scores --out report

It opens report.html anywhere, without a network; the figures lie beside it as PNG and PDF. No cluster is needed.
"""

from dataclasses import dataclass

from ats_core.errors import RecipeError
from pipelines.job import run
from pipelines.report.page.write import write_report
from pipelines.storage import objects


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of make_report."""

    results: str
    """Folder or URI of a run (it has a config.json), of a sweep, of several of them, as a training job's --out, or of
    scores, the --out of jobs/score_bucket.py."""
    out: str
    """Folder or URI (s3://...) for report.html and figures/; files of the same name are replaced."""
    n_images: int = 12
    """Images in the gallery of each task, of scores the least certain and the wrong ones; 0 leaves it out, and then
    neither models nor images are read."""
    n_models: int = 6
    """Settings side by side in the gallery; of more, the best of each model first."""

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing."""
        for name, least in (("n_images", 0), ("n_models", 1)):
            if (number := getattr(self, name)) < least:
                remedy = f"Check --{name.replace('_', '-')}."
                raise RecipeError(f"{name} {number}", f"it must be at least {least}", remedy)


def main(options: Options) -> None:
    """The page, and where it is."""
    path = write_report(
        options.results, objects.absolute(options.out), images=options.n_images, models=options.n_models
    )
    print(f"report: {path}", flush=True)


if __name__ == "__main__":
    run(main, Options, __doc__)
