"""Where runs lie, and how they were made."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, fields
from shlex import quote
from typing import Any

from pipelines.report.results import READERS, Result, Results
from pipelines.training.options import TrainOptions
from pipelines.training.run_directory import RunDirectory


def origins_of(results: Results) -> list[dict[str, Any]]:
    """For each run its name, its error, and the facts that let one make it again."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(_origin, results.results))


def _origin(result: Result) -> dict[str, Any]:
    config = RunDirectory(result.run).read("config.json") if result.run else None
    facts = {
        "setting": result.row,
        "seed": result.summary.get("seed"),
        "test splits": ", ".join(result.summary.get("test_splits", ())),
        "directory": result.run,
        "commit": result.summary.get("commit"),
        "machine": result.summary.get("machine"),
        "command": options_text(config["options"]) if config and "options" in config else None,
    }
    said = {name: value for name, value in facts.items() if value not in (None, "")}
    return {"name": result.name, "error": result.error, "facts": said}


def options_text(options: Mapping[str, Any]) -> str:
    """The options of a run that are not the defaults, as one would write them: `--model cnn --view-size 250 250`."""
    defaults = {option.name: option.default for option in fields(TrainOptions) if option.default is not MISSING}
    given = {name: value for name, value in options.items() if name not in defaults or value != defaults[name]}
    return " ".join(_option(name, value) for name, value in given.items())


def _option(name: str, value: Any) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return " ".join([f"--{flag}", *(quote(str(v)) for v in (value if isinstance(value, list | tuple) else [value]))])
