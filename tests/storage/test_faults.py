"""What goes wrong between here and the store: named soon and clearly, and the same command afterwards completes.

Each test is one fault (benchmarks/data.py counts them) and ends with equal hashes and an intact workspace.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import wait_for
from s3_servers import BUCKET, Relay, S3Server, free_port

from explicitlm.common.errors import DataError, ExplicitLMError, StorageError
from explicitlm.vcs.data_store import open_store

pytestmark = pytest.mark.slow


@contextmanager
def fails_within(seconds: float, words: str, kind: type[ExplicitLMError] = StorageError) -> Iterator[None]:
    """The failure comes in time, says these words, and names a command to run next."""
    start = time.monotonic()
    with pytest.raises(kind, match=words) as caught:
        yield
    assert time.monotonic() - start < seconds
    assert caught.value.hint and "Traceback" not in caught.value.cause


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of `size` on `folder`."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def recovers(data) -> None:
    """Push, and get it all back from the store."""
    data.push()
    data.forget()
    data.sync()
    data.check()


def test_wrong_secret(data, rclone) -> None:
    S3Server(rclone.port, secret="another-secret").use(data.box)
    with fails_within(20, "refuses the (secret key|credentials)"):
        data.push()
    rclone.use(data.box)
    recovers(data)


def test_unknown_access_key(data, rclone) -> None:
    S3Server(rclone.port, key="nobody").use(data.box)
    with fails_within(20, "does not know the access key|refuses"):
        data.push()
    rclone.use(data.box)
    recovers(data)


def test_no_credentials(data, rclone) -> None:
    data.box.explicitlm("remote", "minio", "--endpoint", rclone.endpoint)
    with fails_within(20, "there are no credentials for remote minio"):
        data.push()
    rclone.use(data.box)
    recovers(data)


def test_missing_bucket(data, rclone) -> None:
    rclone.use(data.box, bucket="nobodys-bucket")
    with fails_within(20, "has no bucket nobodys-bucket"):
        data.push()
    rclone.client().create_bucket(Bucket="nobodys-bucket")
    recovers(data)


def test_unreachable_endpoint(data, rclone) -> None:
    S3Server(free_port()).use(data.box)
    with fails_within(20, "cannot be reached"):
        data.push()
    rclone.use(data.box)
    recovers(data)


def test_silent_endpoint(data, rclone) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        S3Server(silent.getsockname()[1]).use(data.box)
        with fails_within(25, "did not answer within 10 s"):
            data.push()
    rclone.use(data.box)
    recovers(data)


def test_server_killed_in_a_push(data, rclone) -> None:
    rclone.use(data.box)
    with in_the_middle(lambda: len(data.objects(rclone.store / BUCKET)) > 5, rclone.kill), fails_within(60, "reached"):
        data.push()
    rclone.start()
    assert 5 < len(data.objects(rclone.store / BUCKET)) < 151
    recovers(data)


def test_server_killed_in_a_pull(data, rclone) -> None:
    rclone.use(data.box)
    data.push()
    data.forget()
    with in_the_middle(lambda: len(data.objects(data.cache)) > 5, rclone.kill), fails_within(60, "reached"):
        data.sync()
    assert not (data.root / "data/database").exists() and data.box.git("status", "--porcelain") == ""
    rclone.start()
    data.sync()
    data.check()


@pytest.fixture
def relay(data, rclone) -> Iterator[Relay]:
    """A wire to the server, chosen by the project."""
    relay = Relay(rclone.port)
    S3Server(relay.port).use(data.box)
    yield relay
    relay.close()


# what happens to the wire, and how it is told
WIRE = pytest.mark.parametrize(
    ("fault", "words"), [("freeze", "did not answer"), ("cut", "closed the connection|be reached|be asked")]
)


@WIRE
def test_wire_fails_in_a_push(data, rclone, relay, fault: str, words: str) -> None:
    happens = in_the_middle(lambda: len(data.objects(rclone.store / BUCKET)) > 5, getattr(relay, fault))
    with happens, fails_within(75, words):
        data.push()
    assert 5 < len(data.objects(rclone.store / BUCKET)) < 151
    relay.thaw()
    recovers(data)


@WIRE
def test_wire_fails_in_a_pull(data, relay, fault: str, words: str) -> None:
    data.push()
    data.forget()
    happens = in_the_middle(lambda: len(data.objects(data.cache)) > 5, getattr(relay, fault))
    with happens, fails_within(75, words):
        data.sync()
    assert not (data.root / "data/database").exists() and data.box.git("status", "--porcelain") == ""
    relay.thaw()
    data.sync()
    data.check()


@pytest.mark.parametrize("way", ["push", "pull"])
def test_a_moments_cut_is_got_over(data, rclone, relay, way: str) -> None:
    """Every connection is reset once in the middle; the next ones work: no error at all."""

    def hiccup() -> None:
        relay.cut()
        relay.thaw()

    if way == "pull":
        data.push()
        data.forget()
    folder, command = (rclone.store / BUCKET, data.push) if way == "push" else (data.cache, data.sync)
    with in_the_middle(lambda: len(data.objects(folder)) > 5, hiccup):
        command()
    recovers(data)


def test_store_full(data, rclone) -> None:
    rclone.use(data.box)
    with small_disk(rclone.store / BUCKET, "1m"):
        with fails_within(60, r"remote minio .* (is full|answers InternalError)"):
            data.push()
        subprocess.run(["mount", "-o", "remount,size=100m", str(rclone.store / BUCKET)], check=True)
        recovers(data)
        rclone.kill()


def test_cache_full(data, rclone) -> None:
    rclone.use(data.box)
    data.push()
    data.forget()
    with small_disk(data.cache, "1m"):
        with fails_within(60, "cache .* is full"):
            data.sync()
        subprocess.run(["mount", "-o", "remount,size=100m", str(data.cache)], check=True)
        data.sync()
        data.check()


@pytest.mark.parametrize("kind", ["other bytes", "cut short", "list", "folder"])
def test_damaged_object(data, rclone, kind: str) -> None:
    """One of a store (of the right length, shorter, a folder's list) and one of a remote that is a folder."""
    if kind != "folder":
        rclone.use(data.box)
    data.push()
    with open_store(data.root) as data_store:
        md5 = data.pointer.md5 if kind == "list" else data_store.parts(data.pointer)[0]
    key = f"files/md5/{md5[:2]}/{md5[2:]}"
    content = (data.cache / key).read_bytes()
    damaged = content[:-1] if kind == "cut short" else bytes([content[0] ^ 1]) + content[1:]
    if kind == "folder":
        folder = data.root.parent / "explicitlm-storage"
        (folder / key).unlink()
        (folder / key).write_bytes(damaged)
    else:
        rclone.client().put_object(Bucket=BUCKET, Key=key, Body=damaged)
    spare = data.root.parent / "spare"
    shutil.copytree(data.cache, spare)
    data.forget()
    # DVC itself drops a damaged object from a remote that is a folder; then it counts as missing
    file = "database" if kind == "list" else r"part/\d+\.jsonl"
    words = "1 object.* neither in the cache nor" if kind == "folder" else rf"damaged.*{file}.*{md5[2:]}"
    with fails_within(60, words, DataError):
        data.sync()
    assert not (data.cache / key).exists() and not (data.root / "data/database").exists()
    if kind != "folder":  # as the message says; then whoever has the data pushes it
        rclone.client().delete_object(Bucket=BUCKET, Key=key)
    data.forget()
    shutil.copytree(spare, data.cache)
    recovers(data)


def test_object_lost_by_the_store(data, rclone) -> None:
    rclone.use(data.box)
    data.push()
    with open_store(data.root) as data_store:
        md5 = data_store.parts(data.pointer)[3]
    key = f"files/md5/{md5[:2]}/{md5[2:]}"
    rclone.client().delete_object(Bucket=BUCKET, Key=key)
    assert "up to date" in data.box.dvc("push", "data/database").stdout  # DVC alone does not see it
    recovers(data)
    assert key in rclone.objects()


def test_never_pushed(data, rclone) -> None:
    rclone.use(data.box)
    spare = data.root.parent / "spare"
    shutil.copytree(data.cache, spare)
    data.forget()
    with fails_within(60, "neither in the cache nor on remote minio", DataError):
        data.sync()
    shutil.rmtree(data.cache, ignore_errors=True)
    shutil.copytree(spare, data.cache)
    recovers(data)


def test_two_people_push_at_once(data, rclone) -> None:
    rclone.use(data.box)
    other = data.root.parent / "colleague"
    shutil.copytree(data.root, other, symlinks=True)
    push = ("from pathlib import Path; from explicitlm.vcs.data_store import open_store; "
            "from explicitlm.vcs.pointer import parse_pointer; root = Path.cwd(); c = open_store(root); "
            "pointer = parse_pointer((root / 'data/database.dvc').read_text(), 'x'); "
            "c.__enter__().push({'data/database': pointer}); c.__exit__(None, None, None)")  # fmt: skip
    people = [subprocess.Popen([sys.executable, "-c", push], cwd=root) for root in (data.root, other)]
    assert [person.wait() for person in people] == [0, 0]
    data.forget()
    data.sync()
    data.check()


def test_leftovers_of_a_killed_pull(data, rclone) -> None:
    """A `dvc pull` that was killed leaves `.xxx.tmp` files; DVC then refuses, here the data is completed."""
    rclone.use(data.box)
    data.push()
    data.sync()
    folder = data.root / "data/database/part"
    (folder / "003.jsonl").unlink()
    (folder / ".Sj2kd0sLf8sdf_ksjdK23w.tmp").write_bytes(b"half of it")
    data.sync()
    data.check()


def test_ceph_blocks_when_full(data, ceph, ceph_bucket: str) -> None:
    """A full Ceph store answers no write at all, and DVC alone waits for ever."""
    ceph.use(data.box, ceph_bucket)
    with ceph.full(), fails_within(75, "did not answer within 10 s"):
        data.push()
    recovers(data)


@contextmanager
def in_the_middle(condition, action) -> Iterator[None]:
    """Does something as soon as a condition holds, while the body runs."""

    def watch() -> None:
        wait_for(condition)
        action()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        thread.join()
