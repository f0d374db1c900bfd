"""A cluster of two nodes on this machine, on loopback alone, until it is ended.

    python -m benchmarks.scoring.two_nodes

Its one line says the cluster's address and the process number of the second node's raylet.
"""

import signal

from ray.cluster_utils import Cluster

HEAD_CPUS, CPUS = 1, 4  # seats: the stages do not fit on the head alone
READY = "cluster:"


def main() -> None:
    """Start both, say so, wait."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": HEAD_CPUS})
    node = cluster.add_node(num_cpus=CPUS)
    (raylet,) = node.all_processes["raylet"]
    print(READY, cluster.address, raylet.process.pid, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
