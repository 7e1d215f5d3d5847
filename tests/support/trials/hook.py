"""Stops one process of a trial at a chosen moment, until whoever watches has done what is to happen just then.

Loaded by every Python of a machine under trial (a .pth file of its environment); does nothing without FAULTS. Moments
are what Python reports to audit hooks, each just before it happens: a rename, a removal, a file opened for writing, a
program started. So a trial hits the gap between two renames, or between "done" and what follows, by number and not by
clock. Standard library only, and no import of anything that the programs themselves have not loaded.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = "FAULTS"  # variable: the folder in which a trial tells and learns
ROOT = "FAULTS_ROOT"  # variable: moments outside this folder do not count
WRITES = os.O_WRONLY | os.O_RDWR


class _Watch:
    """Counts the moments of all processes of a trial together."""

    def __init__(self, folder: str, root: str) -> None:
        self.folder, self.root = folder, root + "/"
        self.inside = False
        plan: dict[str, Any] = json.loads(Path(folder, "plan.json").read_text(encoding="utf-8"))
        self.pattern, self.number = re.compile(plan["moment"]), plan["number"]
        self.log = os.open(f"{folder}/moments", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event not in _READERS or self.inside:
            return
        self.inside = True
        try:
            moment = _READERS[event](self.root, args)
            if moment is not None and self.pattern.search(moment):
                self._count(moment)
        finally:
            self.inside = False

    def _count(self, moment: str) -> None:
        line = f"{os.getpid()} {moment}\n".encode("utf-8", "surrogateescape")
        if self.number == 0:  # only written down
            os.write(self.log, line)
            return
        fcntl.flock(self.log, fcntl.LOCK_EX)
        try:
            os.write(self.log, line)
            seen = Path(self.folder, "moments").read_bytes().count(b"\n")
        finally:
            fcntl.flock(self.log, fcntl.LOCK_UN)
        if seen == self.number:
            self._stop(moment)

    def _stop(self, moment: str) -> None:
        told = Path(self.folder, "at.json.tmp")
        told.write_text(json.dumps({"pid": os.getpid(), "moment": moment}), encoding="utf-8")
        told.rename(told.with_suffix(""))
        while not Path(self.folder, "go").exists():
            time.sleep(0.003)


def _renamed(root: str, args: tuple[Any, ...]) -> str | None:
    return _file("rename", root, args[1])


def _removed(root: str, args: tuple[Any, ...]) -> str | None:
    return _file("remove", root, args[0])


def _linked(root: str, args: tuple[Any, ...]) -> str | None:
    return _file("link", root, args[1])


def _opened(root: str, args: tuple[Any, ...]) -> str | None:
    path, mode, flags = args
    writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool((flags or 0) & WRITES)
    return _file("write", root, path) if writes else None


def _started(root: str, args: tuple[Any, ...]) -> str | None:
    words = [os.fsdecode(word) if isinstance(word, (str, bytes, os.PathLike)) else "?" for word in args[1]]
    names = [Path(word).name for word in words[:1]] + [word for word in words[1:] if "=" not in word]
    return "start " + " ".join(word for word in names if word != "-c")[:120].replace("\n", " ")


def _file(kind: str, root: str, path: Any) -> str | None:
    if not isinstance(path, (str, bytes, os.PathLike)):
        return None
    whole = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (a link stays a link)
    return f"{kind} {whole.removeprefix(root)}".replace("\n", " ") if whole.startswith(root) else None


_READERS = {
    "os.rename": _renamed,
    "os.remove": _removed,
    "os.link": _linked,
    "open": _opened,
    "subprocess.Popen": _started,
}


def install() -> None:
    """Watches this process, if it belongs to a trial."""
    folder = os.environ.get(FOLDER)
    if folder and Path(folder, "plan.json").exists():
        sys.addaudithook(_Watch(folder, os.environ[ROOT]))


install()
