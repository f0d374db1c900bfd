"""What scoring a bucket costs, saves and survives.

    python -m benchmarks.scoring             cost beside whole images, a whole grid and Ray Data's own pipeline
    python -m benchmarks.scoring.profile     which processes and functions take the CPU of a scoring job
    python -m benchmarks.scoring.adaptive    patches that `--until` saves, and how true its standard error is
    python -m benchmarks.scoring.drills      whatever is killed, the rows are those of an undisturbed run
    python -m benchmarks.scoring.memory      of a hundred thousand images as of twenty thousand

cost       data (images from small to huge, the models), driver (a Ray that is asked to score), bench (all of that at
           work), whole_images, read_images and whole_grid (the baselines), plain (processes of those without Ray),
           ways (all that score), limits (the least it can take), cells (rows of the table), claims
savings    prefixes (what a model says after every number of patches), savings, adaptive_figures
survival   small_images (a bucket as buckets are), disturbances (whom to kill), rows (where scores differ)
all        jobs (a job as a user starts it), processes (their CPU and memory)
"""
