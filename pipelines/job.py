"""What every job has in common: typed options, a cluster, errors that a person can act on."""

import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

import ray
import tyro
from botocore.exceptions import BotoCoreError
from ray.data import DataContext

from ats_core.errors import AtsError

Options = TypeVar("Options")


def run(main: Callable[[Options], None], options: type[Options], description: str | None) -> None:
    """Parse the command line and run a job; bad input ends it with one line and exit code 2.

    So does a storage that cannot be reached, or does not let anybody in.
    """
    parsed = tyro.cli(options, description=description)
    try:
        main(parsed)
    except AtsError as error:
        _end(f"{type(error).__name__}: {error}")
    except (ConnectionError, PermissionError, BotoCoreError) as error:
        logging.getLogger(__name__).debug("", exc_info=error)
        _end(f"{type(error).__name__}: {error}. Check the URI, the endpoint and the credentials, and run this again.")


def _end(why: str) -> NoReturn:
    print(why, file=sys.stderr, flush=True)
    sys.exit(2)


def connect() -> None:
    """Join the cluster that the environment names, or start one on this machine."""
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # else every line that a trainer prints comes twice
    quieten()
    ray.init()
    DataContext.get_current().enable_progress_bars = sys.stderr.isatty()


def quieten() -> None:
    """Leave out what Ray Data says of every plan and Ray Train of every report; their warnings stay."""
    for library in ("ray.data", "ray.train"):
        logging.getLogger(library).setLevel(logging.WARNING)
