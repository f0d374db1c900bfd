"""What kills the process that works on it: neither tried for ever, nor the loss of its neighbours."""

import logging
from collections.abc import Callable

import pyarrow as pa
import ray
from ray._private.worker import global_worker

LOST = "lost: the processes that worked on it died"
MAX_RETRIES = 2  # of a task whose process has died

log = logging.getLogger(__name__)


def retries() -> int:
    """How often the task that this runs in was begun before; 0 outside of Ray, which has no public name for it."""
    return global_worker.core_worker.get_current_task_attempt_number() if global_worker.connected else 0


def surviving(
    step: Callable[[pa.Table], pa.Table], rows: pa.Table, without: Callable[[pa.Table], pa.Table]
) -> pa.Table:
    """A step inside of a task of Ray, which Ray begins again without end as long as its process dies of it.

    Where that has died again and again, each row is worked on by a process of its own.

    Args:
        step: of some rows together, or of one; what it raises is raised.
        rows: one at least.
        without: what to give for a row that kills its own process as often.
    """
    if retries() <= MAX_RETRIES:
        return step(rows)
    log.warning("%d rows are tried one by one: some of them may kill a process", len(rows))

    @ray.remote(max_retries=-1)  # kills for want of memory have a count of their own, which knows no end
    def alone(row: pa.Table) -> pa.Table:
        return step(row) if retries() <= MAX_RETRIES else without(row)

    return pa.concat_tables(ray.get([alone.remote(rows.slice(i, 1)) for i in range(len(rows))]))
