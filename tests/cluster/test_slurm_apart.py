"""Slurm between hosts that are really apart: a node fails in mid-training, the job goes on, and comes home whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from held import held
from two_host_slurm import AS_RESEARCHER, processes_of_compute

pytestmark = pytest.mark.slow


def test_a_node_that_fails_costs_nothing_but_time(hosts, hosts_slurm, fresh, tmp_path: Path) -> None:
    login = dataclasses.replace(fresh(hosts.folder / "login"), prefix=hosts_slurm.host.enter)
    login.env.update(RSYNC_RSH=hosts.ssh, **hosts_slurm.env)
    login.explicitlm("cluster", "pre", "exp_far", "epochs=12")
    login.explicitlm("cluster", "push", "exp_far", "compute:/srv/proj")
    said = login.explicitlm("cluster", "submit", "exp_far", "--at", "/srv/proj", AS_RESEARCHER).stdout
    number = said.split("job ", 1)[1].split(":")[0]
    with held(hosts.folder / "compute/exp_far", lambda: processes_of_compute(hosts)) as (process,):
        assert process.uids().real == 4242
        hosts_slurm.call("scontrol", "update", "NodeName=compute", "State=DOWN", "Reason=test")
        process.kill()
    hosts_slurm.wait(number, lambda job: job["JobState"] == "PENDING")
    job = hosts_slurm.ended(number)
    output = hosts.compute(f"cat explicitlm-exp_far-{number}.out").stdout
    assert job["JobState"] == "COMPLETED" and job["Restarts"] == "1", output
    assert "continuing from the last resume state" in output
    login.explicitlm("cluster", "fetch", "exp_far", "compute:/srv/proj")
    login.explicitlm("cluster", "post", "exp_far")

    local = fresh(tmp_path / "local")
    local.explicitlm("run", "exp_far", "epochs=12")
    here, there = local.record("exp_far"), login.record("exp_far")
    assert there["versions"]["checkpoint_hash"] == here["versions"]["checkpoint_hash"]
    assert there["status"] == "finished" and there["results"]["metrics"] == here["results"]["metrics"]
