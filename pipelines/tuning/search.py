"""Which trial comes next, and which is stopped early."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Searcher

from ats_core.errors import AtsError
from pipelines.tuning.trial import METRIC

if TYPE_CHECKING:
    from ray.tune.search.optuna import OptunaSearch

Numbers = Mapping[str, int]
"""For each axis that has several values, which one."""
REDUCTION = 3
TRIES = 100  # suggestions of trials that were there before, until a search is taken to have seen all that it wants


class MissingExtraError(AtsError):
    """An optional dependency is not installed."""


def asha(epochs: int, grace_epochs: int | None) -> ASHAScheduler:
    """Asynchronous successive halving (Li et al. 2020): a third goes on after 1, 3, 9 ... times the grace epochs."""
    grace = min(epochs, grace_epochs or max(1, epochs // REDUCTION**2))
    return ASHAScheduler("epoch", METRIC, "min", epochs, grace, REDUCTION, stop_last_trials=False)


def optuna_search(sizes: Mapping[str, int], first: Sequence[Numbers], seed: int) -> "OptunaSearch":
    """Optuna's tree of Parzen estimators (Bergstra et al. 2011) over lists of values, each named by its number.

    Args:
        sizes: of each list.
        first: what is suggested before anything else.
        seed: of the sampler.

    Raises:
        MissingExtraError: Optuna is not installed.
    """
    try:
        import optuna
        from ray.tune.search.optuna import OptunaSearch
    except ImportError as error:
        remedy = "pip install 'attention-sampling[search]'"
        raise MissingExtraError("--search optuna", str(error), remedy) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {name: optuna.distributions.CategoricalDistribution(range(size)) for name, size in sizes.items()}
    return OptunaSearch(space, METRIC, "min", points_to_evaluate=list(map(dict, first)), seed=seed)


class Distinct(Searcher):
    """Suggests every training once, though many combinations are the same training.

    Args:
        optuna: suggests combinations.
        name_of: the trial of a combination.
        left: trials to suggest in all.
        losses: of trials that have ended before.
    """

    def __init__(
        self,
        optuna: "OptunaSearch",
        name_of: Callable[[Numbers], str],
        left: int,
        losses: Mapping[str, float],
    ) -> None:
        super().__init__(METRIC, "min")
        self.optuna, self.name_of, self.left = optuna, name_of, left
        self.losses, self.seen = dict(losses), set(losses)
        self.asked: dict[str, tuple[str, str]] = {}

    def suggest(self, trial_id: str) -> dict[str, str] | str:
        """The next trial; what is suggested again is answered at once."""
        for n in range(TRIES if self.left else 0):
            asked = f"{trial_id}-{n}"
            name = self.name_of(self.optuna.suggest(asked))
            if name not in self.seen:
                self.left -= 1
                self.seen.add(name)
                self.asked[trial_id] = asked, name
                return {"trial": name}
            self._answer(asked, self.losses.get(name))
        return Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Keep the loss, and tell Optuna; without one the trial has failed."""
        asked, name = self.asked.pop(trial_id)
        loss = None if error else (result or {}).get(METRIC)
        if loss is not None:
            self.losses[name] = loss
        self._answer(asked, loss)

    def _answer(self, asked: str, loss: float | None) -> None:
        self.optuna.on_trial_complete(asked, {METRIC: loss} if loss is not None else None, error=loss is None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what has been tried is in the run directories."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing either."""
