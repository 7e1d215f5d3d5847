"""Records and pointers that `dvc exp apply` has taken out of the workspace, to be had again from HEAD.

DVC makes the workspace what the experiment's own commit holds. That was made before the experiment was published: it
has neither the records and pointers that came to the branch since, nor what its own record says since then.
"""

from __future__ import annotations

import logging
from pathlib import PurePosixPath

from explicitlm.common import layout
from explicitlm.common.files import write_text
from explicitlm.vcs.git import Git

logger = logging.getLogger(__name__)
FOLDERS = (layout.RECORDS, layout.POINTERS, layout.VERDICTS, layout.SIGNATURES, layout.EQUIVALENT)


def taken_away(git: Git) -> dict[str, str]:
    """Texts by path, as HEAD has them, of files that are gone here, or are as an experiment's own commit has them."""
    changed = git.unstaged(FOLDERS)
    committed = git.read_all("HEAD", changed)
    return {name: text for name, text in committed.items() if text is not None and _is_applied(git, name, text)}


def _is_applied(git: Git, name: str, committed: str) -> bool:
    path = git.root / name
    if not path.exists():
        return True
    here = path.read_text(encoding="utf-8", errors="surrogateescape")
    tag = f"refs/tags/{PurePosixPath(name).stem}"
    return here != committed and name.startswith(layout.RECORDS) and here == git.read(tag, name)


def restore(git: Git) -> None:
    """Brings them back, before anything is written over the older form of a record."""
    found = taken_away(git)
    for name, text in found.items():
        write_text(git.root / name, text)
    if found:
        logger.info(f"back from HEAD, which dvc exp apply had taken away: {', '.join(found)}")
