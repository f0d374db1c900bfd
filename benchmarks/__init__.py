"""One script a claim: `python -m benchmarks.NAME` prints a table, then one JSON line, and keeps it in `results/`."""
