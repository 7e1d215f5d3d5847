"""A plain `dvc exp run` works in the user's own checkout, on a detached HEAD: one at a time, and nobody commits there.

DVC takes a lock named "workspace" only while it starts an experiment (dvc.rwlock, in .dvc/tmp/exps). A second
`dvc exp run` in the middle of the first would stash the first one's parameters away and train with them. So our first
stage takes this very lock in DVC's name and keeps it until DVC ends: the second is refused by DVC before it has touched
anything. `--temp` and `--queue` are refused as well for that time, since they would inherit the parameters.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from explicitlm.common.errors import UsageError
from explicitlm.vcs.git import Git

LOCK = "workspace"
EXPERIMENTS = ".dvc/tmp/exps"
STARTED_FROM = "refs/exps/exec/EXEC_HEAD"  # DVC's note of the commit on which it detached HEAD


def hold(main: Path, runner: psutil.Process) -> None:
    """Takes the lock for the DVC that runs this stage, and gives it back when that ends, however it does.

    Raises:
        UsageError: another plain run holds it.
    """
    info = {"pid": runner.pid, "cmd": " ".join(runner.cmdline()[1:])}
    with _locks(main) as locks:
        held = locks["write"].get(LOCK)
        if held and held != info and psutil.pid_exists(held["pid"]):
            raise _busy(held["pid"], held["cmd"])
        locks["write"][LOCK] = info
    if os.fork() == 0:  # a process of its own, because no stage lives as long as DVC
        _give_back_after(main, runner, info)


def check_head(git: Git, main: Path) -> None:
    """Checks that no plain run has HEAD, or has left it detached.

    Raises:
        UsageError: with the branch, and the command that goes back to it and changes no file.
    """
    if git.branch() is not None:
        return
    started_from = git.resolve(STARTED_FROM)
    if started_from is None:
        return
    with _locks(main) as locks:
        held = locks["write"].get(LOCK)
    if held and psutil.pid_exists(held["pid"]):
        raise _busy(held["pid"], held["cmd"])
    branch = git.branch_left() or "main"
    back = f"git symbolic-ref HEAD {shlex.quote(f'refs/heads/{branch}')}"
    raise UsageError(
        f"a dvc exp run was killed here and left HEAD detached; it was started on branch {branch}",
        f"{back} && git reset --quiet (no file changes; git status shows yours)",
    )


def _busy(pid: int, command: str) -> UsageError:
    return UsageError(f"a dvc exp run is at work in this checkout (process {pid}: {command})",
                      "wait until it has ended, then the same command")  # fmt: skip


def _give_back_after(main: Path, runner: psutil.Process, info: dict[str, Any]) -> None:
    try:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        with suppress(psutil.NoSuchProcess):
            runner.wait()
        with _locks(main) as locks:
            if locks["write"].get(LOCK) == info:
                del locks["write"][LOCK]
    finally:
        os._exit(0)


@contextmanager
def _locks(main: Path) -> Iterator[dict[str, Any]]:
    from dvc.fs import localfs
    from dvc.rwlock import _edit_rwlock  # the public context manager would hold it in our own name

    folder = main / EXPERIMENTS
    folder.mkdir(parents=True, exist_ok=True)
    with _edit_rwlock(str(folder), localfs, False) as locks:
        yield locks
