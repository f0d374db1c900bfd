"""Joining a Ray cluster, with its own messages kept out of ours."""

import logging
import os
import sys

import ray
from ray.data import DataContext


def connect() -> None:
    """Join the cluster that the environment names, or start one on this machine."""
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # else every line that a trainer prints comes twice
    quieten()
    ray.init()
    DataContext.get_current().enable_progress_bars = sys.stderr.isatty()


def quieten() -> None:
    """Leave out what Ray Data says of every plan that it runs; its warnings stay."""
    logging.getLogger("ray.data").setLevel(logging.WARNING)
