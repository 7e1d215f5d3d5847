"""A remote's bucket for `obstore`, an S3 client in Rust, with the settings that DVC and botocore would use for it.

botocore finds credentials, region, endpoint, certificates and proxies as it does for DVC itself; they are handed over.
Where it is plain what it would find it is not even loaded (`plain_s3`). What cannot be handed over stays with DVC's own
client (`handles`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from explicitlm.vcs.dvc_config import CONNECT_S, READ_S
from explicitlm.vcs.plain_s3 import PlainSettings, plain_settings
from explicitlm.vcs.remote import Remote
from explicitlm.vcs.s3 import client, session

if TYPE_CHECKING:
    from obstore.store import BackoffConfig, ClientConfig, S3Store

# Settings of a remote that mean the same here; of others (encryption, access lists, versions, ...) DVC takes care.
KNOWN = {
    "url", "endpointurl", "region", "profile", "credentialpath", "configpath", "access_key_id", "secret_access_key",
    "session_token", "ssl_verify", "connect_timeout", "read_timeout", "verify", "jobs", "checksum_jobs", "use_ssl",
    "cache_regions", "listobjects", "no_traverse",
}  # fmt: skip
TRANSFER_SETTINGS = {"max_queue_size", "max_concurrent_requests", "multipart_threshold", "multipart_chunksize"}
RETRIES = 2  # of one request, within about a second; a store that stays away is found by `s3.watching`
BACKOFF: BackoffConfig = {
    "init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2,
}  # fmt: skip


def handles(remote: Remote) -> bool:
    """Whether objects of this remote can be moved here; else DVC moves them."""
    if not remote.is_s3 or "?" in remote.url or not remote.settings.keys() <= KNOWN:
        return False
    if remote.endpoint is None and not remote.settings.get("region"):
        return False  # at AWS itself DVC asks for the bucket's region
    if plain_settings(remote) is not None:
        return True
    own = session(remote).get_scoped_config().get("s3") or {}  # the person's ~/.aws/config
    return isinstance(own, dict) and own.keys() <= TRANSFER_SETTINGS | {"addressing_style"} and (
        own.get("addressing_style") != "virtual"
    )  # fmt: skip


def object_store(remote: Remote) -> S3Store:
    """The bucket, with the remote's prefix before each key.

    Raises:
        StorageError: the settings are not usable, in words.
    """
    from obstore.store import S3Store

    plain = plain_settings(remote)
    if plain:
        endpoint, region = plain.endpoint, plain.region
    else:
        meta = client(remote).meta
        endpoint, region = meta.endpoint_url, meta.region_name
    options, credentials = _options(remote, endpoint), _Credentials(remote, plain)
    with _without_variables():
        return S3Store(
            remote.bucket,
            prefix=remote.prefix.rstrip("/") or None,
            endpoint=endpoint,
            region=region,
            virtual_hosted_style_request=False,
            credential_provider=credentials,
            client_options=options,
            retry_config={"max_retries": RETRIES, "backoff": BACKOFF, "retry_timeout": timedelta(minutes=3)},
        )


@contextmanager
def _without_variables() -> Iterator[None]:
    """obstore reads more of the environment than botocore does, such as AWS_ENDPOINT: both must do the same."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("AWS_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


class _Credentials:
    """Asked by obstore whenever it needs them anew: those of a role or a container expire."""

    def __init__(self, remote: Remote, plain: PlainSettings | None) -> None:
        self._remote, self._plain = remote, plain

    def __call__(self) -> Any:
        """The credentials of now; `expires_at` in UTC, or None where they stay."""
        settings, plain = self._remote.settings, self._plain
        if plain or settings.get("access_key_id"):
            names = ("access_key_id", "secret_access_key", "session_token")
            key, secret, token = plain[2:5] if plain else (settings.get(name) for name in names)
            return {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": None}
        found = session(self._remote).get_credentials()
        frozen = found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": getattr(found, "_expiry_time", None),  # botocore has no public name for it
        }


def _options(remote: Remote, endpoint: str) -> ClientConfig:
    """How connections are made: time limits, certificates, proxy."""
    options: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=int(remote.settings.get("connect_timeout") or CONNECT_S)),
        "read_timeout": timedelta(seconds=int(remote.settings.get("read_timeout") or READ_S)),
        "timeout": timedelta(days=7),  # for all of one object, however large; a silent wire ends by `read_timeout`
    }
    verify = certificates(remote)
    if verify is False:
        options["allow_invalid_certificates"] = True
    elif isinstance(verify, str):
        options["root_certificate"] = Path(verify).read_bytes()
    options.update(_proxy(endpoint))
    return options


def certificates(remote: Remote) -> str | bool | None:
    """What botocore checks a store's certificate against: a file, True or None (the usual ones), or False (nothing)."""
    verify = remote.settings.get("ssl_verify")
    if verify:
        return {"true": True, "false": False}.get(verify.lower(), verify)
    plain = plain_settings(remote)
    found: str | None = plain.ca_bundle if plain else session(remote).get_config_variable("ca_bundle")
    return found or os.environ.get("REQUESTS_CA_BUNDLE")


def _proxy(endpoint: str) -> ClientConfig:
    """The proxy that botocore would take, by the environment; without one none at all, whatever obstore makes of it."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}
    from botocore.utils import get_environ_proxies

    found = get_environ_proxies(endpoint).get(urlsplit(endpoint).scheme)
    if found:
        return {"proxy_url": found if "://" in found else f"http://{found}"}
    if any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in os.environ):
        return {"proxy_url": "http://127.0.0.1:9", "proxy_excludes": urlsplit(endpoint).hostname or ""}
    return {}
