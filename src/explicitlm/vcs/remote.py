"""Which store the data is pushed to: the configuration of DVC's default remote.

The choice and the credentials go to .dvc/config.local (ignored by git, readable by its owner only); credentials may
also stay in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from configobj import ConfigObj

from explicitlm.common.errors import UsageError
from explicitlm.common.files import write_text
from explicitlm.common.shown import without_secrets
from explicitlm.vcs.dvc_config import CONNECT_S, READ_S, dvc_config

MINIO = "minio"
LOCAL = "local"
LOCAL_URL = "../../explicitlm-storage"  # beside the clone, so that clones that lie beside each other share it
BUCKET_FORM = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class Remote:
    """DVC's default remote.

    Attributes:
        name: as in DVC's configuration. url: a folder or s3://BUCKET[/PREFIX].
        settings: its section, credentials included: never to be shown.
    """

    name: str
    url: str
    settings: Mapping[str, str]

    @property
    def is_s3(self) -> bool:
        """Whether it is an object store."""
        return self.url.startswith("s3://")

    @property
    def folder(self) -> Path | None:
        """Where it is on this machine; None where it is reached by a network."""
        kind, separator, path = self.url.partition("://")
        if separator:
            return Path(path) if kind in ("file", "local") else None
        return Path(self.url)

    @property
    def bucket(self) -> str:
        """The bucket of an object store."""
        return urlsplit(self.url).netloc

    @property
    def prefix(self) -> str:
        """What the keys in the bucket begin with; "" or a text that ends in "/"."""
        path = urlsplit(self.url).path.strip("/")
        return f"{path}/" if path else ""

    @property
    def endpoint(self) -> str | None:
        """Its address; None is AWS itself."""
        return self.settings.get("endpointurl") or os.environ.get("AWS_ENDPOINT_URL") or None

    @property
    def place(self) -> str:
        """Where it is, in words without secrets."""
        url = without_secrets(self.url)
        if not self.is_s3:
            return f"{self.name} ({url})"
        return f"{self.name} ({url} at {without_secrets(self.endpoint or 'AWS')})"


def default_remote(config: Mapping[str, Any]) -> Remote | None:
    """The default remote of a merged DVC configuration (see `dvc_config`)."""
    name = config.get("core", {}).get("remote")
    settings = config.get("remote", {}).get(name)
    if not name or settings is None:
        return None
    return Remote(name, settings.get("url", ""), dict(settings))


def choose_s3(main: Path, endpoint: str, bucket: str, access_key: str | None, secret_key: str | None) -> None:
    """Makes an S3 store the default remote of this clone.

    Args:
        main: the project's main checkout.
        endpoint: http(s)://HOST:PORT.
        bucket: an existing bucket.
        access_key: kept in .dvc/config.local together with `secret_key`; None keeps those that are there, else leaves
            them to the environment.

    Raises:
        UsageError: the endpoint or bucket is of no valid form.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.username:
        raise UsageError(f"{without_secrets(endpoint)!r} is not an endpoint: "
                         "it is http://HOST:PORT, without bucket or credentials",
                         "explicitlm remote minio --endpoint http://HOST:PORT --bucket dvc-storage")  # fmt: skip
    if not BUCKET_FORM.fullmatch(bucket):
        raise UsageError(f"{bucket!r} is not a bucket name (lower case letters, digits, '-', '.')",
                         "explicitlm remote minio --endpoint http://HOST:PORT --bucket dvc-storage")  # fmt: skip
    with _local_config(main) as config:
        section = config.setdefault(f'remote "{MINIO}"', {})
        settings = {"url": f"s3://{bucket}", "endpointurl": endpoint.rstrip("/"), "verify": "true"}
        section.update(settings | {"connect_timeout": str(CONNECT_S), "read_timeout": str(READ_S)})
        if access_key is not None:
            section["access_key_id"] = access_key
            section.pop("secret_access_key", None)
            if secret_key is not None:
                section["secret_access_key"] = secret_key
        config.setdefault("core", {})["remote"] = MINIO


def choose_local(main: Path) -> None:
    """Goes back to the project's own default, a folder; what is known of the other store stays."""
    with _local_config(main) as config:
        config.get("core", {}).pop("remote", None)
    known = dvc_config(main)
    if known.get("core", {}).get("remote") == LOCAL:
        return
    with _local_config(main) as config:  # the project itself names none, or another one
        config.setdefault("core", {})["remote"] = LOCAL
        if LOCAL not in known.get("remote", {}):
            config[f'remote "{LOCAL}"'] = {"url": LOCAL_URL}


@contextmanager
def _local_config(main: Path) -> Iterator[ConfigObj]:
    path = main / ".dvc/config.local"
    config = ConfigObj(str(path), list_values=False, encoding="utf-8")
    yield config
    config.filename = None  # so that write() gives the lines, to be written atomically and for the owner only
    lines = [line if isinstance(line, str) else line.decode("utf-8") for line in config.write()]
    if ConfigObj(lines, list_values=False, encoding="utf-8").dict() != config.dict():
        raise UsageError("DVC's configuration cannot hold this key or secret ('#' begins a comment there)",
                         "give it by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, without --access-key")  # fmt: skip
    write_text(path, "\n".join([*lines, ""]), mode=0o600)
