"""A login node and a compute node that are really apart (two_hosts.sh), with the servers that only login reaches."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from processes import wait_for

SCRIPT = Path(__file__).with_name("two_hosts.sh")
CHECKOUT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
S3_PORT = 9000  # on login's own loopback, so nobody else's
KEY, SECRET, BUCKET = "testkey", "testsecret12", "dvc-storage"


@dataclass
class Hosts:
    """The two hosts.

    Attributes:
        folder: theirs; `folder`/login is not visible from compute.
        enter: words before a command that runs in login's network.
        home: an environment for login.
    """

    folder: Path
    name: str
    servers: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def enter(self) -> tuple[str, ...]:
        return ("nsenter", f"--net=/run/netns/explm-l-{self.name}")

    @property
    def ssh(self) -> str:
        """The ssh command that knows `compute`, for RSYNC_RSH."""
        return f"ssh -F {self.folder}/etc/ssh_config"

    def compute(self, line: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a line on compute, as its user, in its project folder."""
        done = self.start_on_compute(line)
        out, err = done.communicate()
        if check and done.returncode:
            pytest.fail(f"on compute: {line} gave {done.returncode}\n{out}\n{err}")
        return subprocess.CompletedProcess(line, done.returncode, out, err)

    def start_on_compute(self, line: str) -> subprocess.Popen[str]:
        """Starts a line on compute."""
        words = f"export PATH={BIN}:$PATH OMP_NUM_THREADS=1 LC_ALL=C.UTF-8; cd /srv/proj && {line}"
        return subprocess.Popen(
            [*self.enter, *shlex.split(self.ssh), "compute", words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def serve(self, *words: str) -> subprocess.Popen[str]:
        """Starts a server that only login reaches."""
        environment = os.environ | {"RCLONE_CONFIG": "/dev/null"}
        self.servers.append(
            subprocess.Popen(
                [*self.enter, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        )
        return self.servers[-1]

    def serve_s3(self) -> str:
        """Starts rclone's S3 server with an empty bucket; gives its address."""
        store = self.folder / "store"
        (store / BUCKET).mkdir(parents=True)
        address = f"127.0.0.1:{S3_PORT}"
        self.serve(str(BIN / "rclone"), "serve", "s3", "--addr", address, "--auth-key", f"{KEY},{SECRET}", str(store))
        wait_for(lambda: self.in_login(f"echo > /dev/tcp/127.0.0.1/{S3_PORT}"))
        return f"http://{address}"

    def serve_swanlab(self, *faults: str) -> str:
        """Starts the SwanLab stand-in; gives its address."""
        stand_in = CHECKOUT / "tests/lm/tracking/swanlab_stand_in.py"
        options = [word for fault in faults for word in ("--fault", fault)]
        process = self.serve(sys.executable, str(stand_in), *options)
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def in_login(self, line: str) -> bool:
        """Whether a line of bash succeeds in login's network."""
        return subprocess.run([*self.enter, "bash", "-c", line], capture_output=True).returncode == 0


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Two hosts of the test's own."""
    missing = [name for name in ("ip", "nsenter", "rsync", "ssh") if shutil.which(name) is None]
    missing += [] if Path("/usr/sbin/sshd").exists() else ["sshd"]
    if missing or os.geteuid() != 0:
        pytest.skip("needs root and: apt-get install iproute2 openssh-server rsync util-linux")
    two = Hosts(tmp_path / "hosts", uuid.uuid4().hex[:6])
    two.folder.mkdir()
    arguments = [str(two.folder), two.name, *dict.fromkeys([sys.base_prefix, sys.prefix, str(CHECKOUT)])]
    try:
        done = subprocess.run([str(SCRIPT), "up", *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        yield two
    finally:
        for server in two.servers:
            server.kill()
            server.wait()
            if server.stdout:
                server.stdout.close()
        subprocess.run([str(SCRIPT), "down", str(two.folder), two.name], check=True)


@pytest.fixture
def login(hosts: Hosts, fresh):
    """A project on the login host, with the S3 store that only login reaches as its remote."""
    box = dataclasses.replace(fresh(hosts.folder / "login"), prefix=hosts.enter)
    box.env.update(RSYNC_RSH=hosts.ssh, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)
    box.explicitlm("remote", "minio", "--endpoint", hosts.serve_s3(), "--bucket", BUCKET)
    return box
