"""Real S3 servers for tests, on loopback, with credentials, each ended with its test or session.

Ceph's object gateway: strict (signatures, multipart), once a session. rclone: 0.1 s, so that a test can kill it,
restart it, fill its disk or damage what it holds.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from processes import wait_for

KEY, SECRET, BUCKET = "testkey", "testsecret12", "dvc-storage"


def free_port() -> int:
    """A port that nobody listens on; the system gives another one each time."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class S3Server:
    """Where a server is, and what it accepts."""

    port: int
    key: str = KEY
    secret: str = SECRET

    @property
    def endpoint(self) -> str:
        """For `explicitlm remote minio --endpoint`."""
        return f"http://127.0.0.1:{self.port}"

    def use(self, box, bucket: str = BUCKET) -> None:
        """Chooses this server for a project, as a user does."""
        box.explicitlm("remote", "minio", "--endpoint", self.endpoint, "--bucket", bucket,
                       "--access-key", self.key, AWS_SECRET_ACCESS_KEY=self.secret)  # fmt: skip

    def client(self):
        """botocore's own client: a second opinion on what the store holds."""
        import botocore.session

        return botocore.session.Session().create_client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1",
            aws_access_key_id=self.key, aws_secret_access_key=self.secret,
        )  # fmt: skip

    def objects(self, bucket: str = BUCKET) -> dict[str, int]:
        """Sizes of all objects, by key."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}


@dataclass
class RcloneServer(S3Server):
    """`rclone serve s3` over a folder, in which each bucket is a folder."""

    store: Path = field(default_factory=Path)
    process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Starts it, with more of rclone's options, and waits until it answers."""
        command = [
            str(Path(sys.executable).parent / "rclone"),
            "serve",
            "s3",
            "--addr",
            f"127.0.0.1:{self.port}",
            "--auth-key",
            f"{KEY},{SECRET}",
            "--dir-cache-time",  # else objects that are deleted in its folder come truncated or hang
            "1s",
        ]
        environment = os.environ | {"RCLONE_CONFIG": "/dev/null"}
        log = (self.store.parent / "rclone.log").open("ab")
        self.process = subprocess.Popen([*command, *options, str(self.store)], env=environment, stdout=log, stderr=log)
        log.close()
        wait_for(lambda: answers(self.port))

    def kill(self) -> None:
        """Ends it as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class CephServer(S3Server):
    """The gateway, and the cluster behind it."""

    folder: Path = field(default_factory=Path)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Meanwhile the cluster believes its disk full (Ceph's own command for trials): it holds every write back."""
        self._ceph("tell", "osd.0", "injectfull", "full")
        wait_for(lambda: "OSD_FULL" in self._ceph("health", "detail"))
        try:
            yield
        finally:
            self._ceph("tell", "osd.0", "injectfull", "none")
            wait_for(lambda: "OSD_FULL" not in self._ceph("health", "detail"))

    def _ceph(self, *words: str) -> str:
        command = ["timeout", "30", "ceph", "-c", str(self.folder / "ceph.conf"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Relay:
    """A wire to a server that can be frozen (connections stay open, not a byte comes through) or cut (reset).

    Args:
        target: the server's port.
        rewrite: changes what the server answers, a piece at a time.
    """

    def __init__(self, target: int, rewrite: Callable[[bytes], bytes] = bytes) -> None:
        self.port = free_port()
        self._target = target
        self._rewrite = rewrite
        self._flows = threading.Event()
        self._flows.set()
        self._down = False
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._sockets: list[socket.socket] = []
        self._pumps: list[threading.Thread] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """From now on silence."""
        self._flows.clear()

    def cut(self) -> None:
        """Resets every connection, with whatever is under way, and from now on each new one."""
        with self._lock:
            self._down = True
            for end in self._sockets:
                with suppress(OSError):
                    _reset_when_closed(end)
                    end.shutdown(socket.SHUT_RD)  # wakes the pump that waits there; sends nothing
            for pump in self._pumps:
                pump.join(timeout=5)
            for end in self._sockets:
                end.close()
            self._sockets, self._pumps = [], []

    def thaw(self) -> None:
        """Works again."""
        self._down = False
        self._flows.set()

    def close(self) -> None:
        """Ends all threads."""
        self._flows.set()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                with self._lock:
                    self._connect(near)

    def _connect(self, near: socket.socket) -> None:
        if self._down:
            _reset_when_closed(near)
            near.close()
            return
        far = socket.create_connection(("127.0.0.1", self._target))
        self._sockets += [near, far]
        for source, sink, change in ((near, far, bytes), (far, near, self._rewrite)):
            pump = threading.Thread(target=self._pump, args=(source, sink, change), daemon=True)
            self._pumps.append(pump)
            pump.start()

    def _pump(self, source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                if self._down:
                    return  # a reset loses what is under way
                sink.sendall(change(data))
            self._flows.wait()
            if not self._down:
                sink.shutdown(socket.SHUT_WR)


def _reset_when_closed(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def answers(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def rclone(tmp_path: Path) -> Iterator[RcloneServer]:
    """A running rclone server with an empty bucket."""
    store = tmp_path / "s3/store"
    (store / BUCKET).mkdir(parents=True)
    server = RcloneServer(port=free_port(), store=store)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CephServer]:
    """Ceph's object gateway, once a session."""
    missing = [name for name in ("radosgw", "ceph-mon", "ceph-osd", "ceph") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip("needs root and: apt-get install radosgw ceph-mon ceph-osd ceph-common")
    folder, script = tmp_path_factory.mktemp("ceph"), str(Path(__file__).with_name("rgw.sh"))
    try:
        for _ in range(3):  # three free ports in a row are likely, not certain
            port = free_port()
            done = subprocess.run([script, "up", str(folder), str(port), KEY, SECRET], capture_output=True, text=True)
            if done.returncode == 0:
                break
            subprocess.run([script, "down", str(folder)], check=True)
            shutil.rmtree(folder)
        else:
            pytest.fail(f"Ceph did not start:\n{done.stdout}\n{done.stderr}")
        yield CephServer(port=port, folder=folder)
    finally:
        subprocess.run([script, "down", str(folder)], check=True)


@pytest.fixture
def ceph_bucket(ceph: S3Server, tmp_path: Path) -> str:
    """A bucket of the test's own on the gateway."""
    name = f"test-{free_port()}-{os.getpid()}"
    ceph.client().create_bucket(Bucket=name)
    return name
