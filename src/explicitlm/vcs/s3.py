"""Short questions to an S3 store, each answered or given up within seconds.

DVC itself stays silent for up to minutes when nobody answers, and for ever when a full store blocks.
So the store is asked before data moves, and again and again while DVC moves it.
"""

from __future__ import annotations

import os
import shlex
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from explicitlm.common.errors import StorageError
from explicitlm.common.shown import without_secrets
from explicitlm.vcs.dvc_config import CONNECT_S
from explicitlm.vcs.remote import Remote

ASK_S = 10  # waiting for an answer
PATIENCE = 2  # questions in a row without an answer, until a transfer is given up
AGAIN_S = 2  # between them
MAX_SKEW_S = 900  # S3 refuses requests of a clock that differs by more
PROBE = b"explicitlm probe\n"
ANSWERS = {
    "NoSuchBucket": "has no bucket {bucket}",
    "404": "has no bucket {bucket}",
    "InvalidAccessKeyId": "does not know the access key",
    "SignatureDoesNotMatch": "refuses the secret key",
    "AccessDenied": "refuses access to bucket {bucket} with this access key",
    "403": "refuses the credentials",
    "RequestTimeTooSkewed": "says that this machine's clock is wrong",
}


def ask(remote: Remote) -> None:
    """Whether the store answers, knows us, and has the bucket.

    Raises:
        StorageError: in words, within `CONNECT_S` or `ASK_S` seconds.
    """
    _request(remote, lambda client: client.list_objects_v2(Bucket=remote.bucket, MaxKeys=1))


def probe(remote: Remote) -> float:
    """Writes a small object, reads it back and removes it.

    Returns:
        seconds by which this machine's clock is ahead of the store's; S3 refuses requests beyond `MAX_SKEW_S`.

    Raises:
        StorageError: in words; the store is full, refuses to write, or gives back other bytes.
    """
    place = {"Bucket": remote.bucket, "Key": f"{remote.prefix}.explicitlm-probe-{uuid.uuid4().hex}"}
    answer = _request(remote, lambda client: client.put_object(**place, Body=PROBE))
    content = _request(remote, lambda client: client.get_object(**place)["Body"].read())
    _request(remote, lambda client: client.delete_object(**place))
    if content != PROBE:
        raise StorageError(f"remote {remote.place} gave back other bytes than were written", "use another store")
    return _ahead(answer)


def _ahead(answer: Any) -> float:
    """Seconds by which this machine's clock is ahead of that of the store, by its answer; 0 if that has no date."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return (datetime.now(timezone.utc) - parsedate_to_datetime(date)).total_seconds() if date else 0.0


def watching(remote: Remote, question: Callable[[Remote], object]) -> Callable[[], None]:
    """A call to be made every few seconds while data moves, which ends a hopeless transfer.

    Args:
        remote: the store; of a remote that is none nothing is asked.
        question: `ask` or `probe`.

    Returns:
        the call; it raises the StorageError once `PATIENCE` questions in a row had no good answer.
    """

    def watch() -> None:
        for remaining in reversed(range(PATIENCE)):
            try:
                question(remote)
                return
            except StorageError:
                if not remaining:
                    raise
                time.sleep(AGAIN_S)

    return watch if remote.is_s3 else lambda: None


def _request(remote: Remote, operation: Callable[[Any], Any]) -> Any:
    """The answer to a request; its failure as an error that says what to do."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return operation(client(remote))
    except ClientError as error:
        raise StorageError(*_response_error(remote, error)) from None
    except BotoCoreError as error:
        raise StorageError(*_connection_error(remote, error)) from None


def client(remote: Remote) -> Any:
    """An S3 client with the remote's own settings that gives up soon."""
    return _client(remote.endpoint, tuple(sorted(remote.settings.items())))[1]


def session(remote: Remote) -> Any:
    """What botocore knows of this machine's profiles and credentials, with the remote's own settings."""
    return _client(remote.endpoint, tuple(sorted(remote.settings.items())))[0]


