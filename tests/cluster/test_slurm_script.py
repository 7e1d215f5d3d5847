"""What is asked of Slurm, as the script's lines; the jobs themselves are in test_slurm.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from explicitlm.cluster.schedulers.protocol import JobRequest
from explicitlm.cluster.schedulers.slurm import job_script, submit
from explicitlm.cluster.schedulers.slurm_node import own_node
from explicitlm.common.errors import UsageError

STEP = {"SLURM_STEP_NUM_NODES": "2", "SLURM_NODEID": "1", "SLURM_JOB_ID": "12345", "SLURM_GPUS_ON_NODE": "8",
        "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1"}  # fmt: skip


def test_options_become_lines_of_a_script_that_bash_can_read(tmp_path: Path) -> None:
    request = JobRequest(
        nodes=2, gpus=8, time="12:00:00", warn=300, python="/opt/env/bin/python", more=("--partition=a",)
    )
    script = job_script(["exp_1", "exp_2"], ["/s/exp_1", "/s/it's"], "/s", request)
    for line in ("--nodes=2", "--gpus-per-node=8", "--time=12:00:00", "--signal=B:USR1@300", "--array=0-1",
                 "--partition=a", "--output=/s/%x-%A_%a.out", "--requeue", "--open-mode=append"):  # fmt: skip
        assert f"#SBATCH {line}\n" in script
    assert sys.executable not in script and "'/s/it'\"'\"'s'" in script
    (tmp_path / "job.sh").write_text(script)
    subprocess.run(["bash", "-n", str(tmp_path / "job.sh")], check=True)


def test_every_node_of_a_job_is_told_its_place(tmp_path: Path) -> None:
    node = own_node(STEP)
    assert node is not None and (node.rank, node.count, node.processes, node.address) == (1, 2, 8, "10.0.0.1")
    home = node.environment(tmp_path)["HF_HOME"]
    told = json.loads(Path(home, "accelerate/default_config.yaml").read_text())
    assert told["num_processes"] == 16 and told["machine_rank"] == 1 and told["main_process_port"] == node.port


def test_jobs_that_share_a_node_meet_at_ports_of_their_own() -> None:
    ports = {node.port for job in range(1000) if (node := own_node(STEP | {"SLURM_JOB_ID": str(job)}))}
    assert len(ports) == 1000 and min(ports) >= 1024 and max(ports) < 32768  # Linux lends those above to anybody


def test_one_process_or_no_slurm_needs_nothing() -> None:
    alone = STEP | {"SLURM_STEP_NUM_NODES": "1"}
    assert own_node({}) is None
    assert own_node(alone | {"SLURM_GPUS_ON_NODE": "1"}) is None
    assert own_node({"SLURM_NNODES": "1", "SLURM_GPUS_ON_NODE": "8"}) is None  # a shell of salloc, without srun
    assert (node := own_node(alone)) is not None and node.processes == 8
    with pytest.raises(UsageError, match="srun"):
        own_node({"SLURM_NNODES": "2"})


@pytest.mark.parametrize("limit", ["2", "2:59", "0:2:59", "0-0:2", "0-0:2:59"])
def test_a_limit_that_only_leaves_time_to_be_warned_is_refused(tmp_path: Path, limit: str) -> None:
    with pytest.raises(UsageError, match="leaves no time to train"):
        submit(tmp_path, ["exp_1"], None, JobRequest(time=limit))
    for enough in (limit.replace("2", "90"), "1-0", "UNLIMITED", ""):
        with pytest.raises(UsageError, match="not prepared"):
            submit(tmp_path, ["exp_1"], None, JobRequest(time=enough))
