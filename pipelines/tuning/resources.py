"""What a trial reserves, and what the cluster has: never more than fits, so that nothing waits for ever."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray
import yaml
from ray._private.state import state  # the limits of an autoscaler have no public name

from ats_core.errors import AtsError, RecipeError
from pipelines.training.train import resources_of_worker
from pipelines.tuning.options import SweepOptions

Node = Mapping[str, float]
"""Its "CPU", "GPU" and more."""
DRIVER_CPUS = 0.01  # of a trial that only waits for its workers; Tune takes no 0
MANY = 1000  # nodes of a type of which no more is said than that there may be some
LAUNCHED = Path("~/ray_bootstrap_config.yaml")  # `ray up` leaves it on the head


class ResourceError(AtsError):
    """A trial asks for more than any node of the cluster has."""


@dataclass(frozen=True, slots=True)
class Needs:
    """CPUs and GPUs of a trial, or of a worker of it: what lies on one node."""

    cpus: float
    gpus: float
    workers: int = 0
    """So many processes of this size, beside the trial's own; 0 when the trial's own is meant."""

    def __str__(self) -> str:
        each = f"{self.cpus:g} CPU and {self.gpus:g} GPU"
        return f"{self.workers} x {each}" if self.workers else each

    def reserved(self) -> dict[str, float]:
        """What Tune reserves for a trial."""
        return {"CPU": DRIVER_CPUS} if self.workers else {"CPU": self.cpus, "GPU": self.gpus}

    def times_in(self, node: Node) -> int:
        """How many such processes a node holds."""
        asked = (("CPU", self.cpus), ("GPU", self.gpus))
        return int(min(node.get(kind, 0.0) / amount + 1e-6 for kind, amount in asked if amount))


def needs_of(options: SweepOptions, cluster: Node) -> Needs:
    """What each trial of a sweep needs; a RecipeError for amounts that Ray does not take."""
    if options.num_workers:
        of_worker = resources_of_worker(options, cluster)
        return Needs(of_worker["CPU"], of_worker["GPU"], options.num_workers)
    gpus, has_gpus = options.gpus_per_trial, cluster.get("GPU", 0) >= 1
    if gpus is None:
        gpus = float(options.device == "gpu" or (options.device == "auto" and has_gpus))
    for name, amount in (("cpus-per-trial", options.cpus_per_trial), ("gpus-per-trial", gpus)):
        if amount < 0 or (amount > 1 and amount != int(amount)):
            raise RecipeError(f"--{name} {amount:g}", "neither a whole number nor a part of one", f"Check --{name}.")
    if options.cpus_per_trial < DRIVER_CPUS:
        raise RecipeError("--cpus-per-trial", f"a trial takes {DRIVER_CPUS} or more", "Check --cpus-per-trial.")
    return Needs(options.cpus_per_trial, gpus)


def nodes() -> list[Node]:
    """What each node of the cluster has now."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def nodes_to_come() -> list[Node] | None:
    """What each node that an autoscaler may add has, those included that it has added; None where nothing says so."""
    if (config := state.get_cluster_config()) is not None:
        groups = [(dict(group.resources), group.max_count) for group in config.node_group_configs]
    elif (launched := LAUNCHED.expanduser()).exists():
        types = yaml.safe_load(launched.read_text())["available_node_types"].values()
        groups = [(kind.get("resources", {}), kind.get("max_workers", MANY)) for kind in types]
    else:
        return None
    return [node for node, most in groups for _ in range(min(most, MANY) if most >= 0 else MANY)]


def check_fits(needs: Needs, there: Sequence[Node], more: Sequence[Node] | None, *, grows: bool) -> None:
    """Refuse what would wait for ever.

    Args:
        needs: of a trial.
        there: the nodes of the cluster.
        more: nodes that an autoscaler may add; None where unknown.
        grows: the user says that what is missing will come.

    Raises:
        ResourceError: no node has as much, or all workers of a trial find no room.
    """
    every = [*there, *(more or [])]
    if sum(map(needs.times_in, every)) >= max(1, needs.workers) or (grows and more is None):
        return
    has = "; ".join(dict.fromkeys(f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in every))
    remedy = "Ask for less with --cpus-per-trial, --gpus-per-trial or --num-workers, or add nodes to the cluster."
    raise ResourceError(f"a trial of {needs}", f"the nodes of the cluster have {has}", remedy)


def at_once(needs: Needs, options: SweepOptions, cluster: Node, there: Sequence[Node]) -> int:
    """Trials that run side by side now; at least one.

    Workers are counted with a CPU to spare for Ray Data, as `resources_of_worker` does.
    """
    if needs.workers:
        run = Needs(needs.cpus * needs.workers, needs.gpus * needs.workers)
        room = run.times_in(dict(cluster) | {"CPU": cluster.get("CPU", 0) - 1})
    else:
        room = sum(map(needs.times_in, there))
    return max(1, min(room, options.max_concurrent or room))
