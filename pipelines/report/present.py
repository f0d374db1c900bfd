"""The end of a training job: a short table and one figure."""

from collections.abc import Mapping
from typing import Any

from pipelines.report.examples import examples
from pipelines.report.figure import attention_figure
from pipelines.report.table import name_of, summary_table
from pipelines.storage import objects
from pipelines.training.run_directory import RunDirectory
from pipelines.training.train import in_turn

EXAMPLES = 6


def present(summary: Mapping[str, Any], catalog: str) -> None:
    """Print the table of a run and draw the figure of what its model looked at."""
    print(summary_table([summary]), flush=True)
    directory = RunDirectory(summary["run"])
    path = directory.path("figures/attention.png")
    title = f"{name_of(summary)}: test error {summary['test_error']:.3f}"
    predictions = directory.read("predictions.json")
    chosen = in_turn(predictions["image_ids"], predictions["labels"], EXAMPLES)
    seen = examples(directory, catalog, chosen, sampling=summary["eval_sampling"])
    objects.write_bytes(path, attention_figure(seen, title))
    print(f"figure: {path}", flush=True)
