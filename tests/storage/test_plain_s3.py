"""Settings of a store that are known without botocore: the same as botocore's, or none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from s3_servers import BUCKET, KEY, SECRET

from explicitlm.vcs import s3
from explicitlm.vcs.object_store import certificates, handles
from explicitlm.vcs.plain_s3 import plain_settings
from explicitlm.vcs.remote import Remote

ENDPOINT = "http://127.0.0.1:9"
OWN = {"access_key_id": "mine", "secret_access_key": "my secret"}
VARIABLES = {"AWS_ACCESS_KEY_ID": "theirs", "AWS_SECRET_ACCESS_KEY": "their secret"}


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, proxies or profiles of whoever runs the tests."""
    known = ("AWS_", "HTTP", "NO_PROXY", "ALL_PROXY", "REQUESTS_")
    for name in [name for name in os.environ if name.upper().startswith(known)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    s3._client.cache_clear()


def remote(**settings: str) -> Remote:
    return Remote("minio", f"s3://{BUCKET}", {"url": f"s3://{BUCKET}", "endpointurl": ENDPOINT} | settings)


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        (OWN, {}),
        (OWN | {"session_token": "of mine", "region": "eu-central-1"}, {}),
        (OWN, VARIABLES | {"AWS_SESSION_TOKEN": "of theirs", "AWS_DEFAULT_REGION": "us-west-2"}),
        ({}, VARIABLES),
        ({}, VARIABLES | {"AWS_SESSION_TOKEN": "of theirs", "AWS_DEFAULT_REGION": "us-west-2"}),
        ({"region": "eu-central-1"}, VARIABLES | {"AWS_DEFAULT_REGION": "us-west-2", "AWS_MAX_ATTEMPTS": "3"}),
        ({"endpointurl": "https://store.example.org"}, VARIABLES | {"AWS_CA_BUNDLE": "/a/bundle"}),
        ({"endpointurl": ""}, VARIABLES | {"AWS_ENDPOINT_URL": "http://h:1"}),
    ],
)
def test_they_are_what_botocore_finds(settings: dict, variables: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    where = remote(**settings)
    plain = plain_settings(where)
    assert plain is not None and handles(where)
    client, session = s3.client(where), s3.session(where)
    signer = client._request_signer._credentials.get_frozen_credentials()
    assert plain[2:5] == (signer.access_key, signer.secret_key, signer.token)
    assert plain[:2] == (client.meta.endpoint_url, client.meta.region_name)
    assert plain.ca_bundle == session.get_config_variable("ca_bundle") == certificates(where)
    assert not session.get_scoped_config()


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ({}, {}),  # no credentials
        ({"access_key_id": "mine"}, VARIABLES),  # half of them
        ({"session_token": "of mine"}, VARIABLES),
        ({}, {"AWS_ACCESS_KEY_ID": "theirs"}),
        ({}, VARIABLES | {"AWS_SECURITY_TOKEN": "an older name"}),
        ({}, VARIABLES | {"AWS_SESSION_TOKEN": ""}),
        ({}, VARIABLES | {"AWS_CREDENTIAL_EXPIRATION": "2030-01-01T00:00:00Z"}),
        (OWN, {"AWS_PROFILE": "other"}),
        (OWN, {"AWS_CONFIG_FILE": "/a/config"}),
        (OWN, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}),
        (OWN | {"profile": "other"}, {}),
        (OWN | {"credentialpath": "/a/file"}, {}),
        (OWN | {"configpath": "/a/file"}, {}),
        (OWN | {"endpointurl": "http://h:1/path"}, {}),
        (OWN | {"endpointurl": "", "region": "eu-central-1"}, {}),  # AWS itself
        (OWN | {"region": "aws-global"}, {}),
        (OWN | {"region": "no region"}, {}),
    ],
)
def test_botocore_is_asked_for_all_else(settings: dict, variables: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert plain_settings(remote(**settings)) is None


@pytest.mark.parametrize("name", ["config", "credentials"])
def test_botocore_is_asked_where_a_person_has_files_for_it(name: str, tmp_path: Path) -> None:
    assert plain_settings(remote(**OWN)) is not None
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / name).write_text("")
    assert plain_settings(remote(**OWN)) is None


MOVES = """
import sys
from pathlib import Path
from explicitlm.vcs.data_store import open_store
from explicitlm.vcs.pointer import parse_pointer

pointers = {"data/database": parse_pointer(Path("data/database.dvc").read_text(), "data/database.dvc", "database")}
with open_store(Path.cwd()) as data_store:
    getattr(data_store, sys.argv[1])(pointers)
print("botocore" in sys.modules)
"""


@pytest.mark.slow
def test_nothing_is_loaded_that_is_not_needed(project, rclone) -> None:
    rclone.use(project)
    assert project.run(sys.executable, "-c", MOVES, "push").stdout == "False\n"
    subprocess.run(["rm", "-r", project.root / ".dvc/cache"], check=True)
    assert project.run(sys.executable, "-c", MOVES, "fetch").stdout == "False\n"
    assert any((project.root / ".dvc/cache/files/md5").rglob("*.dir"))
    (Path(project.env["HOME"]) / ".aws").mkdir()
    (Path(project.env["HOME"]) / ".aws/credentials").write_text(
        f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    assert project.run(sys.executable, "-c", MOVES, "push").stdout == "True\n"
