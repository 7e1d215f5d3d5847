"""Lock files of git: whose they are, and what to do about those that a killed git has left behind.

Git removes its locks when it ends. One that was killed does not, and every later git refuses to work, without saying
that nobody is there any more.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path

import psutil

TOOLS = ("git", "dvc")  # DVC writes git's index by itself
LOCKS = ("index.lock", "HEAD.lock", "packed-refs.lock", "config.lock")


def left_behind(folder: Path, root: Path) -> Path | None:
    """A lock that no living process can have made; None where there is none.

    Args:
        folder: git's own, such as .git. root: the checkout that it belongs to.
    """
    locks = [folder / name for name in LOCKS] + sorted((folder / "refs/heads").rglob("*.lock"))
    found = [lock for lock in locks if lock.exists()]
    return found[0] if found and at_work(root) is None and found[0].exists() else None


def remedy(lock: Path, root: Path) -> str:
    """What to do about a lock that is in the way."""
    if holder := at_work(root):
        return f"another git is at work here (process {holder.pid}): wait for it, then the same command"
    return removal(lock)


def removal(lock: Path) -> str:
    """The command that removes a lock which nobody holds."""
    return f"rm -f {shlex.quote(str(lock))} (no git is at work here), then the same command"


def at_work(root: Path) -> psutil.Process | None:
    """A git, or a tool that writes for it, at work in a checkout; one whose folder cannot be seen counts."""
    family = {process.pid for process in (psutil.Process(), *psutil.Process().parents())}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if process.pid in family or not _writes_for_git(process):
                continue
            try:
                inside = Path(process.cwd()).is_relative_to(root.resolve())
            except psutil.AccessDenied:
                inside = True
            if inside and process.status() != psutil.STATUS_ZOMBIE:
                return process
    return None


def _writes_for_git(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()[:4]
    except psutil.AccessDenied:
        return bool(process.name().startswith(TOOLS))
    return any(Path(word).name in TOOLS for word in words) or process.name().startswith("git-")
