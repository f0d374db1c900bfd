"""A cluster of two nodes on this machine, on loopback alone, until it is ended.

    python -m benchmarks.scoring.two_nodes

Its one line says the cluster's address and the process number of the second node's raylet.
"""

import signal

from ray.cluster_utils import Cluster

CPUS = 4  # seats of each node
READY = "cluster:"


def main() -> None:
    """Start both, say so, wait."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": CPUS})
    node = cluster.add_node(num_cpus=CPUS)
    (raylet,) = node.all_processes["raylet"]
    print(READY, cluster.address, raylet.process.pid, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
