"""What a trial reserves, and what is refused because it would wait for ever."""

from dataclasses import replace

import pytest

from ats_core.errors import RecipeError
from pipelines.tuning.options import SweepOptions
from pipelines.tuning.resources import Needs, ResourceError, at_once, check_fits, needs_of

GPU_NODE = {"CPU": 16.0, "GPU": 4.0, "memory": 1e9}
CPU_NODE = {"CPU": 4.0}
BOTH = {"CPU": 20.0, "GPU": 4.0}
OPTIONS = SweepOptions(out="/out")


def test_a_trial_takes_a_gpu_where_there_are_some() -> None:
    assert needs_of(OPTIONS, BOTH) == Needs(1, 1)
    assert needs_of(OPTIONS, CPU_NODE) == Needs(1, 0)
    assert needs_of(replace(OPTIONS, device="cpu"), BOTH) == Needs(1, 0)
    assert needs_of(replace(OPTIONS, device="gpu"), CPU_NODE) == Needs(1, 1)
    assert needs_of(replace(OPTIONS, gpus_per_trial=0.25, cpus_per_trial=2), BOTH) == Needs(2, 0.25)


def test_a_trial_with_workers_waits_in_a_hundredth_of_a_cpu() -> None:
    needs = needs_of(replace(OPTIONS, num_workers=2), CPU_NODE)
    assert needs == Needs(1.0, 0, workers=2)
    assert needs.reserved() == {"CPU": 0.01}
    assert needs_of(replace(OPTIONS, num_workers=2), BOTH) == Needs(1.0, 1, workers=2)
    assert needs_of(replace(OPTIONS, num_workers=1), {"CPU": 1.0}) == Needs(0.1, 0, workers=1)


def test_amounts_that_ray_does_not_take_are_refused() -> None:
    for amounts in ({"cpus_per_trial": 0}, {"cpus_per_trial": 1.5}, {"gpus_per_trial": 2.5}, {"gpus_per_trial": -1}):
        with pytest.raises(RecipeError, match="per-trial"):
            needs_of(replace(OPTIONS, **amounts), BOTH)


def test_what_no_node_has_is_refused() -> None:
    check_fits(Needs(16, 0.5), [CPU_NODE, GPU_NODE], None, grows=False)
    for needs in (Needs(17, 0), Needs(1, 5), Needs(1, 1, workers=5)):
        with pytest.raises(ResourceError, match="the nodes of the cluster have 4 CPU and 0 GPU; 16 CPU and 4 GPU"):
            check_fits(needs, [CPU_NODE, GPU_NODE], None, grows=False)


def test_what_an_autoscaler_may_add_counts() -> None:
    check_fits(Needs(16, 1), [CPU_NODE], [GPU_NODE], grows=False)
    with pytest.raises(ResourceError):
        check_fits(Needs(17, 1), [CPU_NODE], [GPU_NODE], grows=True)
    check_fits(Needs(1, 1, workers=8), [CPU_NODE], [GPU_NODE, GPU_NODE], grows=False)
    with pytest.raises(ResourceError, match="the nodes of the cluster have 4 CPU and 0 GPU; 16 CPU and 4 GPU"):
        check_fits(Needs(1, 1, workers=9), [CPU_NODE], [GPU_NODE, GPU_NODE], grows=False)
    check_fits(Needs(17, 1), [CPU_NODE], None, grows=True)  # the user says that it will come, and nothing that it won't


def test_as_many_run_at_once_as_fit_on_the_nodes() -> None:
    nodes = [GPU_NODE, CPU_NODE, CPU_NODE]
    assert at_once(Needs(3, 0), OPTIONS, BOTH, nodes) == 5 + 1 + 1
    assert at_once(Needs(1, 0.25), OPTIONS, BOTH, nodes) == 16
    assert at_once(Needs(1, 0), replace(OPTIONS, max_concurrent=3), BOTH, nodes) == 3
    assert at_once(Needs(0.1, 0), OPTIONS, {"CPU": 1.0}, [{"CPU": 1.0}]) == 10


@pytest.mark.parametrize(
    ("cpus", "workers", "runs"), [(1.0, 1, 1), (2.0, 1, 1), (6.0, 2, 2), (6.0, 5, 1), (64.0, 4, 15)]
)
def test_trials_with_workers_leave_a_cpu_to_ray_data(cpus: float, workers: int, runs: int) -> None:
    options, cluster = replace(OPTIONS, num_workers=workers), {"CPU": cpus}
    needs = needs_of(options, cluster)
    assert at_once(needs, options, cluster, [cluster]) == runs
    assert runs * (workers * needs.cpus + 0.01) <= cpus
