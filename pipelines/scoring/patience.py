"""Waiting for a storage that is gone for a while: it restarts, or a network is mended."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from ats_core.errors import AtsError
from pipelines.storage.ranges import Network

PATIENT = Network(attempts=8)  # half a minute: a storage that restarts fails no image
PATIENCE_S = 60.0  # for what would fail many images at once
PAUSE_S = 2.0

T = TypeVar("T")

log = logging.getLogger(__name__)


def patiently(what: Callable[[], T], thing: str, patience_s: float = PATIENCE_S) -> T:
    """What it returns, tried again until it does; once patience is over, its last error. An AtsError is final.

    Args:
        what: may be done twice.
        thing: for the warnings.
        patience_s: no other try begins after so many seconds.
    """
    began = time.monotonic()
    while True:
        try:
            return what()
        except AtsError:
            raise
        except Exception as error:  # every storage has its own
            if time.monotonic() - began + PAUSE_S > patience_s:
                raise
            log.warning("%s: %s; trying again", thing, error)
            time.sleep(PAUSE_S)
