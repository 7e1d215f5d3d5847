"""A real Slurm for the tests of one file: its own munge, ports and folder; on this machine, or across two hosts.

Adapted from the recipe for one machine without systemd: no cgroups, no accounting, scheduling at once. Its nodes claim
more processors than the machine has, so that jobs run side by side, and four GPUs each, which are device files.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from processes import PATIENCE_S

# KillWait, GraceTime: a training that was told to end may take as long to save as a busy machine makes it.
# cred_expire: also the time for which a requeued job waits, 120 s by default.
CONF = """ClusterName=explicitlm
SlurmctldHost={host}({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
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
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=300
MinJobAge=3600
JobRequeue=1
SlurmctldPort={port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
{nodes}
PartitionName=normal Nodes=ALL Default=YES PriorityTier=1 GraceTime=300 State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr={address} Port={port} CPUs=4 RealMemory=2000 Gres=gpu:4"
GPUS = "Name=gpu File=/dev/null,/dev/zero,/dev/full,/dev/random\n"


@dataclass(frozen=True)
class Host:
    """A machine for daemons: its name as they see it, its address, and words before a command that runs there."""

    name: str = field(default_factory=socket.gethostname)
    address: str = "127.0.0.1"
    enter: tuple[str, ...] = ()


class Slurm:
    """A running cluster.

    Attributes:
        env: for whoever calls its commands, on `host`.
    """

    def __init__(self, folder: Path, host: Host) -> None:
        self.folder, self.host = folder, host
        self.env = {"SLURM_CONF": str(folder / "slurm.conf")}

    def call(self, *words: str) -> str:
        """Runs one of Slurm's commands."""
        done = subprocess.run([*self.host.enter, *words], env=os.environ | self.env, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job: JobState, Restarts, ExitCode and more."""
        shown = self.call("scontrol", "show", "--oneliner", "job", number)
        return dict(word.split("=", 1) for word in shown.splitlines()[0].split() if "=" in word)

    def wait(self, number: str, condition: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """Waits until it holds for a job, and gives what is known of the job then."""
        end = time.monotonic() + PATIENCE_S
        while not condition(found := self.job(number)):
            assert time.monotonic() < end, f"{found}\n{self.output()}"
            time.sleep(0.1)
        return found

    def ended(self, number: str) -> dict[str, str]:
        """Waits until a job has ended for good."""
        return self.wait(number, lambda job: job["JobState"] in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"))

    def output(self) -> str:
        """What the daemons wrote, for messages."""
        return "\n".join(f"{path}:\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))


@contextmanager
def running(controller: Host, nodes: dict[str, Host]) -> Iterator[Slurm]:
    """Starts munge, the controller and the nodes; ends them all, and what they have started.

    Their folder has a short name that every user of every host of this machine can enter.

    Args:
        nodes: by the names that Slurm shall give them.
    """
    if missing := [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]:
        pytest.skip(f"no {missing[0]}: apt-get install munge slurm-wlm")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    (folder / "state").mkdir()
    ports = _free_ports(1 + len(nodes))
    lines = [
        NODE.format(name=name, host=host.name, address=host.address, port=port)
        for (name, host), port in zip(nodes.items(), ports[1:], strict=True)
    ]
    head = {"host": controller.name, "address": controller.address, "port": ports[0]}
    (folder / "slurm.conf").write_text(CONF.format(folder=folder, nodes="\n".join(lines), **head))
    (folder / "gres.conf").write_text(GPUS)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    slurm = Slurm(folder, controller)
    suffixes = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munge = ["munged", "--foreground", "--force"]  # one serves all hosts: they share the kernel and this folder
    munge += [f"--{option}={folder}/munge.{suffix}" for option, suffix in suffixes.items()]
    commands = [munge, [*controller.enter, "slurmctld", "-D"]]
    commands += [[*host.enter, "slurmd", "-D", "-N", name] for name, host in nodes.items()]
    daemons = [
        subprocess.Popen(words, env=os.environ | slurm.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
        for words in commands
    ]  # fmt: skip
    try:
        end = time.monotonic() + PATIENCE_S
        while not _all_idle(slurm, len(nodes)):
            assert time.monotonic() < end, slurm.output()
            time.sleep(0.1)
        yield slurm
    finally:
        _end(slurm, daemons)
        shutil.rmtree(folder)


def _all_idle(slurm: Slurm, count: int) -> bool:
    words = [*slurm.host.enter, "sinfo", "--noheader", "--partition=normal", "--format=%D%t"]
    done = subprocess.run(words, env=os.environ | slurm.env, capture_output=True, text=True)
    return done.stdout.strip() == f"{count}idle"


def _end(slurm: Slurm, daemons: list[subprocess.Popen[bytes]]) -> None:
    """Ends the jobs and the daemons, and what is left of them."""
    queued = [*slurm.host.enter, "squeue", "--noheader", "--format=%i"]
    end = time.monotonic() + 20
    while time.monotonic() < end and (
        jobs := subprocess.run(queued, env=os.environ | slurm.env, capture_output=True, text=True).stdout.split()
    ):
        subprocess.run([*slurm.host.enter, "scancel", *jobs], env=os.environ | slurm.env, capture_output=True)
        time.sleep(0.5)
    for daemon in reversed(daemons):
        daemon.send_signal(signal.SIGTERM)
    for daemon in daemons:
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    for process in [process for process in psutil.process_iter() if _belongs(process, slurm)]:
        with suppress(psutil.Error):
            process.kill()
            process.wait(10)


def _belongs(process: psutil.Process, slurm: Slurm) -> bool:
    """Tasks are known by their environment; slurmstepd, which outlives slurmd on purpose, by its socket."""
    with suppress(psutil.Error):
        if process.name() == "slurmstepd":
            return any(str(slurm.folder) in str(one.laddr) for one in process.net_connections("unix"))
        return process.environ().get("SLURM_CONF") == slurm.env["SLURM_CONF"]
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
def slurm() -> Iterator[Slurm]:
    """A cluster of two nodes on this machine, for the tests of one file."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with running(Host(), {"n1": Host(), "n2": Host()}) as cluster:
        yield cluster
