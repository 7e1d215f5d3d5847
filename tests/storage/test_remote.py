"""`explicitlm remote` and the doctor's look at the store."""

from __future__ import annotations

import json
import re
import stat
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from s3_servers import BUCKET, KEY, SECRET, Relay, S3Server, free_port

pytestmark = pytest.mark.slow


def checks(box) -> dict[str, dict]:
    """The doctor's lines by name."""
    output = box.explicitlm("doctor", "--json", check=False).stdout
    return {check["name"]: check for check in json.loads(output)["checks"]}


@pytest.mark.hint("explicitlm remote minio --endpoint http://HOST:PORT --bucket dvc-storage")
@pytest.mark.hint("explicitlm remote local")
def test_choose_push_pull_and_go_back(project, ceph, ceph_bucket: str) -> None:
    """The everyday commands are DVC's own, on Ceph's gateway."""
    ceph.use(project, ceph_bucket)
    assert project.git("status", "--porcelain") == ""
    local = project.root / ".dvc/config.local"
    assert stat.S_IMODE(local.stat().st_mode) == 0o600
    project.dvc("push")
    assert all(size > 0 for size in ceph.objects(ceph_bucket).values()) and len(ceph.objects(ceph_bucket)) == 6
    found = checks(project)
    assert {found[name]["state"] for name in ("remote", "remote store", "clock")} == {"ok"}
    assert len(ceph.objects(ceph_bucket)) == 6, "the probe is still there"
    clone = project.clone("clone")
    ceph.use(clone, ceph_bucket)
    clone.dvc("pull", "--recursive", "data")
    assert (clone.root / "data/database/text.jsonl").read_bytes() == (
        project.root / "data/database/text.jsonl"
    ).read_bytes()
    assert "default remote: local" in project.explicitlm("remote", "local").stdout
    assert checks(project)["dvc"]["detail"].startswith("default remote local")


def test_the_secret_comes_from_standard_input_or_stays_in_the_environment(project, rclone) -> None:
    project.shell(
        f"printf '{SECRET}\\n' | "
        f"explicitlm remote minio --endpoint {rclone.endpoint} --bucket {BUCKET} --access-key {KEY}"
    )
    assert f"secret_access_key = {SECRET}" in (project.root / ".dvc/config.local").read_text()
    assert checks(project)["remote store"]["state"] == "ok"
    project.explicitlm("remote", "minio", "--endpoint", rclone.endpoint)
    assert checks(project)["remote store"]["state"] == "ok", "choosing the address again keeps what was saved"
    for option in ("access_key_id", "secret_access_key"):
        project.dvc("remote", "modify", "--local", "--unset", "minio", option)
    assert SECRET not in (project.root / ".dvc/config.local").read_text()
    assert "there are no credentials" in checks(project)["remote"]["detail"]
    project.env.update(AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)
    assert checks(project)["remote store"]["state"] == "ok"


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["--endpoint", "s3://127.0.0.1:9000/dvc-storage"], "is not an endpoint"),
        (["--endpoint", "http://127.0.0.1:9000/dvc-storage"], "is not an endpoint"),
        (["--endpoint", "http://127.0.0.1:9000", "--bucket", "Not_A_Bucket"], "is not a bucket name"),
        (["--endpoint", "http://127.0.0.1:9000", "--access-key", "k"], "there is no secret"),
    ],
)
def test_what_cannot_be_a_store_is_refused(project, words: list[str], cause: str) -> None:
    done = project.explicitlm("remote", "minio", *words, check=False)
    assert done.returncode == 2 and cause in done.stderr and "next: " in done.stderr
    assert not (project.root / ".dvc/config.local").exists()


@pytest.mark.parametrize(("hours", "state"), [(0, "ok"), (0.1, "warn"), (-1, "fail")])
def test_doctor_tells_a_wrong_clock(project, rclone, hours: float, state: str) -> None:
    """The wire gives the store's answers another date, as a store whose clock is that far ahead would."""

    def another_date(answer: bytes) -> bytes:
        date = format_datetime(datetime.now(timezone.utc) + timedelta(hours=hours), usegmt=True)
        return re.sub(rb"(?m)^Date: [^\r]*", f"Date: {date}".encode(), answer)

    relay = Relay(rclone.port, another_date)
    try:
        S3Server(relay.port).use(project)
        clock = checks(project)["clock"]
    finally:
        relay.close()
    assert clock["state"] == state
    assert abs(int(clock["detail"].split(" s ")[0]) + hours * 3600) < 10
    assert (clock["hint"] == "") == (state == "ok")


def test_doctor_names_a_store_that_is_gone_and_a_folder_that_cannot_be_written(project) -> None:
    S3Server(free_port()).use(project)
    found = checks(project)["remote"]
    assert found["state"] == "fail" and "cannot be reached" in found["detail"]
    assert "explicitlm remote minio --endpoint" in found["hint"]
    project.explicitlm("remote", "local")
    assert checks(project)["remote"]["state"] == "ok"
    (project.root.parent / "explicitlm-storage").rmdir()
    (project.root.parent / "explicitlm-storage").write_text("a file in the way")
    assert checks(project)["remote"]["state"] == "fail"


def test_the_secret_is_in_no_message(project) -> None:
    S3Server(free_port(), secret="very-secret-thing").use(project)
    done = project.explicitlm("doctor", check=False)
    assert "cannot be reached" in done.stdout
    assert KEY not in done.stdout + done.stderr and "very-secret" not in done.stdout + done.stderr
