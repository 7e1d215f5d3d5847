"""Training on several nodes or GPUs in a Slurm job, told to `accelerate launch` by its configuration file.

The training command stays the one that the record shows; rank, address, port and number of processes are the job's own.
Where nobody else can take accelerate's port, outside of Slurm, it finds the GPUs of one node by itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from explicitlm.common.errors import UsageError
from explicitlm.common.files import to_json, write_text

PORTS = (20_000, 12_000)  # first, and how many, below those that Linux lends: each job takes one by its number


@dataclass(frozen=True)
class SlurmNode:
    """One of the nodes of a job.

    Attributes:
        rank: 0 is the node that records. count: of nodes. processes: on each of them.
        address: of node 0. port: where the processes of all nodes meet there.
    """

    rank: int
    count: int
    processes: int
    address: str
    port: int

    def environment(self, reports: Path) -> dict[str, str]:
        """Writes accelerate's configuration for this node and gives the variable by which it is found.

        Args:
            reports: the run's folder, in which each node has a folder of its own.
        """
        home = reports / f"node-{self.rank}"
        settings = {
            "compute_environment": "LOCAL_MACHINE",
            "distributed_type": "MULTI_GPU",  # also of CPU processes: accelerate then starts torchrun's agents
            "num_machines": self.count,
            "num_processes": self.count * self.processes,
            "machine_rank": self.rank,
            "main_process_ip": self.address,
            "main_process_port": self.port,
            "rdzv_backend": "static",
            "same_network": True,
            "mixed_precision": "no",
            "use_cpu": False,
        }
        write_text(home / "accelerate/default_config.yaml", to_json(settings))  # JSON is YAML
        return {"HF_HOME": str(home)}


def own_node(environment: Mapping[str, str] = os.environ) -> SlurmNode | None:
    """Which node of a Slurm job step this process is on; None where there is one process, or no Slurm.

    Raises:
        UsageError: several nodes without srun, so that only one of them would start.
    """
    count = int(environment.get("SLURM_STEP_NUM_NODES", environment.get("SLURM_NNODES", "1")))
    processes = int(environment.get("SLURM_GPUS_ON_NODE", "1"))
    started_by_srun = "SLURM_LAUNCH_NODE_IPADDR" in environment
    if count == 1 and (processes == 1 or not started_by_srun):
        return None
    if not started_by_srun:
        raise UsageError(f"a job of {count} nodes must start this with srun, once a node", "explicitlm cluster submit")
    return SlurmNode(
        rank=int(environment["SLURM_NODEID"]),
        count=count,
        processes=processes,
        address=environment["SLURM_LAUNCH_NODE_IPADDR"],
        port=PORTS[0] + int(environment["SLURM_JOB_ID"]) % PORTS[1],
    )
