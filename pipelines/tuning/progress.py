"""What is done of a sweep: written whenever a trial ends, and said in one line."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ray import tune

from pipelines.tuning import table
from pipelines.tuning.estimate import duration
from pipelines.tuning.plan import Trial
from pipelines.tuning.trial import METRIC, said

SAID = (("test error", "test_error", ".3f"), ("test loss", "test_loss", ".3f"), ("ms/image", "ms_per_sample", ".1f"))


class Progress(tune.Callback):
    """Hears of every trial from Tune.

    Args:
        sweep: URI of the sweep directory.
        trials: by name.
        rows: what is known of them so far.
        total: trials that there will be.
        seats: trials at once.
    """

    def __init__(
        self, sweep: str, trials: Mapping[str, Trial], rows: dict[str, dict[str, Any]], *, total: int, seats: int
    ) -> None:
        self.sweep, self.trials, self.rows, self.total = sweep, trials, rows, total
        self.began = time.monotonic()
        self.free_since = [self.began] * seats
        self.handed: dict[str, float] = {}
        self.startup_s: dict[str, float] = {}
        self.before = self.done

    @property
    def done(self) -> int:
        """Trials that need not run again."""
        return sum(row["status"] in table.ENDED for row in self.rows.values())

    def on_trial_start(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """The trial was handed to the cluster when its seat became free, and its process may have started since."""
        self.handed[trial.config["trial"]] = self.free_since.pop(0) if self.free_since else time.monotonic()

    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: Mapping[str, Any], **info: Any
    ) -> None:
        """The first epoch that is trained, and not replayed, says when training began."""
        name = trial.config["trial"]
        if "seconds" in result and METRIC not in result:
            self.startup_s.setdefault(name, time.monotonic() - result["seconds"] - self.handed[name])

    def on_trial_complete(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """Trained to its end, refused, or stopped by the scheduler."""
        of = self.trials[trial.config["trial"]]
        summary, error = of.summary(), trial.last_result.get("error", "")
        status = "finished" if summary else "failed" if error else "stopped"
        self.ended(of, status, error=error, summary=summary)

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """Given up, after it was tried again."""
        error = trial.get_pickled_error()
        self.ended(self.trials[trial.config["trial"]], "failed", error=said(getattr(error, "cause", None) or error))

    def on_trial_recover(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """It failed, and will be tried again from its last checkpoint."""
        self.free_since.append(time.monotonic())

    def ended(self, trial: Trial, status: str, *, error: str = "", summary: Mapping[str, Any] | None = None) -> None:
        """Note it, write the results, and say so."""
        self.free_since.append(time.monotonic())
        if self.rows.get(trial.name, {}).get("status") in table.ENDED:  # only replayed
            return
        startup_s = self.startup_s.get(trial.name)
        run = trial.run if trial.began() else ""
        row = table.row_of(trial, status, error=error, run=run, startup_s=startup_s, summary=summary)
        self.rows[trial.name] = row
        table.write(self.sweep, list(self.rows.values()))
        print(self.line(row), flush=True)

    def line(self, row: Mapping[str, Any]) -> str:
        """A trial that has ended, how many have, and how long the rest will take at this pace."""
        started = "" if row["startup_s"] is None else f", started in {row['startup_s']:.1f} s"
        measures = ", ".join(f"{title} {row[key]:{form}}" for title, key, form in SAID if row.get(key) is not None)
        what = {"finished": measures, "failed": row["error"]}.get(row["status"], "stopped early")
        failed = sum(other["status"] == "failed" for other in self.rows.values())
        ended = self.done + failed
        here = ended - self.before
        left = (self.total - ended) * (time.monotonic() - self.began) / max(1, here)
        return f"[{ended}/{self.total}] {row['trial']}: {what}{started}; {duration(left)} to go"