@lru_cache
def _client(endpoint: str | None, items: tuple[tuple[str, str], ...]) -> tuple[Any, Any]:
    """Session and client; kept, because making them costs 0.3 s and a transfer asks every few seconds."""
    import botocore.session
    from botocore.config import Config

    settings = dict(items)
    known = botocore.session.Session(profile=settings.get("profile"))
    for variable, key in (("credentials_file", "credentialpath"), ("config_file", "configpath")):
        if settings.get(key):
            known.set_config_variable(variable, settings[key])
    verify = settings.get("ssl_verify")
    made = known.create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.get("region") or known.get_config_variable("region") or "us-east-1",
        aws_access_key_id=settings.get("access_key_id"),
        aws_secret_access_key=settings.get("secret_access_key"),
        aws_session_token=settings.get("session_token"),
        verify={"true": True, "false": False}.get(verify.lower(), verify) if verify else None,
        config=Config(connect_timeout=CONNECT_S, read_timeout=ASK_S, retries={"total_max_attempts": 1}),
    )
    return known, made


def _response_error(remote: Remote, error: Any) -> tuple[str, str]:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in ("AccessDenied", "403") and abs(_ahead(error.response)) > MAX_SKEW_S:
        code = "RequestTimeTooSkewed"  # not every store says why
    text = ANSWERS.get(code, f"answers {code or 'with an error'}")
    if code in ("NoSuchBucket", "404"):
        hint = f"make the bucket {remote.bucket} on the store, or choose another: {_command(remote)}"
    elif code == "RequestTimeTooSkewed":
        hint = "set the clock (date -u; timedatectl set-ntp true)"
    else:
        hint = f"{_command(remote)} --access-key KEY"
    return f"remote {remote.place} {text.format(bucket=remote.bucket)}", hint


def _connection_error(remote: Remote, error: Exception) -> tuple[str, str]:
    kind = type(error).__name__
    if kind in ("ProfileNotFound", "PartialCredentialsError"):
        return (f"remote {remote.place}: {error}", "aws configure list-profiles; AWS_PROFILE names one that exists, "
                f"or none: unset AWS_PROFILE; the remote's own: dvc config remote.{remote.name}.profile")  # fmt: skip
    if kind in ("ConfigParseError", "UnknownCredentialError"):
        return (
            f"remote {remote.place}: {error}",
            "correct that file (~/.aws/config or ~/.aws/credentials, if not named)",
        )
    if kind == "ProxyConnectionError":
        return (f"remote {remote.place} is asked through a proxy that does not answer ({_proxies()})",
                f"correct HTTP_PROXY and HTTPS_PROXY, or leave the store out: NO_PROXY={_host(remote)}")  # fmt: skip
    if kind == "SSLError" and "wrong version number" in str(error).lower().replace("_", " "):
        return (f"remote {remote.place} speaks http, not https",
                _command(remote).replace("https://", "http://"))  # fmt: skip
    if "Credentials" in kind:
        return (f"there are no credentials for remote {remote.place}",
                f"{_command(remote)} --access-key KEY, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")  # fmt: skip
    text = {
        "EndpointConnectionError": "cannot be reached",
        "ConnectTimeoutError": f"cannot be reached within {CONNECT_S} s",
        "ReadTimeoutError": f"took the connection but did not answer within {ASK_S} s",
        "SSLError": "has a certificate that this machine does not trust",
        "ConnectionClosedError": "closed the connection without an answer",
    }.get(kind, f"cannot be asked ({kind})")
    return f"remote {remote.place} {text}", f"start the store or correct its address: {_command(remote)}"


def _proxies() -> str:
    found = {key: os.environ[key] for key in os.environ if key.lower() in ("http_proxy", "https_proxy", "all_proxy")}
    return ", ".join(f"{key}={without_secrets(value)}" for key, value in found.items())


def _host(remote: Remote) -> str:
    return urlsplit(remote.endpoint or "").hostname or "s3.amazonaws.com"


def _command(remote: Remote) -> str:
    place = ["--endpoint", remote.endpoint or "http://HOST:PORT", "--bucket", remote.bucket]
    return shlex.join(["explicitlm", "remote", "minio", *place])
