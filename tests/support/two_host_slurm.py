"""Slurm across the two hosts of two_hosts.py: controller and sbatch on login, the only node on compute.

box = dataclasses.replace(login, prefix=hosts_slurm.host.enter)  # on login, where Slurm knows compute's user
box.env.update(hosts_slurm.env)
box.explicitlm("cluster", "submit", "exp_a", "--at", "/srv/proj", AS_RESEARCHER)
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import psutil
import pytest
from slurm_server import Host, Slurm, running
from two_hosts import Hosts

AS_RESEARCHER = "--sbatch=--uid=researcher"  # login's tests run as root, which is nobody on compute
# Slurm wants to know on login the user that a job will have on compute.
WITH_USERS = ("unshare", "--mount", "bash", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"')


@pytest.fixture
def hosts_slurm(hosts: Hosts) -> Iterator[Slurm]:
    """The cluster; its commands run on login, as does what has its `env` and is entered by its `host`."""
    sshd = (hosts.folder / "etc/sshd.pid").read_text().strip()
    enter = ("nsenter", f"--target={sshd}", "--net", "--mount", "--uts")  # not `ip netns exec`: it remounts /sys
    login = Host(address="192.0.2.1", enter=(*hosts.enter, *WITH_USERS, str(hosts.folder / "etc/passwd")))
    with running(login, {"compute": Host("compute", "192.0.2.2", enter)}) as cluster:
        yield cluster


def processes_of_compute(hosts: Hosts) -> list[psutil.Process]:
    """All that runs on compute."""
    listed = subprocess.run(
        ["ip", "netns", "pids", f"explm-c-{hosts.name}"], capture_output=True, text=True, check=True
    )
    return [psutil.Process(int(pid)) for pid in listed.stdout.split() if psutil.pid_exists(int(pid))]
