"""One exception tree: what went wrong, the command to run next, and the exit code.

Every error a user can cause is raised as one of these and printed without a traceback
(see `explicitlm.common.errors.report`). A traceback therefore always means a bug of ours.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from explicitlm.common import layout
from explicitlm.common.environment import DEBUG
from explicitlm.common.shown import printable, without_secrets


class ExplicitLMError(Exception):
    """A failure with a cause that the user can act on.

    Args:
        cause: one or more sentences: what is wrong, with the names and values involved.
        hint: the command to run next, or what to change.
    """

    exit_code = 1

    def __init__(self, cause: str, hint: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint


class ConfigError(ExplicitLMError):
    """A hyperparameter is unknown, of the wrong type or out of range."""

    exit_code = 2


class UsageError(ExplicitLMError):
    """The request contradicts the state of the project: an id in use, not a git repository."""

    exit_code = 2


class DataError(ExplicitLMError):
    """Data is missing, broken, of an unknown version, or would be overwritten."""

    exit_code = 3


class StorageError(ExplicitLMError):
    """The remote or the local disk could not take or give the bytes."""

    exit_code = 4


class TransferError(StorageError):
    """Some of many objects did not pass; the others did, and the same call goes on from there."""


class TrainingError(ExplicitLMError):
    """Training ended without a checkpoint."""

    exit_code = 5


_DEBUGGING = f"{DEBUG}=1 before the same command shows where it happened"
INTERRUPTED = 130  # the shell's code for a command ended by Ctrl-C


def report(error: ExplicitLMError) -> None:
    """Prints the cause and the next command on stderr, in one place and one form, without passwords of URLs."""
    with suppress(OSError):  # a closed terminal takes nothing away from the exit code
        print(f"error: {printable(without_secrets(error.cause))}", file=sys.stderr)
        if error.hint:
            print(f"  next{_from()}: {printable(without_secrets(error.hint))}", file=sys.stderr)


def _from() -> str:
    """Where the commands of a hint are meant: they name paths from the project's top, the user may be below it."""
    here = Path.cwd()
    top = next((folder for folder in (here, *here.parents) if (folder / layout.PIPELINE).is_file()), here)
    return "" if top == here else f", in {shlex.quote(os.fsdecode(top))}"


def run_reporting(body: Callable[[], int | None]) -> int:
    """Runs a command's body and turns its failure into a message and an exit code.

    `EXPLICITLM_DEBUG=1` lets the traceback through, for those who work on the project itself.
    """
    try:
        return body() or 0
    except ExplicitLMError as error:
        if os.environ.get(DEBUG):
            raise
        report(error)
        return error.exit_code
    except KeyboardInterrupt:
        with suppress(OSError):
            print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except RecursionError:  # brackets within brackets, thousands deep, in a file that somebody made
        if os.environ.get(DEBUG):
            raise
        report(DataError("a file that was read is nested deeper than any of this project's", _DEBUGGING))
        return DataError.exit_code
    except OSError as error:  # a full or read-only disk, a path without permission
        if os.environ.get(DEBUG):
            raise
        place = f" ({error.filename})" if error.filename else ""
        report(StorageError(f"{error.strerror or error}{place}", remedy(error)))
        return StorageError.exit_code


def remedy(error: OSError) -> str:
    """What helps against an error of the operating system, where that is known."""
    where = f" {shlex.quote(os.fsdecode(error.filename))}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"df -h{where or ' .'}; free space there, then the same command"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"ls -ld{where or ' .'}; it must be writable for you, then the same command"
    return _DEBUGGING
