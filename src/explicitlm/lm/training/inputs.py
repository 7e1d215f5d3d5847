"""Which files of the project a training used: what was imported, and what was opened for reading."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

_IGNORED = {".git", ".dvc", ".venv", ".explicitlm", "__pycache__"}
_WRITING = os.O_WRONLY | os.O_RDWR


class InputWatch:
    """Notes every file that this process opens from its creation on (PEP 578: the hook stays for life)."""

    def __init__(self) -> None:
        self._opened: set[str] = set()
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments[:3]
            reading = mode is None or not set("wax+") & set(str(mode))
            if reading and not (isinstance(flags, int) and flags & _WRITING) and isinstance(path, str | os.PathLike):
                self._opened.add(os.fspath(path) if isinstance(os.fspath(path), str) else "")

    def files(self, root: Path, without: Iterable[Path]) -> list[str]:
        """Project-relative paths of regular files, sorted.

        Args:
            root: the project.
            without: folders that the run itself writes.
        """
        root = root.resolve()
        own = [path.resolve() for path in without]
        modules = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
        found = set()
        for name in {*self._opened, *(file for file in modules if file)}:
            path = Path(os.path.abspath(name))  # noqa: PTH100  not resolve(): a linked data file is named by its link
            if not path.is_relative_to(root) or any(path.is_relative_to(folder) for folder in own):
                continue
            relative = path.relative_to(root)
            installed = any(part.endswith(".egg-info") for part in relative.parts)  # pip's notes, read for versions
            if not installed and not _IGNORED & set(relative.parts) and path.is_file():
                found.add(relative.as_posix())
        return sorted(found)
