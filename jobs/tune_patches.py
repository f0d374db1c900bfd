#!/usr/bin/env python3
"""Turn the dial between compute and error: train models over patch counts, estimators, views, patch sizes and seeds.

Every list is an axis, and every combination a trial, but those that are the same training, as `uniform` at two entropy
weights, are trained once. The same command goes on where it was interrupted:

    jobs/tune_patches.py --task colon_cancer --images DIR --models ats uniform cnn --n-patches 5 10 50 --seeds 0 1 2
    jobs/tune_patches.py --task colon_cancer --images DIR --dry-run
    jobs/tune_patches.py --catalog s3://bucket/catalog --task speed_limits --estimators unordered iid --asha
    jobs/tune_patches.py --catalog URI --entropy-weights 0 .01 .1 --search optuna --samples 20
    ray job submit --working-dir . -- jobs/tune_patches.py --smoke --out s3://bucket/runs

Results: OUT/sweeps/NAME/results.parquet and results.csv, a row a trial; the runs themselves lie in OUT.
"""

from pipelines.job import connect, run
from pipelines.tuning import table
from pipelines.tuning.data import data_of
from pipelines.tuning.dry_run import dry_run
from pipelines.tuning.options import SweepOptions
from pipelines.tuning.sweep import results, room, sweep


def main(options: SweepOptions) -> None:
    """The trials, or, for a dry run, what they would take; a table of means."""
    connect()
    if options.dry_run:
        print(dry_run(options, data_of(options), *room(options)), flush=True)
        return
    uri = sweep(options)
    rows = results(uri)
    print(table.means(rows), flush=True)
    print(f"results: {uri}/results.parquet, results.csv", flush=True)


if __name__ == "__main__":
    run(main, SweepOptions, __doc__)
