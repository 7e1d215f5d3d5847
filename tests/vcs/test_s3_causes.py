"""Why a store cannot be asked: each cause in its own words, with a hint that names what to change."""

from __future__ import annotations

from pathlib import Path

import pytest
from s3_servers import BUCKET, KEY, SECRET, free_port

from explicitlm.common.errors import StorageError
from explicitlm.vcs import s3
from explicitlm.vcs.remote import Remote


@pytest.fixture
def remote(rclone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Remote:
    """A real store that answers, for a person without any AWS configuration."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HTTP_PROXY", "http_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("no_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = {"endpointurl": rclone.endpoint, "access_key_id": KEY, "secret_access_key": SECRET}
    s3._client.cache_clear()
    found = Remote("minio", f"s3://{BUCKET}", settings)
    s3.ask(found)
    s3._client.cache_clear()
    return found


def why(remote: Remote) -> StorageError:
    with pytest.raises(StorageError) as caught:
        s3.ask(remote)
    assert SECRET not in caught.value.cause + caught.value.hint
    return caught.value


def test_a_proxy_that_is_not_there(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:hidden@127.0.0.1:{free_port()}")
    error = why(remote)
    assert "through a proxy" in error.cause and "hidden" not in error.cause
    name, value = error.hint.rpartition(" ")[2].split("=")
    monkeypatch.setenv(name, value)  # as the hint says
    s3._client.cache_clear()
    s3.ask(remote)


@pytest.mark.hint(
    "aws configure list-profiles; AWS_PROFILE names one that exists, or none: unset AWS_PROFILE; the remote's own: dvc config remote.{}.profile"  # noqa: E501
)
def test_a_profile_that_does_not_exist(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    error = why(remote)
    assert "nobody" in error.cause and "unset AWS_PROFILE" in error.hint
    monkeypatch.delenv("AWS_PROFILE")
    s3._client.cache_clear()
    s3.ask(remote)


def test_a_broken_aws_configuration(remote: Remote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "aws").write_text("[default\nregion = x\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    error = why(remote)
    assert str(tmp_path / "aws") in error.cause and "correct that file" in error.hint


def test_https_where_the_store_speaks_http(remote: Remote) -> None:
    endpoint = remote.settings["endpointurl"]
    error = why(Remote("minio", remote.url, {**remote.settings, "endpointurl": endpoint.replace("http:", "https:")}))
    assert "speaks http, not https" in error.cause and f"--endpoint {endpoint}" in error.hint
