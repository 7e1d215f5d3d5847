"""A real Slurm on this machine, for one test session: its own munge, ports and folders; two nodes, of CPUs only.

Adapted from the recipe for one machine without systemd: no cgroups, no accounting, scheduling at once.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

CONF = """ClusterName=explicitlm
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
ReturnToService=2
KillWait=5
MinJobAge=3600
JobRequeue=1
SlurmctldPort={ports[0]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=2000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=2000
PartitionName=p Nodes=n1,n2 Default=YES MaxTime=INFINITE OverTimeLimit=0 State=UP
"""


class Slurm:
    """A running cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {"SLURM_CONF": str(folder / "slurm.conf")}

    def call(self, *words: str) -> str:
        """Runs one of Slurm's commands."""
        done = subprocess.run(words, env=os.environ | self.env, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job: JobState, Restarts, ExitCode and more."""
        shown = self.call("scontrol", "show", "--oneliner", "job", number)
        return dict(word.split("=", 1) for word in shown.splitlines()[0].split() if "=" in word)

    def wait(self, number: str, condition: Callable[[dict[str, str]], bool], seconds: float = 150) -> dict[str, str]:
        """Waits until it holds for a job, and gives what is known of the job then."""
        end = time.monotonic() + seconds
        while not condition(found := self.job(number)):
            assert time.monotonic() < end, f"{found}\n{self.output()}"
            time.sleep(0.1)
        return found

    def output(self) -> str:
        """What all jobs and daemons wrote, for messages."""
        return "\n".join(f"{path}:\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))


@contextmanager
def running(folder: Path) -> Iterator[Slurm]:
    """Starts munge, the controller and two nodes; ends them all, and what they have started."""
    (folder / "state").mkdir(parents=True)
    (folder / "slurm.conf").write_text(CONF.format(host=socket.gethostname(), folder=folder, ports=_free_ports(3)))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    slurm = Slurm(folder)
    env = os.environ | slurm.env
    suffixes = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    files = [f"--{option}={folder}/munge.{suffix}" for option, suffix in suffixes.items()]
    daemons = [
        subprocess.Popen(["munged", "--foreground", "--force", *files], env=env, stderr=subprocess.DEVNULL),
        subprocess.Popen(["slurmctld", "-D"], env=env, stderr=subprocess.DEVNULL),
        *(subprocess.Popen(["slurmd", "-D", "-N", n], env=env, stderr=subprocess.DEVNULL) for n in ("n1", "n2")),
    ]
    try:
        end = time.monotonic() + 30
        while (
            subprocess.run(["sinfo", "-h", "-o", "%D%t"], env=env, capture_output=True, text=True).stdout.strip()
            != "2idle"
        ):
            assert time.monotonic() < end, slurm.output()
            time.sleep(0.1)
        yield slurm
    finally:
        subprocess.run(["scancel", "--signal=KILL", "--user=root"], env=env, capture_output=True)
        family = [child for daemon in daemons for child in psutil.Process(daemon.pid).children(recursive=True)]
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        _end_steps(folder, family)


def _end_steps(folder: Path, family: list[psutil.Process]) -> None:
    """slurmstepd outlives slurmd on purpose: ends those of this cluster, known by their configuration."""
    steps = [process for process in psutil.process_iter() if _belongs(process, folder)]
    for process in (*family, *steps):
        try:
            process.kill()
        except psutil.Error:
            continue


def _belongs(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.environ().get("SLURM_CONF") == str(folder / "slurm.conf")
    except psutil.Error:
        return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A cluster for the tests of one file."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip("needs root and: apt-get install munge slurm-wlm")
    with running(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster
