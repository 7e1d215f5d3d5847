"""Lock files of git: whose they are, and what to do about those that a killed git has left behind.

Git removes its locks when it ends. One that was killed does not, and every later git refuses to work, without saying
that nobody is there any more.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path

import psutil

DVC = ("dvc",)
TOOLS = ("git", *DVC)  # DVC writes git's index and references by itself


def left_behind(folder: Path, root: Path) -> list[Path]:
    """The locks that no living process can have made, those of other checkouts of the repository too.

    Args:
        folder: git's own, such as .git; of a linked worktree its part of it. root: the checkout that it belongs to.
    """
    return [
        lock
        for part, checkout in _parts(folder, root)
        if (found := _locks(part)) and at_work(checkout) is None
        for lock in found
        if lock.exists()  # else whoever had it has ended meanwhile
    ]


def _parts(folder: Path, root: Path) -> list[tuple[Path, Path]]:
    """Git's folders with the checkout whose processes may lock there."""
    parts = [(folder, root)]
    with suppress(FileNotFoundError):  # of a linked worktree: what it has in common with the main checkout
        common = (folder / (folder / "commondir").read_text(encoding="utf-8").strip()).resolve()
        parts.append((common, common.parent))
    for linked in sorted((parts[-1][0] / "worktrees").glob("*")):
        with suppress(FileNotFoundError):
            parts.append((linked, Path((linked / "gitdir").read_text(encoding="utf-8").strip()).parent))
    return list(dict.fromkeys(parts))


def _locks(folder: Path) -> list[Path]:
    below = [lock for name in ("refs", "logs") for lock in sorted((folder / name).rglob("*.lock"))]
    # DVC's own git writes an object under such a name, and can never write it again once it was killed there
    return [*sorted(folder.glob("*.lock")), *below, *sorted((folder / "objects").glob("*/*.lock"))]


def remedy(lock: Path, root: Path) -> str:
    """What to do about a lock that is in the way."""
    if holder := at_work(root):
        return f"another git is at work here (process {holder.pid}): wait for it, then the same command"
    return removal([lock])


def removal(locks: list[Path]) -> str:
    """The command that removes locks which nobody holds."""
    return f"rm -f {quoted(locks)} (no git is at work here), then the same command"


def quoted(files: list[Path]) -> str:
    """Some files as a shell takes them."""
    return shlex.join(map(str, files))


def at_work(root: Path, tools: tuple[str, ...] = TOOLS) -> psutil.Process | None:
    """A git, or a tool that writes for it, at work in a checkout; one whose folder cannot be seen counts."""
    family = {process.pid for process in (psutil.Process(), *psutil.Process().parents())}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if process.pid in family or not _is_one_of(process, tools):
                continue
            try:
                inside = Path(process.cwd()).is_relative_to(root.resolve())
            except psutil.AccessDenied:
                inside = True
            if inside and process.status() != psutil.STATUS_ZOMBIE:
                return process
    return None


def _is_one_of(process: psutil.Process, tools: tuple[str, ...]) -> bool:
    try:
        args = process.cmdline()[:4]
    except psutil.AccessDenied:
        return bool(process.name().startswith(tools))
    if "git" in tools and process.name().startswith("git-"):
        return True
    return any(Path(arg).name in tools or "from dvc.cli import" in arg for arg in args)  # as `explicitlm run` does
