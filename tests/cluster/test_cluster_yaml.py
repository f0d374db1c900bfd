"""The two descriptions of a cluster: valid, of the pinned Ray, and the same cluster."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]


def _pinned(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found, package
    return found[1]


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture(scope="module")
def rayjob() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / "rayjob.yaml").read_text())["spec"]


def test_the_installed_ray_is_the_pinned_one() -> None:
    assert ray.__version__ == _pinned("ray")


def test_ray_accepts_the_cluster(cluster: dict[str, Any]) -> None:
    prepared = prepare_config(copy.deepcopy(cluster))
    validate_config(prepared)
    # A group's own set-up replaces the common one: each must install the project, with the pinned versions.
    for name, group in prepared["available_node_types"].items():
        commands = group.get("worker_setup_commands") or prepared["worker_setup_commands"]
        assert any("pip install -q -c constraints.txt" in command for command in commands), name


def test_every_image_is_of_the_pinned_ray_and_this_python(cluster: dict[str, Any]) -> None:
    images = re.findall(r"rayproject/ray:[\w.-]+", (ROOT / "cluster.yaml").read_text())
    images += re.findall(r"^FROM (\S+)$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    assert len(images) == 3
    for image in images:
        assert re.fullmatch(rf"rayproject/ray:{re.escape(ray.__version__)}-py311-(cpu|gpu)", image)
    assert cluster["docker"]["image"] in images


def test_the_rayjob_is_of_the_pinned_ray(rayjob: dict[str, Any]) -> None:
    assert rayjob["rayClusterSpec"]["rayVersion"] == ray.__version__
    assert {pod["image"].rpartition("-ray")[2] for pod in _containers(rayjob)} == {ray.__version__}


def test_the_rayjob_runs_a_job_that_exists(rayjob: dict[str, Any]) -> None:
    assert (ROOT / rayjob["entrypoint"].split()[0]).stat().st_mode & 0o111


def test_both_describe_the_same_groups(cluster: dict[str, Any], rayjob: dict[str, Any]) -> None:
    types = {
        name: group for name, group in cluster["available_node_types"].items() if name != cluster["head_node_type"]
    }
    groups = {group["groupName"].replace("-", "_"): group for group in rayjob["rayClusterSpec"]["workerGroupSpecs"]}
    assert groups.keys() == types.keys() == {"gpu_trainer", "cpu_reader"}
    for name, group in groups.items():
        assert group["maxReplicas"] == types[name]["max_workers"]
        assert group["minReplicas"] == types[name]["min_workers"]
        resources = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert int(resources["cpu"]) == types[name]["resources"]["CPU"]
        assert int(resources.get("nvidia.com/gpu", 0)) == types[name]["resources"].get("GPU", 0)


def test_a_pod_is_given_what_it_asks_for(rayjob: dict[str, Any]) -> None:
    for container in _containers(rayjob):
        assert container["resources"]["requests"] == container["resources"]["limits"]


def _containers(rayjob: dict[str, Any]) -> list[dict[str, Any]]:
    spec = rayjob["rayClusterSpec"]
    return [group["template"]["spec"]["containers"][0] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]
