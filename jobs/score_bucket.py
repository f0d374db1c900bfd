#!/usr/bin/env python3
"""Score every image of a bucket, or of a folder, by a trained model: a Parquet row an image, none missing, none twice.

Only a low-resolution view and a few patches of each image are read. The same command goes on where it was interrupted,
and scores again what has changed since, the model included. An image that cannot be read is a row with its error.

    jobs/score_bucket.py --model runs/RUN --images s3://bucket/prefix --out s3://bucket/scores
    jobs/score_bucket.py --model runs/RUN --images runs/catalogs/CATALOG --splits test --out scores
    jobs/score_bucket.py --model runs/RUN --images list.txt --until 0.1 --max-patches 100 --out scores
    jobs/score_bucket.py --model runs/RUN --images 'photos/*.jpg' --overlays 12 --geojson --out scores
    jobs/score_bucket.py --model runs/RUN --images s3://bucket/prefix --check --out scores
    ray job submit --working-dir . -- jobs/score_bucket.py --model URI --images URI --out URI

Results: OUT/scores/*.parquet, OUT/summary.json. Columns and all else that it writes: docs/scoring.md.
"""

from pipelines.job import connect, run
from pipelines.scoring.options import ScoreOptions
from pipelines.scoring.score import check_images, refuse_failures, score
from pipelines.scoring.summary import table


def main(options: ScoreOptions) -> None:
    """The scores, and what they are together."""
    connect()
    if options.check:
        print(check_images(options).table(), flush=True)
        print(f"every image: {options.out}/check.parquet", flush=True)
        return
    summary = score(options)
    print(table(summary), flush=True)
    print(f"scores: {options.out}/scores", flush=True)
    refuse_failures(summary, options)


if __name__ == "__main__":
    run(main, ScoreOptions, __doc__)
