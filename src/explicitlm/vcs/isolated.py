"""Where DVC's own isolated runs cannot start: it writes their configuration in ASCII, and dies of any other letter.

`explicitlm run` starts DVC in such a way that it can (`dvc.start_experiment`), and a plain `dvc exp run` needs no such
configuration. `dvc exp run --temp` and `dvc queue start` die before anything of ours runs.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import NamedTuple

from explicitlm.common.errors import UsageError
from explicitlm.common.files import sha256
from explicitlm.vcs.dvc_config import cache_dir


class NotAscii(NamedTuple):
    """What DVC cannot write, and what to do about it."""

    place: str
    hint: str

    @property
    def cause(self) -> str:
        """In words."""
        return (f"`dvc exp run --temp` and `dvc queue start` cannot start: DVC writes {self.place} in ASCII "
                "(`dvc exp run` and `explicitlm run` can)")  # fmt: skip


def not_ascii(main: Path) -> list[NotAscii]:
    """What ends an isolated run of DVC's own before it starts; empty nearly everywhere."""
    cache = cache_dir(main)
    found = [] if str(cache).isascii() else [NotAscii(f"the cache's path {cache}", _moved(cache))]
    if not _text(main / ".dvc/config.local").isascii():
        found.append(NotAscii(".dvc/config.local", "use ASCII in .dvc/config.local"))
    if not _text(main / ".git/config").isascii():
        found.append(NotAscii(".git/config", "git config --global instead of --local for such a text"))
    return found


def check(main: Path) -> None:
    """Checks that isolated runs of DVC's own can start.

    Raises:
        UsageError: they cannot.
    """
    for each in not_ascii(main):
        raise UsageError(each.cause, f"{each.hint}, then the same command")


def may_be_hindered(main: Path) -> bool:
    """Whether it is worth while to look: the same without DVC's configuration, which takes 0.1 s to load."""
    texts = (str(main), _text(main / ".dvc/config.local"), _text(main / ".git/config"))
    return not all(text.isascii() for text in texts)


def _moved(cache: Path) -> str:
    link = Path.home() / f"dvc-cache-{sha256(os.fsencode(cache))[:8]}"
    if not str(link).isascii():
        return "work in a clone in a folder named in ASCII"
    return f"ln -s {shlex.quote(str(cache))} {link} && dvc config --local cache.dir {link}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
