"""The process of a trial as Ray Tune drives it: from one report to the next, and one trial after another.

A class, and no function: Ray Train, which the training is, refuses to run inside of Tune's functions.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ray import tune
from ray.util.queue import Queue

from pipelines.tuning.trial import METRIC, Report, Shared, run_trial

END_S = 60.0  # that a stopped training may take to end before its process is given up


class TrialActor(tune.Trainable):
    """Runs trials one after the other: the next one finds everything imported, and the rows at hand."""

    def setup(self, config: dict[str, Any], shared: Shared) -> None:
        """Of a new process."""
        self.shared = shared
        self._begin(config["trial"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Of a process that is taken over; whether it can be."""
        if self.training.stop():
            self._begin(new_config["trial"])
            return True
        return False

    def _begin(self, name: str) -> None:
        elsewhere = self.shared.trials[name].options.num_workers > 0
        self.training = Training(lambda report: run_trial(name, self.shared, report), elsewhere=elsewhere)

    def step(self) -> dict[str, Any]:
        """The next report."""
        return self.training.next()

    def cleanup(self) -> None:
        """End what runs."""
        self.training.stop()


class Stopped(BaseException):
    """Raised in a training that Tune has stopped; no `except Exception` holds it up."""


class Training(threading.Thread):
    """Runs a trial, and after each report waits until the next one is asked for.

    Args:
        work: the trial, told where to report; what it returns is the end of the last report.
        elsewhere: whether reports come from other processes. These do not wait, nor can they be stopped.
    """

    def __init__(self, work: Callable[[Report], Mapping[str, Any]], *, elsewhere: bool) -> None:
        super().__init__(daemon=True)
        self.work, self.elsewhere = work, elsewhere
        self.reports: Any = Queue(actor_options={"num_cpus": 0}) if elsewhere else queue.Queue()
        self.asked, self.stopped = threading.Semaphore(0), False
        self.last: dict[str, Any] = {}

    def run(self) -> None:
        """The trial, and how it ended."""
        try:
            self.reports.put({**self.work(self.reports.put if self.elsewhere else self._report), "done": True})
        except Stopped:
            return
        except BaseException as error:  # raised where Tune sees it
            self.reports.put(error)

    def next(self) -> dict[str, Any]:
        """The next report, all that was said before in it; the last has "done". What ended the trial is raised."""
        if self.ident:
            self.asked.release()
        else:
            self.start()
        report = self.reports.get()
        if isinstance(report, BaseException):
            raise report
        if report.keys() & {"epoch", "error"}:  # a loss is that of its own epoch; what went wrong has none
            self.last.pop(METRIC, None)
        self.last |= report
        return dict(self.last)

    def stop(self) -> bool:
        """End it where it waits; whether it has ended."""
        self.stopped = True
        self.asked.release()
        if self.ident and not self.elsewhere:
            self.join(END_S)
        return not self.is_alive()

    def _report(self, row: Mapping[str, Any]) -> None:
        self.reports.put(dict(row))
        self.asked.acquire()
        if self.stopped:
            raise Stopped
