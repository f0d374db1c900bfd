"""What a sweep would do, without doing it."""

from pipelines.tuning.data import Data
from pipelines.tuning.estimate import duration, estimates
from pipelines.tuning.options import SweepOptions
from pipelines.tuning.plan import trials_of
from pipelines.tuning.resources import Needs

NOTES = {
    "a finished run": "as long as a finished trial of the same setting took, reading and tests included",
    "a probe": "updates times one update on random pixels, measured here; reading, tests and the start are left out",
}


def dry_run(options: SweepOptions, data: Data, needs: Needs, seats: int) -> str:
    """The trials, what each needs and will take, and how long all of them, `seats` at once."""
    times = estimates(trials_of(options, data), data, threads=max(1, int(options.cpus_per_trial)))
    width = max(map(len, times)) + 2
    left = [of.seconds for of in times.values() if of.how != "finished"]
    finished = len(times) - len(left)
    asked = len(left) if options.search == "grid" else min(len(left), max(0, options.samples - finished))
    seconds = sum(left) * asked / max(1, len(left) * min(seats, max(1, asked)))
    return "\n".join(
        [
            f"{'trial':<{width}}{'updates':>10}{'time':>10}  from",
            *(f"{name:<{width}}{of.updates:>10,}{duration(of.seconds):>10}  {of.how}" for name, of in times.items()),
            *(f"{how}: {note}" for how, note in NOTES.items() if any(of.how == how for of in times.values())),
            f"{len(times)} trials, {asked} to run; each takes {needs}, {seats} at once: about {duration(seconds)}",
        ]
    )
