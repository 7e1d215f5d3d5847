"""Objects between a cache and a store without DVC: what arrives, what is refused, and with which settings."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from s3_servers import BUCKET, KEY, SECRET, RcloneServer, S3Server, free_port

from explicitlm.common.errors import DataError, ExplicitLMError, TransferError
from explicitlm.vcs.object_store import handles
from explicitlm.vcs.object_transfer import LARGE, PART, ObjectTransfer
from explicitlm.vcs.remote import Remote

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, proxies or profiles of whoever runs the tests."""
    for name in [name for name in os.environ if name.upper().startswith(("AWS_", "HTTP", "NO_PROXY", "ALL_PROXY"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def remote(server: S3Server, url: str = f"s3://{BUCKET}", **settings: str) -> Remote:
    keys = {"access_key_id": KEY, "secret_access_key": SECRET}
    return Remote("minio", url, {"url": url, "endpointurl": server.endpoint} | keys | settings)


def without_keys(server: RcloneServer, **settings: str) -> Remote:
    return Remote("minio", f"s3://{BUCKET}", {"url": f"s3://{BUCKET}", "endpointurl": server.endpoint} | settings)


def path_of(folder: Path, md5: str) -> Path:
    return folder / "files/md5" / md5[:2] / md5[2:]


def put(cache: Path, content: bytes, suffix: str = "") -> str:
    md5 = hashlib.md5(content).hexdigest() + suffix
    path_of(cache, md5).parent.mkdir(parents=True, exist_ok=True)
    path_of(cache, md5).write_bytes(content)
    return md5


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def moves(where: Remote, folder: Path) -> None:
    """An object there and back."""
    md5 = put(folder / "from", b"some text")
    ObjectTransfer(where, folder / "from", shared=False).push({md5}, lambda: None)
    ObjectTransfer(where, folder / "to", shared=False).pull({md5}, lambda: None)
    assert path_of(folder / "to", md5).read_bytes() == b"some text"


def test_every_size_arrives_as_dvc_keeps_it(rclone, tmp_path: Path) -> None:
    noise = os.urandom(PART + 5 * LARGE)
    contents = [b"", b"x", noise[:LARGE], noise[1 : LARGE + 2], noise]
    hashes = {put(tmp_path / "from", content) for content in contents} | {put(tmp_path / "from", b"[]", ".dir")}
    where = remote(rclone, f"s3://{BUCKET}/a/b")
    ObjectTransfer(where, tmp_path / "from", shared=False).push(hashes, lambda: None)
    assert rclone.objects() == {
        f"a/b/files/md5/{md5[:2]}/{md5[2:]}": path_of(tmp_path / "from", md5).stat().st_size for md5 in hashes
    }
    ObjectTransfer(where, tmp_path / "to", shared=True).pull(hashes, lambda: None)
    assert len(files(tmp_path / "to")) == len(hashes), "no temporary file stays"
    for md5 in hashes:
        arrived = path_of(tmp_path / "to", md5)
        assert arrived.read_bytes() == path_of(tmp_path / "from", md5).read_bytes()
        assert stat.S_IMODE(arrived.stat().st_mode) == 0o444
        assert stat.S_IMODE(arrived.parent.stat().st_mode) == 0o2775


@pytest.mark.hint("mv {} {}.damaged, then dvc add the data where it is whole, and the same command")
@pytest.mark.parametrize("size", [100, PART + LARGE])
def test_an_object_that_is_damaged_here_is_not_sent(rclone, tmp_path: Path, size: int) -> None:
    whole = os.urandom(size)
    md5 = put(tmp_path, whole)
    good = put(tmp_path, b"good")
    path_of(tmp_path, md5).write_bytes(b"x" * size)
    with pytest.raises(DataError, match="was not sent") as caught:
        ObjectTransfer(remote(rclone), tmp_path, shared=False).push({md5, good}, lambda: None)
    assert md5 in caught.value.cause
    assert not any(md5[2:] in key for key in rclone.objects())
    subprocess.run(["bash", "-c", caught.value.hint.split(", then")[0]], check=True)
    assert put(tmp_path, whole) == md5, "as dvc add does"
    ObjectTransfer(remote(rclone), tmp_path, shared=False).push({md5, good}, lambda: None)
    assert sum(md5[2:] in key for key in rclone.objects()) == 1


def test_a_damaged_or_absent_object_stays_missing_and_the_others_come(rclone, tmp_path: Path) -> None:
    large, small, good = (put(tmp_path / "from", os.urandom(size)) for size in (LARGE + 1, 10, 20))
    where = remote(rclone)
    ObjectTransfer(where, tmp_path / "from", shared=False).push({large, small, good}, lambda: None)
    for md5, length in ((large, LARGE + 1), (small, 10)):
        rclone.client().put_object(Bucket=BUCKET, Key=f"files/md5/{md5[:2]}/{md5[2:]}", Body=b"x" * length)
    ObjectTransfer(where, tmp_path / "to", shared=False).pull({large, small, good, "0" * 32}, lambda: None)
    assert files(tmp_path / "to") == [path_of(tmp_path / "to", good)]


def test_what_a_real_store_says_of_parts_is_believed(ceph, ceph_bucket: str, tmp_path: Path) -> None:
    """S3 makes the ETag of an upload in parts of the parts' digests; nothing has to be read back."""
    large, small = put(tmp_path, os.urandom(2 * PART + 7)), put(tmp_path, b"small")
    transfer = ObjectTransfer(remote(ceph, f"s3://{ceph_bucket}"), tmp_path, shared=False)
    transfer.push({large, small}, lambda: None)
    told = transfer.info({large, small})
    assert told[large].etag.endswith("-3") and told[small].size == 5
    assert transfer.is_believed(large, told[large]) and transfer.is_believed(small, told[small])
    assert not transfer.is_believed(large, told[small]._replace(etag=told[large].etag.replace("-3", "-4")))
    moves(remote(ceph, f"s3://{ceph_bucket}/more"), tmp_path)


def test_few_are_asked_for_and_many_are_listed(rclone, tmp_path: Path) -> None:
    hashes = {put(tmp_path, b"%d" % number) for number in range(600)}
    transfer = ObjectTransfer(remote(rclone), tmp_path, shared=False)
    transfer.push(hashes, lambda: None)
    some = {"0" * 32, *sorted(hashes)[:9]}
    assert transfer.info(some).keys() == some - {"0" * 32}
    sizes = {md5: told.size for md5, told in transfer.info(hashes | some).items()}
    assert sizes == {md5: path_of(tmp_path, md5).stat().st_size for md5 in hashes}


def test_lists_of_folders_go_last(rclone, tmp_path: Path) -> None:
    """Where an object cannot be sent its folder's list is not there either: other clients trust a list."""
    damaged, folder = put(tmp_path, b"damaged"), put(tmp_path, b"[]", ".dir")
    path_of(tmp_path, damaged).write_bytes(b"DAMAGED")
    with pytest.raises(DataError):
        ObjectTransfer(remote(rclone), tmp_path, shared=False).push({damaged, folder}, lambda: None)
    assert rclone.objects() == {}


def test_the_person_who_watches_ends_a_transfer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explicitlm.vcs.at_once.WATCH_S", 0.01)

    def give_up() -> None:
        raise ExplicitLMError("enough", "nothing")

    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = remote(RcloneServer(silent.getsockname()[1], store=tmp_path))
        with pytest.raises(ExplicitLMError, match="enough"):
            ObjectTransfer(where, tmp_path / "to", shared=False).pull({"0" * 32}, give_up)
    assert files(tmp_path / "to") == []


@pytest.mark.parametrize("way", ["environment", "profile", "credentialpath", "named profile"])
def test_credentials_are_found_where_dvc_finds_them(rclone, tmp_path: Path, monkeypatch, way: str) -> None:
    lines = f"aws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    (tmp_path / ".aws").mkdir()
    settings = {}
    if way == "environment":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    elif way == "profile":
        (tmp_path / ".aws/credentials").write_text(f"[default]\n{lines}")
    elif way == "credentialpath":
        (tmp_path / "mine").write_text(f"[default]\n{lines}")
        settings = {"credentialpath": str(tmp_path / "mine")}
    else:
        (tmp_path / ".aws/credentials").write_text(f"[default]\naws_access_key_id = no\n[other]\n{lines}")
        settings = {"profile": "other"}
    moves(without_keys(rclone, **settings), tmp_path)


def test_the_environments_own_words_for_obstore_do_not_count(rclone, tmp_path: Path, monkeypatch) -> None:
    """DVC knows none of them, and both must go to the same place."""
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_REQUEST_PAYER", "true")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "nonsense")
    moves(remote(rclone), tmp_path)


@pytest.fixture
def https(tmp_path: Path):
    """The server behind a certificate of its own, which only `tmp_path/cert.pem` vouches for."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE",
                    "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
                   check=True, capture_output=True)  # fmt: skip
    (tmp_path / "s3/store" / BUCKET).mkdir(parents=True)
    server = RcloneServer(port=free_port(), store=tmp_path / "s3/store")
    server.start("--cert", str(tmp_path / "cert.pem"), "--key", str(tmp_path / "key.pem"))
    yield server
    server.kill()


def test_a_store_is_known_by_its_certificate(https, tmp_path: Path, monkeypatch) -> None:
    address = https.endpoint.replace("http://", "https://")
    with pytest.raises(TransferError):
        moves(remote(https, endpointurl=address), tmp_path)
    moves(remote(https, endpointurl=address, ssl_verify=str(tmp_path / "cert.pem")), tmp_path)
    moves(remote(https, endpointurl=address, ssl_verify="false"), tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    moves(remote(https, endpointurl=address), tmp_path)


def test_the_way_leads_through_a_proxy_unless_the_store_is_left_out(rclone, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", rclone.endpoint)  # takes what is meant for any host
    moves(remote(rclone, endpointurl="http://nowhere.invalid:9000"), tmp_path)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(TransferError):
        moves(remote(rclone), tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    moves(remote(rclone), tmp_path)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"endpointurl": "http://h:1"}, True),
        ({"region": "eu-central-1"}, True),
        ({}, False),  # AWS itself: DVC asks where the bucket is
        ({"endpointurl": "http://h:1", "sse": "AES256"}, False),
        ({"endpointurl": "http://h:1", "acl": "private"}, False),
        ({"endpointurl": "http://h:1", "allow_anonymous_login": "true"}, False),
        ({"endpointurl": "http://h:1", "version_aware": "true"}, False),
    ],
)
def test_what_cannot_be_said_here_stays_with_dvc(settings: dict[str, str], expected: bool) -> None:
    assert handles(Remote("far", "s3://bucket", {"url": "s3://bucket"} | settings)) is expected
    assert not handles(Remote("far", "gs://bucket", {"url": "gs://bucket"} | settings))


def test_settings_of_a_profile_that_mean_more_stay_with_dvc(tmp_path: Path) -> None:
    where = Remote("far", "s3://bucket", {"url": "s3://bucket", "endpointurl": "http://h:1", "profile": "v"})
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("[profile v]\ns3 =\n  addressing_style = virtual\n")
    assert not handles(where)
