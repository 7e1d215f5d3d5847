"""What botocore would find for a remote, where only the remote's own settings and a few variables say it.

Loading botocore and making its client takes 0.25 s, more than many a transfer. Wherever a profile, a file of AWS's own
or any other variable may have a part in it, botocore is asked.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from explicitlm.vcs.remote import Remote

FILES = ("~/.aws/config", "~/.aws/credentials")
BY_FILES = {"profile", "credentialpath", "configpath"}  # settings of a remote that lead to files
# Variables that are read here, and those that concern neither credentials nor the way to the store
READ = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",
        "AWS_CA_BUNDLE"}  # fmt: skip
HARMLESS = READ | {"AWS_MAX_ATTEMPTS", "AWS_PAGER", "AWS_EC2_METADATA_DISABLED"}
ENDPOINT = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?")
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
DEFAULT_REGION = "us-east-1"


class PlainSettings(NamedTuple):
    """What a request to the store needs. ca_bundle: a file, or None for the usual ones."""

    endpoint: str
    region: str
    key: str
    secret: str
    token: str | None
    ca_bundle: str | None


def plain_settings(remote: Remote) -> PlainSettings | None:
    """The settings of an S3 store; None where botocore must be asked for them."""
    variables = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    if not variables.keys() <= HARMLESS or not all(variables.values()) or remote.settings.keys() & BY_FILES:
        return None
    if any(Path(name).expanduser().exists() for name in FILES):
        return None
    own = [remote.settings.get(name) for name in ("access_key_id", "secret_access_key", "session_token")]
    if any(own):
        key, secret, token = own
    else:
        key, secret, token = (variables.get(f"AWS_{name}") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY",
                                                                       "SESSION_TOKEN"))  # fmt: skip
    region = remote.settings.get("region") or variables.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
    endpoint = remote.endpoint or ""
    if not key or not secret or not ENDPOINT.fullmatch(endpoint) or not REGION.fullmatch(region):
        return None
    return PlainSettings(endpoint, region, key, secret, token or None, variables.get("AWS_CA_BUNDLE"))
