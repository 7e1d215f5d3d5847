"""The one place that starts git: the same answers whatever a person's configuration and environment say.

Of the user's own settings only those count that say who commits, with which key, and which repositories are safe.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

# Variables of git that describe the person and the installation. All others would steer us to another repository or
# index (a hook, `git rebase --exec` and IDEs set them), change what is printed, or trace into it.
KEPT = (
    "GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH",
    "GIT_SSH", "GIT_SSL_", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM",
)  # fmt: skip

# Settings that change answers, run programs of the user's, or add steps of git's own
PINNED = {
    "advice.objectNameWarning": "false",  # a branch that looks like a hash
    "color.ui": "false",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,  # records must be committed as they are, and a checkout must not start another tool
    "core.quotePath": "false",
    "core.safecrlf": "false",  # with autocrlf it makes adding a file fatal
    "core.warnAmbiguousRefs": "false",
    "diff.autoRefreshIndex": "true",
    "gc.auto": "0",
    "i18n.commitEncoding": "UTF-8",
    "i18n.logOutputEncoding": "UTF-8",
    "log.follow": "false",
    "log.showSignature": "false",
    "maintenance.auto": "false",
}


class GitError(Exception):
    """Git refused.

    Attributes:
        message: what it said, without its advice. returncode: its exit code.
    """

    def __init__(self, message: str, returncode: int) -> None:
        super().__init__(message)
        self.message = message
        self.returncode = returncode


def environment() -> dict[str, str]:
    """This process's environment without what could lead git, or a tool that calls git, astray."""
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key.startswith(KEPT)}


def run_git(
    folder: Path,
    *args: str,
    text: str | None = None,
    more: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> str:
    """Runs one git command to its end.

    Args:
        folder: where. args: the command. text: its standard input.
        more: variables for this call alone. seconds: it is ended after these.

    Returns:
        its output; bytes that are no UTF-8 as lone surrogates.

    Raises:
        GitError: it failed. FileNotFoundError: there is no git, or no such folder.
        subprocess.TimeoutExpired: it took longer than allowed.
    """
    pins = [arg for key, value in PINNED.items() for arg in ("-c", f"{key}={value}")]
    own = {
        "LC_ALL": "C.UTF-8",  # its messages are read
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "false",  # an editor that nobody sees would wait for ever
        "GIT_OPTIONAL_LOCKS": "0",  # reading must not keep the user's own git waiting
    }
    done = subprocess.run(
        ["git", "--no-pager", *pins, *args],
        cwd=folder,
        env={**environment(), **own, **(more or {})},
        input=(text or "").encode("utf-8", "surrogateescape"),
        capture_output=True,
        timeout=seconds,
    )
    if done.returncode:
        output = done.stderr.decode("utf-8", "replace") or done.stdout.decode("utf-8", "replace")
        raise GitError(_without_advice(output) or f"exit code {done.returncode}", done.returncode)
    return done.stdout.decode("utf-8", "surrogateescape")


def _without_advice(output: str) -> str:
    lines = [line for line in output.strip().splitlines() if not line.startswith("hint:")]
    return "\n".join(lines).removeprefix("fatal: ").removeprefix("error: ").strip()
