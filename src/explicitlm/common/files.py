"""Writing and reading the project's small files: whole or not at all, in UTF-8, with stable JSON."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from explicitlm.common.errors import UsageError


def write_text(path: Path, text: str, mode: int = 0o666) -> None:
    """Writes text so that a reader sees the old file or the new one, never a part, also after a power cut.

    Args:
        path: the file. text: its content.
        mode: its permissions, from which the user's umask takes; credentials are for their owner only.

    Raises:
        OSError: the disk is full or read-only; the old file is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Waits until the disk has a folder's entries: a rename alone may be lost in a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def to_json(value: Any) -> str:
    """JSON as all our files have it: keys in the order given, readable Chinese, newline at the end.

    Lone surrogates (bytes that were no UTF-8 on the command line) are escaped so that the file stays UTF-8.
    """
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def write_json(path: Path, value: Any) -> None:
    """Writes `to_json(value)` atomically."""
    write_text(path, to_json(value))


def read_json(path: Path, hint: str) -> dict[str, Any]:
    """Reads a JSON object of ours.

    Args:
        path: the file.
        hint: the command that makes the file, for the message when it is missing or broken.

    Raises:
        UsageError: the file is missing, or no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist", hint) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid JSON ({error})", hint) from None
    if not isinstance(value, dict):
        raise UsageError(f"{path} holds no JSON object", hint)
    return value


def sha256(data: bytes) -> str:
    """Hex digest of bytes."""
    return hashlib.sha256(data).hexdigest()
